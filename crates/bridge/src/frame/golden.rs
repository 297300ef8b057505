//! The frozen wire format: one file per frame kind in `tests/golden`, compared on every run.
//! `REWRITE=1 cargo test -p quorate-bridge golden` rewrites them; a change of one is a new protocol.

use super::body::*;
use super::caps::{HEADER_BYTES, WIRE_FRAME_BYTES_MAX};
use super::codec::{Encoding, decode, encode_payload};
use super::cold::{cold, read_cold};
use super::fragment::{Reassembly, fragment_head};
use super::header::{next_frame, open, seal, whole_frame};
use super::inspect::Inspector;
use super::kind::{Class, FrameKind};
use super::pack;
use crate::identity::{Hello, PeerKind};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::Serialize;
use std::path::Path;

fn hello() -> HelloBody {
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 2,
        kind: PeerKind::Peer,
        cluster: std::array::from_fn(|n| n as u8),
        node: "node0".into(),
        incarnation: 0x0102_0304_0506_0708,
        boot: 3,
        process: 0,
        earlier: Vec::new(),
        level: 0,
        replaced: Vec::new(),
        fingerprint: 42,
        api_address: "127.0.0.1:8080".into(),
        expected_peer: "node1".into(),
        message_bytes_max: 16 << 20,
        members: String::new(),
    };
    HelloBody { magic: MAGIC.into(), hello }
}

fn hot(kind: FrameKind, open_body: impl FnOnce(&mut BytesMut) -> usize, payload: &[u8]) -> Bytes {
    let mut buffer = open(64);
    let at = open_body(&mut buffer);
    let mut buffer = encode_payload(buffer, Encoding::Named, &serde_bytes::Bytes::new(payload)).unwrap();
    pack::close_bin(&mut buffer, at);
    seal(buffer, kind)
}

fn cast(name: &str, protocol: u32, version: u32, payload: &[u8]) -> Bytes {
    hot(FrameKind::Cast, |buffer| CastBody::open(buffer, name, protocol, version), payload)
}

fn call(head: (u64, Class, u64), name: &str, payload: &[u8]) -> Bytes {
    hot(FrameKind::Call, |buffer| CallBody::open(buffer, head, name, 7, 1), payload)
}

fn sample(kind: FrameKind) -> Bytes {
    let name = || Name { name: "orders".into() };
    match kind {
        FrameKind::Hello => cold(kind, &hello()),
        FrameKind::Refused => cold(
            kind,
            &Refused {
                code: "wrong_node".into(),
                detail: "you dialled node1, this is node2".into(),
                remedy: "correct it".into(),
            },
        ),
        FrameKind::Cast => cast("orders", 7, 1, b"hello"),
        FrameKind::Call => call((9, Class::Control, 1_000), "orders", b"hello"),
        FrameKind::Reply => hot(kind, |buffer| ReplyBody::open(buffer, 9), b"world"),
        FrameKind::CallFailed => cold(
            kind,
            &CallFailed { call: 9, code: FailCode::NoSuchActor, detail: "orders is not exposed".into() },
        ),
        FrameKind::Ping | FrameKind::Pong => cold(kind, &Token { token: 77 }),
        FrameKind::Monitor | FrameKind::Demonitor | FrameKind::Up => cold(kind, &name()),
        FrameKind::Down => {
            cold(kind, &Down { name: "orders".into(), reason: "died".into(), detail: "failed: x".into() })
        }
        FrameKind::CastFailed => {
            let detail = "orders is not exposed".into();
            cold(kind, &CastFailed { name: "orders".into(), code: FailCode::NoSuchActor, count: 3, detail })
        }
        FrameKind::Unsupported => cold(kind, &Unsupported { kind: 99 }),
        FrameKind::Fragment => {
            let mut buffer = fragment_head(Class::Bulk, 65_536, 200_000, b"piece");
            buffer.extend_from_slice(b"piece");
            buffer.freeze()
        }
    }
}

#[test]
fn frames_of_each_kind_are_byte_for_byte_as_ever() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for kind in FrameKind::ALL {
        let (path, bytes) = (directory.join(format!("{}.bin", kind.name())), sample(*kind));
        if std::env::var("REWRITE").is_ok() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(golden, bytes, "{}: the wire format changed; see the header of golden.rs", kind.name());
        // And they are read back, so that the files are not merely written.
        let mut inspector = Inspector::new(1 << 20);
        match inspector.feed(&golden) {
            Ok(found) => assert_eq!(found[0], Some(kind.name())),
            Err(error) => {
                assert!(*kind == FrameKind::Fragment, "{error}: only this one is the middle of something");
            }
        }
    }
}

#[test]
fn the_hello_of_a_newer_version_with_more_fields_is_read() {
    #[derive(Serialize)]
    struct Newer {
        magic: &'static str,
        token: &'static str,
        hello: Hello,
    }
    let bytes = cold(FrameKind::Hello, &Newer { magic: MAGIC, token: "later", hello: hello().hello });
    let frame = whole_frame(&bytes).unwrap();
    assert_eq!(read_cold::<HelloBody>(FrameKind::Hello, &frame.body).unwrap(), hello());
}

#[test]
fn a_failure_code_of_a_newer_version_is_not_fatal() {
    #[derive(Serialize)]
    struct Newer {
        call: u64,
        code: &'static str,
        detail: &'static str,
    }
    let bytes = cold(FrameKind::CallFailed, &Newer { call: 1, code: "too_sleepy", detail: "" });
    let frame = whole_frame(&bytes).unwrap();
    assert_eq!(read_cold::<CallFailed>(FrameKind::CallFailed, &frame.body).unwrap().code, FailCode::Other);
}

proptest! {
    #[test]
    fn frames_survive_any_split_of_the_stream(
        messages in prop::collection::vec((".{0,20}", any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..400)), 1..8),
        call_head in (any::<u64>(), any::<u64>()),
        step in 1_usize..200,
    ) {
        let mut stream = Vec::new();
        for (name, protocol, version, payload) in &messages {
            stream.extend_from_slice(&cast(name, *protocol, *version, payload));
        }
        stream.extend_from_slice(&call((call_head.0, Class::Bulk, call_head.1), "name", b"x"));
        let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = next_frame(&mut buffer, WIRE_FRAME_BYTES_MAX).unwrap() {
                frames.push(frame);
            }
        }
        prop_assert!(buffer.is_empty());
        let last = frames.pop().unwrap();
        let read = CallBody::read(&last.body).unwrap();
        prop_assert_eq!((read.call, read.timeout_ms, read.class), (call_head.0, call_head.1, Class::Bulk));
        prop_assert_eq!(frames.len(), messages.len());
        for (frame, (name, protocol, version, payload)) in frames.iter().zip(&messages) {
            let read = CastBody::read(&frame.body).unwrap();
            let bytes: serde_bytes::ByteBuf = decode(read.payload).unwrap();
            prop_assert_eq!((read.name, read.protocol, read.version, &bytes[..]), (name.as_str(), *protocol, *version, &payload[..]));
        }
    }

    #[test]
    fn any_single_flipped_bit_is_noticed(bit in 0_usize..480) {
        let good = cast("orders", 7, 1, b"some payload that is long enough");
        let mut bad = good.to_vec();
        let at = bit % (bad.len() * 8);
        bad[at / 8] ^= 1 << (at % 8);
        let mut buffer = BytesMut::from(&bad[..]);
        // A longer length waits for bytes that never come; all else is an error. Never a frame.
        prop_assert!(!matches!(next_frame(&mut buffer, WIRE_FRAME_BYTES_MAX), Ok(Some(_))));
    }

    #[test]
    fn fragments_give_the_message_back(length in 1_usize..300_000, piece in 1_usize..70_000) {
        let whole = cast("orders", 7, 1, &vec![9; length]);
        let mut reassembly = Reassembly::new(1 << 20);
        let mut found = None;
        for (n, bytes) in whole.chunks(piece).enumerate() {
            prop_assert!(found.is_none());
            let mut fragment = fragment_head(Class::Control, n * piece, whole.len(), bytes);
            fragment.extend_from_slice(bytes);
            let frame = whole_frame(&fragment.freeze()).unwrap();
            found = reassembly.add(&frame.body).unwrap();
        }
        let found = found.unwrap();
        prop_assert_eq!((&found.body[..], found.kind), (&whole[HEADER_BYTES..], FrameKind::Cast as u8));
        prop_assert_eq!(reassembly.held_bytes(), 0);
    }
}

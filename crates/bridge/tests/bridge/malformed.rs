//! Malformed input of each kind: it closes its connection, is counted, and harms no other connection.

use crate::common::*;
use quorate_bridge::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn nested(depth: usize) -> Vec<u8> {
    // {"name": "x", "more": [[[...]]]}: an unknown field, which a decoder must walk to skip.
    let mut body = vec![0x82, 0xa4];
    body.extend(b"name\xa1x\xa4more");
    body.extend(std::iter::repeat_n(0x91, depth));
    body.push(0xc0);
    body
}

fn cast(payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0x94, 0xd9, 4];
    body.extend(b"echo\xce");
    body.extend(crc32fast::hash(b"echo").to_be_bytes());
    body.extend([0xce, 0, 0, 0, 1, 0xc6]);
    body.extend((payload.len() as u32).to_be_bytes());
    body.extend(payload);
    frame(3, &body)
}

fn fragment(offset: u64, total: u64, bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0x94, 0xce, 0, 0, 0, 1, 0xcf];
    body.extend(offset.to_be_bytes());
    body.push(0xcf);
    body.extend(total.to_be_bytes());
    body.push(0xc6);
    body.extend((bytes.len() as u32).to_be_bytes());
    body.extend(bytes);
    frame(15, &body)
}

fn damaged(mut frame: Vec<u8>) -> Vec<u8> {
    *frame.last_mut().unwrap() ^= 1;
    frame
}

/// Every kind of malformed bytes after a good handshake.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let ping = rmp_serde::to_vec_named(&TokenLike { token: 1 }).unwrap();
    let with_tail = [&ping[..], b"tail"].concat();
    vec![
        ("oversized length", [&u32::MAX.to_be_bytes()[..], b"xxxxxxxxxxxx"].concat()),
        ("a length above the cap", [&70_000_u32.to_be_bytes()[..], b"\x01\x07"].concat()),
        ("a length below the header", vec![0, 0, 0, 1, 1, 7]),
        ("another layout version", vec![0, 0, 0, 6, 9, 7, 0, 0, 0, 0]),
        ("a bad checksum", damaged(frame(7, &ping))),
        ("too deep in a cold body", frame(9, &nested(100))),
        ("trailing bytes in a cold body", frame(7, &with_tail)),
        ("a body of another type", frame(7, b"\xa3abc")),
        ("a truncated body", frame(7, &ping[..ping.len() - 1])),
        ("an empty body", frame(3, b"")),
        ("a name above its cap", frame(9, &named(&"n".repeat(129)))),
        ("a cast with a tail", frame(3, &[&cast(b"\xa5Crash")[10..], b"x"].concat())),
        ("a payload with a tail", cast(b"\xa6Forgetxx")),
        ("a payload too deep", cast(&b"\x81\xa4Nest\x91".repeat(100))),
        ("a payload that ends early", cast(b"\x81\xa6Number\xcf\x00")),
        ("a fragment of the middle", fragment(5, 10, b"abc")),
        ("a fragment above the cap", fragment(0, 1 << 40, b"abc")),
        ("more bytes than announced", fragment(0, 2, b"abc")),
        ("a whole that is no frame", fragment(0, 12, b"abcdefghijkl")),
    ]
}

#[derive(serde::Serialize)]
struct TokenLike {
    token: u64,
}

fn named(name: &str) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Named<'a> {
        name: &'a str,
    }
    rmp_serde::to_vec_named(&Named { name }).unwrap()
}

async fn closes(mut stream: TcpStream, what: &str) {
    let mut rest = Vec::new();
    // A reset counts as an end: unread bytes may be left in the socket.
    let end = tokio::time::timeout(SECOND * 5, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "not closed after {what}");
}

#[tokio::test]
async fn each_kind_of_rubbish_closes_its_own_connection_only() {
    let (a, b) = pair().await;
    let log = Log::default();
    b.expose("echo", echo(&log)).unwrap();
    let remote = echo_ref(&a, "b");
    for (n, (what, bytes)) in rubbish().into_iter().enumerate() {
        let mut stream = raw_peer(&b, "x").await;
        stream.write_all(&bytes).await.unwrap();
        closes(stream, what).await;
        until(what, || b.inbound_malformed() == n as u64 + 1).await;
        assert_eq!(
            call(&remote, Say::Number(n as u64)).await.unwrap(),
            Say::Number(n as u64),
            "after {what}"
        );
    }
    let link = a.link("b").unwrap();
    assert_eq!((link.reconnects, link.state), (0, LinkState::Up));
    assert!(!log.lock().unwrap().contains(&Say::Forget) && !log.lock().unwrap().contains(&Say::Crash));
}

#[tokio::test]
async fn rubbish_instead_of_a_hello_is_counted_too() {
    let b = start(options("b")).await;
    let before = b.inbound_malformed();
    let http = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_vec();
    let early = frame(7, b"\x81\xa5token\x01");
    for bytes in [http, early, vec![0xff; 20]] {
        let mut stream = TcpStream::connect(address(&b)).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        closes(stream, "no Hello").await;
    }
    assert_eq!(b.inbound_malformed() - before, 3);
}

#[tokio::test]
async fn a_frame_cut_by_the_end_of_the_connection_is_not_delivered() {
    let b = start(options("b")).await;
    let log = Log::default();
    b.expose("echo", echo(&log)).unwrap();
    let mut stream = raw_peer(&b, "x").await;
    let whole = cast(b"\x81\xa6Number\x05");
    stream.write_all(&whole).await.unwrap();
    stream.write_all(&whole[..whole.len() - 3]).await.unwrap();
    stream.shutdown().await.unwrap();
    until("it ended", || b.sessions().is_empty()).await;
    assert_eq!(*log.lock().unwrap(), [Say::Number(5)]);
}

#[tokio::test]
async fn unknown_kinds_and_misplaced_ones_are_answered_and_not_fatal() {
    let b = start(options("b")).await;
    let mut stream = raw_peer(&b, "x").await;
    for kind in [200, 0, 5, 11] {
        stream.write_all(&frame(kind, b"\x81\xa1x\x01")).await.unwrap();
        let answered = loop {
            let (answer, body) = raw_frame(&mut stream).await.unwrap();
            if answer != 7 {
                break (answer, *body.last().unwrap());
            }
        };
        assert_eq!(answered.0, 14, "Unsupported");
        assert_eq!(answered.1, kind);
    }
    stream.write_all(&frame(7, b"\x81\xa5token\x2a")).await.unwrap();
    while raw_frame(&mut stream).await.unwrap().0 != 8 {}
    assert_eq!(b.inbound_malformed(), 0);
}

#[tokio::test]
async fn a_payload_of_another_version_is_answered_and_not_fatal() {
    let b = start(options("b")).await;
    b.expose("echo", echo(&Log::default())).unwrap();
    let mut stream = raw_peer(&b, "x").await;
    stream.write_all(&cast(b"\xa4Sing")).await.unwrap();
    while raw_frame(&mut stream).await.unwrap().0 != 13 {}
    assert_eq!(b.sessions().len(), 1);
}

#[tokio::test]
async fn a_peer_that_floods_and_does_not_read_is_cut_off() {
    let b = start(options("b")).await;
    let mut stream = raw_peer(&b, "x").await;
    let flood: Vec<u8> = (0..2_000).flat_map(|_| frame(7, b"\x81\xa5token\x2a")).collect();
    let cut_off = async { while stream.write_all(&flood).await.is_ok() {} };
    tokio::time::timeout(SECOND * 20, cut_off).await.expect("cut off");
}

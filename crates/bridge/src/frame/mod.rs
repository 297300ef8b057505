//! Frames: what travels on a connection, and every check made before any of it is believed.
//!
//! ```text
//! length u32 BE | version u8 | kind u8 | checksum u32 BE | body: MessagePack
//!               `---------- counted by length ----------------------------'
//! ```
//! The checksum is CRC-32 over everything but itself. `length` is compared with the cap before anything is allocated,
//! and bytes are buffered as they arrive, so a peer that claims 4 GiB costs nothing. Cold bodies are named maps, so
//! that fields can be added; the hot ones (cast, call, reply, fragment) are positional under the protocol version.
//! Maps are decoded under a depth limit, and what follows the value inside a body is an error too.
//!
//! Bound: a frame is at most [`WIRE_FRAME_BYTES_MAX`]; longer messages travel as fragments.

mod body;
mod codec;
mod fragment;
#[cfg(test)]
mod golden;
pub(crate) mod pack;

pub(crate) use body::{
    CallBody, CallFailed, CastBody, CastFailed, Down, FailCode, Fragment, Hail, Name, Refused, ReplyBody,
    Token, Unsupported,
};
pub(crate) use codec::{PayloadError, decode_payload, encode_payload};
pub(crate) use fragment::{Reassembly, fragment_head};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 10;
/// The frame layout; a change of it is a new protocol.
pub(crate) const FRAME_VERSION: u8 = 1;
/// Frames longer than this are cut into fragments of this many bytes, so that control traffic can go between.
pub const FRAGMENT_BYTES: usize = 64 * 1024;
/// The longest frame accepted on a connection: one fragment and its envelope.
pub const WIRE_FRAME_BYTES_MAX: usize = FRAGMENT_BYTES + 1024;
/// The longest frame accepted before a connection is admitted.
pub const HELLO_FRAME_BYTES_MAX: usize = 8 * 1024;
/// Nesting allowed in any body or payload.
pub const DEPTH_MAX: usize = 64;
/// Longest node id, in bytes.
pub const NODE_BYTES_MAX: usize = 64;
/// Longest actor name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest human text (details, addresses) accepted from a peer, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What a frame is. Numbers are for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Kind { $($(#[$doc])* $name = $value,)* }

        impl Kind {
            #[cfg(test)]
            pub(crate) const ALL: &[Kind] = &[$(Kind::$name),*];

            pub(crate) fn from_wire(value: u8) -> Option<Kind> {
                match value { $($value => Some(Kind::$name),)* _ => None }
            }

            pub(crate) fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name),)* }
            }
        }
    };
}

kinds! {
    /// First frame each way: who speaks.
    Hello = 1,
    /// Instead of a Hello, or just after one: why not, and what to do.
    Refused = 2,
    /// A message for an exposed name; nothing comes back.
    Cast = 3,
    /// A message that is answered by one Reply or one CallFailed.
    Call = 4,
    /// The answer to a Call.
    Reply = 5,
    /// Why a Call has no answer.
    CallFailed = 6,
    /// Keepalive.
    Ping = 7,
    /// Answer to Ping, with its token.
    Pong = 8,
    /// Tell me about this name.
    Monitor = 9,
    /// No more about this name.
    Demonitor = 10,
    /// A monitored name cannot be reached any more.
    Down = 11,
    /// A monitored name can be reached.
    Up = 12,
    /// Casts that found no actor.
    CastFailed = 13,
    /// A frame kind the receiver does not know.
    Unsupported = 14,
    /// A piece of a frame above 64 KiB.
    Fragment = 15,
}

/// Why bytes were not a frame. Each closes the connection it came on, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is above the cap.
    #[error(
        "a frame of {length} bytes is above the cap of {cap}: the peer speaks another protocol or is broken"
    )]
    TooLong {
        /// What the header claims.
        length: usize,
        /// What is accepted here.
        cap: usize,
    },
    /// The length field does not even cover the header.
    #[error("a frame of {length} bytes is shorter than its header")]
    TooShort {
        /// What the header claims.
        length: usize,
    },
    /// The frame layout is not ours.
    #[error("frame layout version {got}, expected {FRAME_VERSION}: upgrade the older node")]
    Version {
        /// What the header says.
        got: u8,
    },
    /// The bytes are not what was sent.
    #[error(
        "checksum {computed:#010x} differs from the {stated:#010x} in the header: damaged in memory or on the way"
    )]
    Checksum {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// A hot envelope is not as agreed.
    #[error("{kind} frame: expected {what}")]
    Envelope {
        /// The frame's kind.
        kind: &'static str,
        /// What was expected at that place.
        what: &'static str,
    },
    /// A cold body does not decode.
    #[error("{kind} frame: {detail}")]
    Body {
        /// The frame's kind.
        kind: &'static str,
        /// What the decoder said.
        detail: String,
    },
    /// Nested too deep.
    #[error("{kind} frame: nested deeper than {DEPTH_MAX} levels")]
    Depth {
        /// The frame's kind.
        kind: &'static str,
    },
    /// Bytes follow the body's value.
    #[error("{kind} frame: trailing bytes after the body")]
    Trailing {
        /// The frame's kind.
        kind: &'static str,
        /// How many, where that is known.
        bytes: Option<usize>,
    },
    /// Fragments out of order, of different messages, or of more than they announced.
    #[error("fragment: {what}")]
    Fragment {
        /// Which rule was broken.
        what: &'static str,
    },
    /// A text or name above its cap.
    #[error("{kind} frame: {field} of {length} bytes is above its cap of {cap}")]
    TextTooLong {
        /// The frame's kind.
        kind: &'static str,
        /// Which field.
        field: &'static str,
        /// Its length.
        length: usize,
        /// Its cap.
        cap: usize,
    },
}

/// One checked frame. `kind` may be unknown; that is answered, not an error.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) body: Bytes,
}

/// Takes the next complete frame off `buffer`; `None` if more bytes are needed.
pub(crate) fn next_frame(buffer: &mut BytesMut, cap: usize) -> Result<Option<Frame>, FrameError> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if length + 4 > cap {
        return Err(FrameError::TooLong { length: length + 4, cap });
    }
    if length + 4 < HEADER_BYTES {
        return Err(FrameError::TooShort { length: length + 4 });
    }
    // The version is checked as soon as it is here: garbage is found before the whole length has arrived.
    if let Some(version) = buffer.get(4).filter(|version| **version != FRAME_VERSION) {
        return Err(FrameError::Version { got: *version });
    }
    if buffer.len() < length + 4 {
        return Ok(None);
    }
    let mut frame = buffer.split_to(length + 4).freeze();
    check(&frame)?;
    let kind = frame[5];
    frame.advance(HEADER_BYTES);
    Ok(Some(Frame { kind, body: frame }))
}

/// A whole frame in one piece, as reassembled from fragments.
pub(crate) fn whole_frame(bytes: &Bytes) -> Result<Frame, FrameError> {
    let length = bytes.len();
    if length < HEADER_BYTES {
        return Err(FrameError::TooShort { length });
    }
    let stated = u32::from_be_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    if stated + 4 != length {
        return Err(FrameError::Fragment {
            what: "the message's length differs from the sum of its fragments",
        });
    }
    if bytes[4] != FRAME_VERSION {
        return Err(FrameError::Version { got: bytes[4] });
    }
    check(bytes)?;
    Ok(Frame { kind: bytes[5], body: bytes.slice(HEADER_BYTES..) })
}

fn check(frame: &[u8]) -> Result<(), FrameError> {
    let stated = u32::from_be_bytes(frame[6..10].try_into().expect("the header is complete"));
    let computed = checksum(&frame[..6], &[&frame[HEADER_BYTES..]]);
    if stated == computed { Ok(()) } else { Err(FrameError::Checksum { stated, computed }) }
}

fn checksum(head: &[u8], body: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    for part in body {
        hasher.update(part);
    }
    hasher.finalize()
}

/// A buffer with room for the header; `seal` fills it in once the body is written.
pub(crate) fn open(capacity: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(HEADER_BYTES + capacity);
    buffer.put_bytes(0, HEADER_BYTES);
    buffer
}

pub(crate) fn seal(mut buffer: BytesMut, kind: Kind) -> Bytes {
    fill_header(&mut buffer, kind, &[]);
    buffer.freeze()
}

/// Fills the header of a frame whose last bytes stay in `rest` (they are not copied).
pub(crate) fn fill_header(buffer: &mut BytesMut, kind: Kind, rest: &[u8]) {
    let length = (buffer.len() + rest.len() - 4) as u32;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    buffer[4] = FRAME_VERSION;
    buffer[5] = kind as u8;
    let sum = checksum(&buffer[..6], &[&buffer[HEADER_BYTES..], rest]);
    buffer[6..10].copy_from_slice(&sum.to_be_bytes());
}

/// A cold frame: its body as a named map.
pub(crate) fn cold<T: Serialize>(kind: Kind, body: &T) -> Bytes {
    let mut buffer = open(64).writer();
    rmp_serde::encode::write_named(&mut buffer, body)
        .expect("cold bodies are plain maps of numbers and strings");
    seal(buffer.into_inner(), kind)
}

/// Reads a cold body back.
pub(crate) fn read_cold<T: DeserializeOwned>(kind: Kind, body: &[u8]) -> Result<T, FrameError> {
    let kind = kind.name();
    codec::decode(body).map_err(|error| match error {
        PayloadError::Depth => FrameError::Depth { kind },
        PayloadError::Trailing => FrameError::Trailing { kind, bytes: None },
        PayloadError::Truncated(detail) | PayloadError::Mismatch(detail) => FrameError::Body { kind, detail },
    })
}

pub(crate) fn cap_text(kind: Kind, field: &'static str, text: &str, cap: usize) -> Result<(), FrameError> {
    if text.len() <= cap {
        return Ok(());
    }
    Err(FrameError::TextTooLong { kind: kind.name(), field, length: text.len(), cap })
}

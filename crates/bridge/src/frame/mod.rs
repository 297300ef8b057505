//! Frames: what travels on a connection, and every check made before any of it is trusted.
//!
//! ```text
//! length u32 BE | version u8 | kind u8 | checksum u32 BE | body: MessagePack
//!               `---------- counted by length ----------------------------'
//! ```
//! The checksum is CRC-32 over everything but itself. `length` is compared with the cap before anything is allocated,
//! and bytes are buffered as they arrive, so a peer that claims 4 GiB costs nothing. Cold bodies are named maps, so
//! that fields can be added; the hot ones (cast, call, reply, fragment) are positional under the protocol version.
//! Maps are decoded under a depth limit, and bytes that follow the value inside a body are an error too.
//!
//! Bound: a frame is at most [`WIRE_FRAME_BYTES_MAX`]; longer messages travel as fragments.

mod body;
mod caps;
mod codec;
mod cold;
mod error;
mod fragment;
#[cfg(test)]
mod golden;
mod header;
mod inspect;
mod kind;
mod pack;

pub(crate) use body::{
    CallBody, CallFailed, CastBody, CastFailed, Down, FailCode, HelloBody, MAGIC, Name, Refused, ReplyBody,
    Token, Unsupported,
};
pub use caps::WIRE_FRAME_BYTES_MAX;
pub(crate) use caps::{
    FRAGMENT_BYTES, HEADER_BYTES, HELLO_FRAME_BYTES_MAX, NAME_BYTES_MAX, NODE_BYTES_MAX, TEXT_BYTES_MAX,
};
pub use codec::Encoding;
pub(crate) use codec::{PayloadError, decode, encode_payload};
pub(crate) use cold::{cap_text, clip_text, cold, read_cold};
pub use error::FrameError;
pub(crate) use fragment::{Reassembly, fragment_head};
pub(crate) use header::{Frame, next_frame, open, open_in, seal, seal_in};
pub use inspect::Inspector;
pub use kind::Class;
pub(crate) use kind::FrameKind;
pub(crate) use pack::close_bin;

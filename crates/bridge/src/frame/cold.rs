//! Cold frames: bodies that are named maps, so that fields can be added.

use super::caps::TEXT_BYTES_MAX;
use super::codec::decode;
use super::error::FrameError;
use super::header::{open, seal};
use super::kind::FrameKind;
use bytes::{BufMut, Bytes};
use serde::{Serialize, de::DeserializeOwned};

/// A cold frame: its body as a named map.
pub(crate) fn cold<T: Serialize>(kind: FrameKind, body: &T) -> Bytes {
    let mut buffer = open(64).writer();
    rmp_serde::encode::write_named(&mut buffer, body)
        .expect("cold bodies are plain maps of numbers and strings");
    seal(buffer.into_inner(), kind)
}

/// Reads a cold body back.
pub(crate) fn read_cold<T: DeserializeOwned>(kind: FrameKind, body: &[u8]) -> Result<T, FrameError> {
    decode(body).map_err(|error| error.in_frame(kind))
}

/// Refuses a text or name from a peer that is above its cap.
pub(crate) fn cap_text(
    kind: FrameKind,
    field: &'static str,
    text: &str,
    cap: usize,
) -> Result<(), FrameError> {
    if text.len() <= cap {
        return Ok(());
    }
    Err(FrameError::TextTooLong { kind: kind.name(), field, length: text.len(), cap })
}

/// Shortens a text of ours to what a peer accepts.
pub(crate) fn clip_text(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

//! The decoder without a connection, for fuzzing and for tools that look at captured bytes.

use super::body::{
    CallBody, CallFailed, CastBody, CastFailed, Down, HelloBody, Name, Refused, ReplyBody, Token, Unsupported,
};
use super::caps::WIRE_FRAME_BYTES_MAX;
use super::codec::decode;
use super::cold::read_cold;
use super::error::FrameError;
use super::fragment::Reassembly;
use super::header::{Frame, next_frame};
use super::kind::FrameKind;
use crate::identity::RefusalCode;
use bytes::BytesMut;
use serde::de::IgnoredAny;

/// Takes bytes as a connection would and tells which frames they are.
pub struct Inspector {
    buffer: BytesMut,
    reassembly: Reassembly,
}

impl Inspector {
    /// An inspector with this cap for messages in fragments.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), reassembly: Reassembly::new(message_bytes_max) }
    }

    /// Adds bytes; returns the kinds of the frames they complete (`None` for one this version does not know), or the
    /// first error, after which the stream is useless.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Option<&'static str>>, FrameError> {
        self.buffer.extend_from_slice(bytes);
        let mut kinds = Vec::new();
        while let Some(frame) = next_frame(&mut self.buffer, WIRE_FRAME_BYTES_MAX)? {
            kinds.push(inspect(&frame)?);
            if frame.kind != FrameKind::Fragment as u8 {
                continue;
            }
            if let Some(whole) = self.reassembly.add(&frame.body)? {
                kinds.push(inspect(&whole)?);
            }
        }
        Ok(kinds)
    }

    /// Bytes held back for frames and messages that are not complete.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() + self.reassembly.held_bytes()
    }
}

/// Decodes the body as its receiver would; payloads as any MessagePack value.
fn inspect(frame: &Frame) -> Result<Option<&'static str>, FrameError> {
    let body = &frame.body[..];
    let Some(kind) = FrameKind::from_wire(frame.kind) else { return Ok(None) };
    match kind {
        FrameKind::Hello => discard(&read_cold::<HelloBody>(kind, body)?),
        FrameKind::Refused => {
            let refused: Refused = read_cold(kind, body)?;
            let _ = RefusalCode::from_wire(&refused.code);
        }
        FrameKind::Cast => payload(CastBody::read(body)?.payload),
        FrameKind::Call => payload(CallBody::read(body)?.to.payload),
        FrameKind::Reply => payload(ReplyBody::read(body)?.payload),
        FrameKind::CallFailed => discard(&read_cold::<CallFailed>(kind, body)?),
        FrameKind::Ping | FrameKind::Pong => discard(&read_cold::<Token>(kind, body)?),
        FrameKind::Monitor | FrameKind::Demonitor | FrameKind::Up => discard(&Name::read(kind, body)?),
        FrameKind::Down => discard(&Down::read(body)?),
        FrameKind::CastFailed => discard(&read_cold::<CastFailed>(kind, body)?),
        FrameKind::Unsupported => discard(&read_cold::<Unsupported>(kind, body)?),
        FrameKind::Fragment => {}
    }
    Ok(Some(kind.name()))
}

/// Decoding is the check; the value is not needed.
fn discard<T>(_value: &T) {}

fn payload(bytes: &[u8]) {
    // Its protocol is not known here; what matters is that decoding it is safe.
    let _ = decode::<IgnoredAny>(bytes);
}

//! The decoder without a connection, for fuzzing and for tools that look at captured bytes.

use crate::admission::RefusalCode;
use crate::frame::{
    self, CallBody, CallFailed, CastBody, CastFailed, Down, Frame, FrameError, Hail, Kind, Name, Reassembly,
    Refused, ReplyBody, Token, Unsupported, WIRE_FRAME_BYTES_MAX, decode_payload, read_cold,
};
use bytes::BytesMut;
use serde::de::IgnoredAny;

/// Takes bytes as a connection would and says which frames they were.
pub struct Inspector {
    buffer: BytesMut,
    reassembly: Reassembly,
}

/// One frame that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its kind, by name; `None` for one this version does not know.
    pub kind: Option<&'static str>,
    /// Its kind, as the number on the wire.
    pub kind_number: u8,
    /// Bytes of its body.
    pub body_bytes: usize,
}

impl Inspector {
    /// An inspector with this cap for messages in fragments.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), reassembly: Reassembly::new(message_bytes_max) }
    }

    /// Adds bytes; gives the frames completed by them, or the first error, after which the stream is of no use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Inspected>, FrameError> {
        self.buffer.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(frame) = frame::next_frame(&mut self.buffer, WIRE_FRAME_BYTES_MAX)? {
            if frame.kind == Kind::Fragment as u8 {
                found.push(describe(&frame));
                let Some(whole) = self.reassembly.add(&frame.body)? else { continue };
                inspect(&whole)?;
                found.push(describe(&whole));
            } else {
                inspect(&frame)?;
                found.push(describe(&frame));
            }
        }
        Ok(found)
    }

    /// Bytes held back for frames and messages that are not complete.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() + self.reassembly.held_bytes()
    }
}

fn describe(frame: &Frame) -> Inspected {
    let kind = Kind::from_wire(frame.kind).map(Kind::name);
    Inspected { kind, kind_number: frame.kind, body_bytes: frame.body.len() }
}

/// Decodes the body as its receiver would; payloads as any MessagePack value.
fn inspect(frame: &Frame) -> Result<(), FrameError> {
    let body = &frame.body[..];
    let Some(kind) = Kind::from_wire(frame.kind) else { return Ok(()) };
    match kind {
        Kind::Hello => discard(&read_cold::<Hail>(kind, body)?),
        Kind::Refused => {
            let refused: Refused = read_cold(kind, body)?;
            let _ = RefusalCode::from_wire(&refused.code);
        }
        Kind::Cast => payload(CastBody::read(body)?.payload),
        Kind::Call => payload(CallBody::read(body)?.to.payload),
        Kind::Reply => payload(ReplyBody::read(body)?.payload),
        Kind::CallFailed => discard(&read_cold::<CallFailed>(kind, body)?),
        Kind::Ping | Kind::Pong => discard(&read_cold::<Token>(kind, body)?),
        Kind::Monitor | Kind::Demonitor | Kind::Up => discard(&Name::read(kind, body)?),
        Kind::Down => discard(&Down::read(body)?),
        Kind::CastFailed => discard(&read_cold::<CastFailed>(kind, body)?),
        Kind::Unsupported => discard(&read_cold::<Unsupported>(kind, body)?),
        Kind::Fragment => {}
    }
    Ok(())
}

/// Decoding is the check; the value is of no interest.
fn discard<T>(_value: &T) {}

fn payload(bytes: &[u8]) {
    // Whether it fits its protocol is not known here; that decoding it is safe is what matters.
    let _ = decode_payload::<IgnoredAny>(bytes);
}

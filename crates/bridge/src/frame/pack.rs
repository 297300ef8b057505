//! The hot envelopes, written and read by hand: a MessagePack array of fixed-width items, payload last.
//!
//! Fixed widths (`str 8`, `uint 32`, `uint 64`, `bin 32`) let the payload be serialised straight behind its envelope
//! and its length filled in afterwards: one buffer, one pass, no copy.

use super::error::FrameError;
use bytes::{BufMut, BytesMut};

const STR8: u8 = 0xd9;
const BIN32: u8 = 0xc6;
const UINT32: u8 = 0xce;
const UINT64: u8 = 0xcf;

pub(crate) fn array(buffer: &mut BytesMut, items: u8) {
    debug_assert!(items < 16, "fixarray");
    buffer.put_u8(0x90 | items);
}

pub(crate) fn string(buffer: &mut BytesMut, value: &str) {
    debug_assert!(u8::try_from(value.len()).is_ok(), "names are capped where they are made");
    buffer.put_u8(STR8);
    buffer.put_u8(value.len() as u8);
    buffer.put_slice(value.as_bytes());
}

pub(crate) fn u32(buffer: &mut BytesMut, value: u32) {
    buffer.put_u8(UINT32);
    buffer.put_u32(value);
}

pub(crate) fn u64(buffer: &mut BytesMut, value: u64) {
    buffer.put_u8(UINT64);
    buffer.put_u64(value);
}

/// Opens a `bin 32`; returns where its length goes once the payload is written.
pub(crate) fn open_bin(buffer: &mut BytesMut) -> usize {
    buffer.put_u8(BIN32);
    let at = buffer.len();
    buffer.put_u32(0);
    at
}

pub(crate) fn close_bin(buffer: &mut BytesMut, at: usize) {
    let length = (buffer.len() - at - 4) as u32;
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Reads an envelope back; every step checks the length before it looks.
pub(crate) struct Unpack<'a> {
    rest: &'a [u8],
    kind: &'static str,
}

impl<'a> Unpack<'a> {
    pub(crate) fn new(body: &'a [u8], kind: &'static str) -> Self {
        Self { rest: body, kind }
    }

    fn fail(&self, what: &'static str) -> FrameError {
        FrameError::Envelope { kind: self.kind, what }
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.fail(what))?;
        self.rest = rest;
        Ok(head)
    }

    fn marker(&mut self, expected: u8, what: &'static str) -> Result<(), FrameError> {
        if self.take(1, what)?[0] == expected { Ok(()) } else { Err(self.fail(what)) }
    }

    pub(crate) fn array(&mut self, items: u8) -> Result<(), FrameError> {
        self.marker(0x90 | items, "an array of the right length")
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, FrameError> {
        self.marker(STR8, "a name (str 8)")?;
        let length = usize::from(self.take(1, "a name's length")?[0]);
        let bytes = self.take(length, "a name's bytes")?;
        std::str::from_utf8(bytes).map_err(|_| self.fail("a name in UTF-8"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        self.marker(UINT32, "a uint 32")?;
        let bytes = self.take(4, "a uint 32")?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes were taken")))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.marker(UINT64, "a uint 64")?;
        let bytes = self.take(8, "a uint 64")?;
        Ok(u64::from_be_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    /// The payload, which must be the last item and end with the frame.
    pub(crate) fn last_bin(mut self) -> Result<&'a [u8], FrameError> {
        self.marker(BIN32, "a payload (bin 32)")?;
        let bytes = self.take(4, "a payload's length")?;
        let length = u32::from_be_bytes(bytes.try_into().expect("four bytes were taken")) as usize;
        let payload = self.take(length, "a payload's bytes")?;
        if self.rest.is_empty() {
            Ok(payload)
        } else {
            Err(FrameError::Trailing { kind: self.kind, bytes: Some(self.rest.len()) })
        }
    }
}

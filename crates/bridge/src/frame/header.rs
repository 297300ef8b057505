//! The frame header: written, found in a stream, and checked.

use super::caps::{FRAME_VERSION, HEADER_BYTES};
use super::error::FrameError;
use super::kind::FrameKind;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One checked frame. An unknown `kind` is answered with Unsupported, not an error.
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
    // Checked before the whole frame has arrived, so that garbage is found early.
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

pub(crate) fn seal(mut buffer: BytesMut, kind: FrameKind) -> Bytes {
    fill_header(&mut buffer, kind, &[]);
    buffer.freeze()
}

/// Fills the header of a frame whose last bytes stay in `rest` (they are not copied).
pub(crate) fn fill_header(buffer: &mut BytesMut, kind: FrameKind, rest: &[u8]) {
    let length = (buffer.len() + rest.len() - 4) as u32;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    buffer[4] = FRAME_VERSION;
    buffer[5] = kind as u8;
    let sum = checksum(&buffer[..6], &[&buffer[HEADER_BYTES..], rest]);
    buffer[6..10].copy_from_slice(&sum.to_be_bytes());
}

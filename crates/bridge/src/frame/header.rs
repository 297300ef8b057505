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

/// The same in a buffer that has room behind what was split off it; [`seal_in`] leaves it the rest of its room.
pub(crate) fn open_in(buffer: &mut BytesMut, room: usize) -> BytesMut {
    debug_assert!(buffer.is_empty(), "what was written was split off");
    if buffer.capacity() < HEADER_BYTES + room {
        *buffer = BytesMut::with_capacity(HEADER_BYTES + room);
    }
    let mut opened = std::mem::take(buffer);
    opened.put_bytes(0, HEADER_BYTES);
    opened
}

/// Seals a frame and gives the room behind it back.
pub(crate) fn seal_in(mut written: BytesMut, kind: FrameKind, buffer: &mut BytesMut) -> Bytes {
    fill_header(&mut written, kind, &[]);
    let frame = written.split().freeze();
    *buffer = written;
    frame
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that leave together are written one behind the other, and each is the frame that it would be alone.
    #[test]
    fn frames_share_a_piece_of_memory_and_are_the_same_as_alone() {
        let (mut buffer, mut last): (_, Option<Bytes>) = (BytesMut::new(), None);
        for (at, length) in [5_usize, 0, 40, 7].into_iter().enumerate() {
            let body = vec![at as u8; length];
            let mut alone = open(8);
            alone.put_slice(&body);
            let room = if at == 0 { 512 } else { 64 };
            let mut opened = open_in(&mut buffer, room);
            opened.put_slice(&body);
            let frame = seal_in(opened, FrameKind::Reply, &mut buffer);
            assert_eq!(frame, seal(alone, FrameKind::Reply));
            let follows = last.is_none_or(|last| last.as_ptr_range().end == frame.as_ptr());
            assert!(follows, "frame {at} has a piece of memory of its own");
            last = Some(frame);
        }
    }
}

//! Messages above 64 KiB in pieces.
//!
//! Only the writer makes fragments, one message per lane at a time, so the receiver holds at most two incomplete messages
//! (one per class). Bound: `message_bytes_max` each, and the buffer grows with the bytes that arrive, never
//! with what the first fragment claims.

use super::body::Fragment;
use super::caps::HEADER_BYTES;
use super::error::FrameError;
use super::header::{Frame, fill_header, open, whole_frame};
use super::kind::{Class, FrameKind};
use super::pack;
use bytes::BytesMut;

/// Header and envelope of a fragment whose bytes are `piece`, which the caller sends right behind (uncopied).
pub(crate) fn fragment_head(class: Class, offset: usize, total: usize, piece: &[u8]) -> BytesMut {
    let mut buffer = open(32);
    pack::array(&mut buffer, 4);
    pack::u32(&mut buffer, u32::from(class.to_wire()));
    pack::u64(&mut buffer, offset as u64);
    pack::u64(&mut buffer, total as u64);
    let at = pack::open_bin(&mut buffer);
    buffer[at..at + 4].copy_from_slice(&(piece.len() as u32).to_be_bytes());
    fill_header(&mut buffer, FrameKind::Fragment, piece);
    buffer
}

/// What has arrived of the messages that come in pieces, by class.
pub(crate) struct Reassembly {
    lanes: [Option<Partial>; 2],
    message_bytes_max: usize,
}

struct Partial {
    total: usize,
    bytes: BytesMut,
}

impl Reassembly {
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self { lanes: [None, None], message_bytes_max }
    }

    /// Bytes held for messages that are not complete.
    pub(crate) fn held_bytes(&self) -> usize {
        self.lanes.iter().flatten().map(|partial| partial.bytes.capacity()).sum()
    }

    /// Adds a piece; gives the message once it is whole.
    pub(crate) fn add(&mut self, body: &[u8]) -> Result<Option<Frame>, FrameError> {
        let fragment = Fragment::read(body)?;
        let lane = &mut self.lanes[usize::from(fragment.class.to_wire())];
        let partial = match lane {
            None => {
                if fragment.offset != 0 {
                    return Err(FrameError::Fragment { what: "the first piece does not start at 0" });
                }
                if fragment.total > self.message_bytes_max + HEADER_BYTES + 1024 {
                    return Err(FrameError::TooLong { length: fragment.total, cap: self.message_bytes_max });
                }
                lane.insert(Partial { total: fragment.total, bytes: BytesMut::new() })
            }
            Some(partial) => partial,
        };
        if fragment.total != partial.total {
            return Err(FrameError::Fragment {
                what: "a piece of another message before the last one was whole",
            });
        }
        if fragment.offset != partial.bytes.len() {
            return Err(FrameError::Fragment { what: "a piece out of order" });
        }
        if fragment.bytes.is_empty() || partial.bytes.len() + fragment.bytes.len() > partial.total {
            return Err(FrameError::Fragment { what: "an empty piece, or more bytes than announced" });
        }
        partial.bytes.extend_from_slice(fragment.bytes);
        if partial.bytes.len() < partial.total {
            return Ok(None);
        }
        let whole = lane.take().expect("it was just filled").bytes.freeze();
        let frame = whole_frame(&whole)?;
        // A fragment of fragments would let a peer recurse.
        if frame.kind == FrameKind::Fragment as u8 {
            return Err(FrameError::Fragment { what: "a fragment inside a fragment" });
        }
        Ok(Some(frame))
    }
}

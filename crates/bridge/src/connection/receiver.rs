//! The seam to the endpoint floor: what the frames of a connection are for.
//!
//! Each end of a connection has its own: the side that was dialled takes requests (casts, calls, monitor requests), the
//! side that dialled takes answers and monitor events. A kind for the other side is answered Unsupported.

use crate::frame::{FrameError, FrameKind};
use bytes::Bytes;

pub(crate) trait Receiver: Send {
    /// A socket read has brought bytes: frames follow.
    fn begin(&mut self) {}
    /// One frame. `false`: this side does not take the kind.
    fn frame(&mut self, kind: FrameKind, body: &Bytes) -> Result<bool, FrameError>;
    /// All complete frames of the read were handled, or the last one was malformed.
    fn finish(&mut self) {}
}

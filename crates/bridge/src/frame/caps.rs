//! The bounds of what is sent and accepted.

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 10;
/// The frame layout. A change of it is a new protocol.
pub(crate) const FRAME_VERSION: u8 = 1;
/// Frames longer than this are cut into fragments of this many bytes, so that control traffic can go between.
pub(crate) const FRAGMENT_BYTES: usize = 64 * 1024;
/// The longest frame accepted on a connection: one fragment and its envelope.
pub const WIRE_FRAME_BYTES_MAX: usize = FRAGMENT_BYTES + 1024;
/// The longest frame accepted before a connection is admitted.
pub(crate) const HELLO_FRAME_BYTES_MAX: usize = 8 * 1024;
/// Nesting allowed in any body or payload.
pub(crate) const DEPTH_MAX: usize = 64;
/// Longest node id, in bytes.
pub(crate) const NODE_BYTES_MAX: usize = 64;
/// Longest actor name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Longest human text (details, addresses) accepted from a peer, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;

//! Why bytes are not a frame.

use super::caps::{DEPTH_MAX, FRAME_VERSION};

/// Why bytes were not a frame. Each closes the connection it came on, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of each variant names its fields")]
pub enum FrameError {
    /// The length field is above the cap.
    #[error(
        "a frame of {length} bytes is above the cap of {cap}: the peer speaks another protocol or is broken"
    )]
    TooLong { length: usize, cap: usize },
    /// The length field does not even cover the header.
    #[error("a frame of {length} bytes is shorter than its header")]
    TooShort { length: usize },
    /// Another version of the frame layout.
    #[error("frame layout version {got}, expected {FRAME_VERSION}: upgrade the older node")]
    Version { got: u8 },
    /// The bytes are not what was sent.
    #[error(
        "checksum {computed:#010x} differs from the {stated:#010x} in the header: damaged in memory or on the way"
    )]
    Checksum { stated: u32, computed: u32 },
    /// A positional envelope (cast, call, reply, fragment) has another item than its format says.
    #[error("{kind} frame: expected {what}")]
    Envelope { kind: &'static str, what: &'static str },
    /// A named-map body does not decode.
    #[error("{kind} frame: {detail}")]
    Body { kind: &'static str, detail: String },
    /// Nested too deep.
    #[error("{kind} frame: nested deeper than {DEPTH_MAX} levels")]
    Depth { kind: &'static str },
    /// Bytes follow the body's value.
    #[error("{kind} frame: trailing bytes after the body")]
    Trailing { kind: &'static str, bytes: Option<usize> },
    /// Fragments out of order, of different messages, or of more than they announced.
    #[error("fragment: {what}")]
    Fragment { what: &'static str },
    /// A text or name above its cap.
    #[error("{kind} frame: {field} of {length} bytes is above its cap of {cap}")]
    TextTooLong { kind: &'static str, field: &'static str, length: usize, cap: usize },
}

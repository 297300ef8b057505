//! MessagePack with the checks `rmp_serde::from_slice` leaves out: depth, and bytes after the value.

use super::caps::DEPTH_MAX;
use super::error::FrameError;
use super::kind::FrameKind;
use bytes::{BufMut, BytesMut};
use rmp_serde::decode::Error;
use serde::{Deserialize, Serialize};

/// How a protocol's structs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Maps with field names: fields may be added and reordered. The default.
    Named,
    /// Arrays: smaller and 45 % cheaper, but any change of fields needs a new `VERSION`. For hot records only.
    Positional,
}

/// Why a value did not decode.
#[derive(Debug)]
pub(crate) enum PayloadError {
    /// Nested deeper than the cap.
    Depth,
    /// Bytes after the value.
    Trailing,
    /// The bytes end inside the value.
    Truncated(String),
    /// Well-formed, but not the expected type: another version's message, say.
    Mismatch(String),
}

impl PayloadError {
    /// True if no peer that follows the format sends this, whatever its version.
    pub(crate) fn is_malformed(&self) -> bool {
        match self {
            PayloadError::Depth | PayloadError::Trailing | PayloadError::Truncated(_) => true,
            PayloadError::Mismatch(_) => false,
        }
    }

    pub(crate) fn in_frame(self, kind: FrameKind) -> FrameError {
        let kind = kind.name();
        match self {
            PayloadError::Depth => FrameError::Depth { kind },
            PayloadError::Trailing => FrameError::Trailing { kind, bytes: None },
            PayloadError::Truncated(detail) | PayloadError::Mismatch(detail) => {
                FrameError::Body { kind, detail }
            }
        }
    }
}

impl std::fmt::Display for PayloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PayloadError::Depth => write!(f, "nested deeper than {DEPTH_MAX} levels"),
            PayloadError::Trailing => f.write_str("trailing bytes after the message"),
            PayloadError::Truncated(detail) => write!(f, "ends too early: {detail}"),
            PayloadError::Mismatch(detail) => f.write_str(detail),
        }
    }
}

/// Decodes a cold body, or a message or reply of a protocol.
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, PayloadError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    decoder.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut decoder).map_err(|error| match error {
        Error::DepthLimitExceeded => PayloadError::Depth,
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => PayloadError::Truncated(error.to_string()),
        other => PayloadError::Mismatch(other.to_string()),
    })?;
    // The decoder does not say where it stopped, but reading a further value fails at its marker only at the end.
    match bool::deserialize(&mut decoder) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(_) | Err(_) => Err(PayloadError::Trailing),
    }
}

/// Appends a message behind its envelope.
pub(crate) fn encode_payload<T: Serialize>(
    buffer: BytesMut,
    encoding: Encoding,
    value: &T,
) -> Result<BytesMut, rmp_serde::encode::Error> {
    let mut writer = buffer.writer();
    match encoding {
        Encoding::Named => rmp_serde::encode::write_named(&mut writer, value)?,
        Encoding::Positional => rmp_serde::encode::write(&mut writer, value)?,
    }
    Ok(writer.into_inner())
}

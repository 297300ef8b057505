//! What a caller asks the leader to append.

use bytes::Bytes;

use crate::entry::{HEADER_BYTES, Hash};

/// A command on its way into the log, hashed where it entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub(super) payload: Bytes,
    pub(super) leaf: Hash,
}

impl Proposal {
    /// Hashes the payload.
    pub fn new(payload: Bytes) -> Self {
        let leaf = Hash::of(&payload);
        Self { payload, leaf }
    }

    /// The bytes it will take in the log.
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

//! One hash of all a machine applied, so that replicas can compare.

use quorate_core::Hash;
use serde::{Deserialize, Serialize};

use super::context::ApplyContext;

/// `blake3(digest before, index, term, encoded command)`, from all zeroes. Two replicas that applied the same commands at
/// the same places have the same one; a command skipped, repeated or changed on one of them shows permanently.
///
/// Keep it in the machine, [`absorb`](Self::absorb) first thing in `apply`, write it into the snapshot, and let a query
/// read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppliedDigest(#[serde(with = "serde_bytes")] [u8; 32]);

impl AppliedDigest {
    /// Takes in the command that is being applied.
    pub fn absorb(&mut self, cx: &ApplyContext<'_>) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&cx.index().0.to_be_bytes());
        hasher.update(&cx.term().0.to_be_bytes());
        hasher.update(cx.command_bytes());
        self.0 = *hasher.finalize().as_bytes();
    }

    /// The hash.
    pub fn hash(self) -> Hash {
        Hash(self.0)
    }
}

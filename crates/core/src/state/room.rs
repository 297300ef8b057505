//! What a full disk still takes (`docs/safety.md` 16).
//!
//! A leader serves no reads before an entry of its own term is committed. So a full disk takes a leader's no-op, as it takes term
//! and vote. Commands that an earlier leader left before that no-op must be taken with it: the log has no holes, a leader never
//! removes its own entries, and only a majority can commit them. How much that may be is bounded, and no series of restarts
//! or elections gets round the bound: it is granted again only by an append for which there was room.

use super::ReplicaState;
use crate::entry::{Entry, EntryKind};
use crate::ids::Term;

/// Commands of earlier terms that a full disk takes, in bytes, for each group. Small beside the usual reserve of 256 MiB; a small
/// volume with many groups may have less (decision 0041).
const RESERVE_FOR_COMMANDS_BYTES: usize = 256 << 10;

impl ReplicaState {
    /// How many of these entries of a leader of `term`, from the first one on, this disk has a place for.
    pub(crate) fn fits(&self, term: Term, entries: &[Entry]) -> usize {
        if !self.disk_full {
            return entries.len();
        }
        let mut left = self.reserve_left;
        let mut fits = |entry: &Entry| {
            let bytes = takes(entry);
            let fits = bytes <= left && (bytes == 0 || entry.term < term);
            left = left.saturating_sub(bytes);
            fits
        };
        entries.iter().take_while(|entry| fits(entry)).count()
    }

    /// Entries are about to be written.
    pub(super) fn count_room(&mut self, entries: &[Entry]) {
        if self.disk_full {
            let bytes = entries.iter().map(takes).sum();
            self.reserve_left = self.reserve_left.saturating_sub(bytes);
        } else if !entries.is_empty() {
            self.reserve_left = RESERVE_FOR_COMMANDS_BYTES;
        }
    }
}

/// A no-op takes a hundred bytes, once for each election.
fn takes(entry: &Entry) -> usize {
    if entry.kind == EntryKind::Noop { 0 } else { entry.encoded_bytes() }
}

//! A node's applier and state machine: applies in index order, with a delay, and keeps a digest of everything applied.

use std::collections::VecDeque;

use quorate_core::{Entry, Hash, Index};

/// The applier of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applier {
    pub(crate) applied: Index,
    /// The digest after each payload applied; independent of the log's chain hash.
    pub(crate) digests: Vec<Hash>,
    pub(crate) queue: VecDeque<Vec<Entry>>,
    /// Counts restarts: events scheduled before one are void.
    pub(crate) life: u64,
}

impl Applier {
    /// Applies the oldest batch and returns the entries that were new.
    pub(crate) fn apply_one(&mut self) -> Vec<Entry> {
        let mut new = Vec::new();
        for entry in self.queue.pop_front().unwrap_or_default() {
            if entry.index <= self.applied {
                continue;
            }
            assert_eq!(entry.index, self.applied.next(), "the applier is handed entries without a gap");
            let before = self.digests.last().copied().unwrap_or_default();
            let mut bytes = before.0.to_vec();
            bytes.extend_from_slice(&entry.index.0.to_be_bytes());
            bytes.extend_from_slice(&entry.payload);
            self.digests.push(Hash::of(&bytes));
            self.applied = entry.index;
            new.push(entry);
        }
        new
    }

    /// Restarts from the state after `keep`.
    pub(crate) fn restart(&mut self, keep: Index) {
        self.applied = keep;
        self.digests.truncate(keep.0 as usize);
        self.queue.clear();
        self.life += 1;
    }
}

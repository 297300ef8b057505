//! What a machine has applied since it was last captured, and what a snapshot of it says beside its state.

use quorate_core::{Entry, EntryKind, Membership, SnapshotBase};

use crate::context::SnapshotContext;

/// On a full disk, or after a snapshot that failed, one is due after one of so many parts of what is usual.
const HASTE_PARTS: u64 = 8;

/// See the module's header.
pub(super) struct SinceSnapshot {
    bytes: u64,
    entries: u64,
    /// The time stamp of the last entry.
    time_ms: u64,
    /// The membership in force at the last entry; `None` while no entry has changed the founding one.
    membership: Option<Membership>,
}

impl SinceSnapshot {
    /// For a machine that was made of a snapshot, or of its first state.
    pub(super) fn new(base: Option<SnapshotBase>) -> Self {
        let (time_ms, membership) = base.map_or((0, None), |base| (base.time_ms, Some(base.membership)));
        Self { bytes: 0, entries: 0, time_ms, membership }
    }

    pub(super) fn applied(&mut self, entry: &Entry) {
        self.bytes += entry.encoded_bytes() as u64;
        self.entries += 1;
        self.time_ms = entry.time_ms;
        if entry.kind == EntryKind::Membership {
            let membership = Membership::decode(&entry.payload);
            self.membership = Some(membership.expect("what a role has taken is read"));
        }
    }

    pub(super) fn captured(&mut self) {
        (self.bytes, self.entries) = (0, 0);
    }

    pub(super) fn last(&self) -> (u64, Option<Membership>) {
        (self.time_ms, self.membership.clone())
    }

    /// Whether there is so much that a snapshot is worth its writing: a large state is not written again for a few entries. On a
    /// full disk, and after one that failed, less is enough: a log that is not forgotten in time outgrows its bound.
    pub(super) fn is_due(&self, snapshot: &SnapshotContext, is_full: bool) -> bool {
        let hurries = is_full || snapshot.gauge.has_failed();
        self.reaches((snapshot.every_bytes, snapshot.every_entries), snapshot.gauge.bytes(), hurries)
    }

    /// `every`: bytes and entries, of which zero is never; `last`: bytes of the newest snapshot.
    fn reaches(&self, every: (u64, u64), last: u64, hurries: bool) -> bool {
        let parts = if hurries { HASTE_PARTS } else { 1 };
        let reached = |count: u64, every: u64| every > 0 && count >= (every / parts).max(1);
        (reached(self.bytes, every.0) && self.bytes >= last / parts)
            || (reached(self.entries, every.1) && self.bytes >= last / parts / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(bytes: u64, entries: u64, last: u64, hurries: bool) -> bool {
        SinceSnapshot { bytes, entries, ..SinceSnapshot::new(None) }.reaches((800, 80), last, hurries)
    }

    #[test]
    fn a_snapshot_is_due_by_bytes_or_entries_and_not_for_a_few_of_a_large_state() {
        let is_due = |bytes, entries, last| reaches(bytes, entries, last, false);
        assert!(!is_due(799, 79, 0) && is_due(800, 1, 0) && is_due(1, 80, 0));
        assert!(!is_due(3_999, 79, 4_000) && is_due(4_000, 1, 4_000), "as many bytes as the last one has");
        assert!(
            !is_due(999, 80, 4_000) && is_due(1_000, 80, 4_000),
            "or a quarter, if there are many entries"
        );
        let never = SinceSnapshot { bytes: u64::MAX, entries: u64::MAX, ..SinceSnapshot::new(None) };
        assert!(!never.reaches((0, 0), 0, true), "an operator has said that none is taken");
    }

    /// The log may be twice the state, and what must stay free is twice the log: nothing else makes it shorter.
    #[test]
    fn on_a_full_disk_and_after_a_failed_snapshot_one_is_due_early() {
        assert!(reaches(500, 1, 4_000, true) && !reaches(499, 9, 4_000, true));
        assert!(!reaches(500, 1, 4_000, false));
    }
}

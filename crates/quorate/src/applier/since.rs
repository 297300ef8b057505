//! What a machine has applied since it was last captured, and what a snapshot of it says beside its state.

use quorate_core::{Entry, EntryKind, Membership, SnapshotBase};

use crate::context::SnapshotContext;

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

    /// Whether there is so much that a snapshot is worth its writing: a large state is not written again for a few entries.
    pub(super) fn is_due(&self, snapshot: &SnapshotContext) -> bool {
        let last = snapshot.gauge.bytes();
        let reached = |count: u64, every: u64| every > 0 && count >= every;
        (reached(self.bytes, snapshot.every_bytes) && self.bytes >= last)
            || (reached(self.entries, snapshot.every_entries) && self.bytes >= last / 4)
    }
}

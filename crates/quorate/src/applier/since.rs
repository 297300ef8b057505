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
        if snapshot.every_bytes == 0 && snapshot.every_entries == 0 {
            return false;
        }
        let parts = if is_full || snapshot.gauge.has_failed() { HASTE_PARTS } else { 1 };
        let last = snapshot.gauge.bytes();
        let reached = |count: u64, every: u64| every > 0 && count >= (every / parts).max(1);
        (reached(self.bytes, snapshot.every_bytes) && self.bytes >= last / parts)
            || (reached(self.entries, snapshot.every_entries) && self.bytes >= last / parts / 4)
    }
}

#[cfg(test)]
mod tests {
    use quorate_store::{SimDisk, Store, StoreOptions, StoreThread};

    use super::*;
    use crate::config::NodeConfig;
    use crate::host::workers::Workers;

    fn context() -> SnapshotContext {
        let node = quorate_core::NodeId::new("node0").expect("a legal name");
        let options = StoreOptions::new(node, Some(quorate_core::Hash::of(b"cluster")), 1);
        let (store, _) = Store::open(Box::new(SimDisk::new()), options).expect("it opens");
        let disk =
            StoreThread::inline(store, std::time::Duration::from_secs(60), std::sync::Arc::new(|_| {}));
        let config =
            NodeConfig { snapshot_log_bytes: 800, snapshot_log_entries: 80, ..NodeConfig::default() };
        SnapshotContext::new(&disk, Workers::Caller, &config)
    }

    fn since(bytes: u64, entries: u64) -> SinceSnapshot {
        SinceSnapshot { bytes, entries, ..SinceSnapshot::new(None) }
    }

    #[test]
    fn a_snapshot_is_due_by_bytes_or_entries_and_not_for_a_few_of_a_large_state() {
        let snapshot = context();
        let is_due = |bytes, entries| since(bytes, entries).is_due(&snapshot, false);
        assert!(!is_due(799, 79) && is_due(800, 1) && is_due(1, 80));
        snapshot.gauge.set_bytes(4_000);
        assert!(!is_due(3_999, 79) && is_due(4_000, 1), "as many bytes as the last one has");
        assert!(!is_due(999, 80) && is_due(1_000, 80), "or a quarter, if there are many entries");
    }

    /// The log may be twice the state, and what must stay free is twice the log: nothing else makes it shorter.
    #[test]
    fn a_full_disk_and_a_failed_snapshot_make_one_due_early() {
        let snapshot = context();
        snapshot.gauge.set_bytes(4_000);
        assert!(since(500, 1).is_due(&snapshot, true) && !since(499, 9).is_due(&snapshot, true));
        assert!(!since(500, 1).is_due(&snapshot, false));
        snapshot.gauge.end(false);
        assert!(since(500, 1).is_due(&snapshot, false));
        snapshot.gauge.end(true);
        assert!(!since(500, 1).is_due(&snapshot, false));
        let off = SnapshotContext { every_bytes: 0, every_entries: 0, ..context() };
        assert!(!since(u64::MAX, u64::MAX).is_due(&off, true), "an operator has said that none is taken");
    }
}

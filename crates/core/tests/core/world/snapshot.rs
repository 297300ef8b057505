//! A snapshot as tests have it. The product's holds the machine; this one holds the entries that it stands for, too, so that an
//! invariant can still look at what a log has forgotten.

use std::sync::Arc;

use quorate_core::{Entry, Hash, Index, Position, SnapshotBase};

/// A snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) base: SnapshotBase,
    /// Every entry up to its end.
    pub(crate) covers: Arc<[Entry]>,
    /// The machine's digest after each of them.
    pub(crate) digests: Arc<[Hash]>,
}

impl Snapshot {
    pub(crate) fn at(&self) -> Position {
        self.base.at
    }

    pub(crate) fn index(&self) -> Index {
        self.base.at.index
    }
}

/// The published snapshots of one node, the newest last; two at most, as the product keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshots(Vec<Snapshot>);

impl Snapshots {
    /// Publishes one. An older one than the newest is kept only if there was none (`known-bugs.md` 62).
    pub(crate) fn publish(&mut self, snapshot: Snapshot) {
        if self.find(snapshot.at()).is_some() {
            return;
        }
        self.0.push(snapshot);
        self.0.sort_by_key(Snapshot::index);
        if self.0.len() > 2 {
            self.0.remove(0);
        }
    }

    pub(crate) fn newest(&self) -> Option<&Snapshot> {
        self.0.last()
    }

    /// The log may be forgotten up to here: two snapshots cover it.
    pub(crate) fn covered_twice(&self) -> Option<Index> {
        (self.0.len() == 2).then(|| self.0[0].index())
    }

    pub(crate) fn find(&self, at: Position) -> Option<&Snapshot> {
        self.0.iter().find(|snapshot| snapshot.at() == at)
    }

    /// The entries that a snapshot of this place stands for, even if only a later one is left.
    pub(crate) fn covered(&self, through: Index) -> Option<Vec<Entry>> {
        let covers = self.0.iter().find(|snapshot| snapshot.index() >= through)?.covers.as_ref();
        Some(covers[..usize::try_from(through.0).expect("a small log")].to_vec())
    }

    /// The newest cannot be read any more.
    pub(crate) fn lose_newest(&mut self) {
        self.0.pop();
    }
}

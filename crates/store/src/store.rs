//! The open store: database, anchor, and what is in memory of each group.

use std::collections::BTreeMap;

use quorate_core::{Boot, GroupId, Hash, Incarnation, NodeId};

use crate::anchor::{Anchor, IdentityRecord};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::{GroupState, PeerRecord};
use crate::options::StoreOptions;
use crate::snapshot::Snapshots;

/// Whose data directory it is (`safety.md` 14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: Hash,
    /// The node.
    pub node: NodeId,
    /// Drawn when the directory was made.
    pub incarnation: Incarnation,
    /// This start; one more than the last.
    pub boot: Boot,
    /// The last starts of this directory, this one last, each with a number that was drawn for it: by that, two directories that are copies
    /// differ once each was started.
    pub starts: Vec<(Boot, u64)>,
}

impl From<&IdentityRecord> for Identity {
    fn from(record: &IdentityRecord) -> Self {
        let IdentityRecord { cluster, node, incarnation, boot, starts, .. } = record.clone();
        Self { cluster, node, incarnation, boot, starts }
    }
}

/// The open store: database, anchor, and what is in memory of each group. Synchronous; owned by one thread.
pub struct Store {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) options: StoreOptions,
    pub(crate) anchor: Anchor,
    pub(crate) identity: Identity,
    pub(crate) groups: BTreeMap<GroupId, GroupState>,
    pub(crate) peers: BTreeMap<NodeId, PeerRecord>,
    /// A call has failed: every later one is refused.
    pub(crate) failed: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let groups: Vec<_> = self.groups.values().map(|group| (&group.name, group.last.log_id())).collect();
        f.debug_struct("Store")
            .field("identity", &self.identity)
            .field("groups", &groups)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Whose directory it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The snapshot files beside the database. They are used beside the thread that owns the store, and nothing of the store waits
    /// for them.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::of_node(self.disk.snapshots(), self.identity.cluster, self.options.clone())
    }

    pub(crate) fn check_failed(&self) -> Result<(), StoreError> {
        if self.failed { Err(StoreError::Failed) } else { Ok(()) }
    }

    pub(crate) fn group(&self, group: GroupId) -> Result<&GroupState, StoreError> {
        self.groups.get(&group).ok_or(StoreError::NotOpen { group })
    }

    /// Checks that the disk's files are still the ones that were opened; if not, every later call is refused.
    pub(crate) fn check_in_place(&mut self) -> Result<(), StoreError> {
        self.change(|store| Ok(store.disk.check_in_place()?))
    }

    /// Runs a change. If it fails for good, also by reading what it needs, every later call is refused: what is on the disk is
    /// unknown then.
    pub(crate) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check_failed()?;
        let done = change(self);
        self.failed |= done.as_ref().is_err_and(StoreError::is_fatal);
        done
    }
}

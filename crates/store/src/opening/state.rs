//! An opening in progress.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Boot, GroupId, NodeId, Position};

use super::report::OpenNotice;
use crate::anchor::{Anchor, AnchorDamage, IdentityRecord};
use crate::disk::{Batch, Disk};
use crate::error::OpenError;
use crate::log::{DATABASE_KEY, DatabaseRecord, GroupState, PeerRecord, put};
use crate::options::StoreOptions;

/// An opening in progress.
pub(super) struct Opening {
    pub(super) disk: Box<dyn Disk>,
    pub(super) options: StoreOptions,
    pub(super) anchor: Anchor,
    pub(super) damage: AnchorDamage,
    /// The previous boot.
    pub(super) boot_before: Boot,
    pub(super) notices: Vec<OpenNotice>,
}

/// What the database holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) groups: BTreeMap<GroupId, GroupState>,
    pub(super) peers: BTreeMap<NodeId, PeerRecord>,
    /// The position of each log at the index that the anchor knows to be durable.
    pub(super) at_durable: BTreeMap<GroupId, Option<Position>>,
    /// The last boot that opened it.
    pub(super) boot: Boot,
    /// Its number, if it is an earlier database of this directory that was set aside and put back.
    pub(super) put_back: Option<u32>,
    /// Of such a database: the groups whose log holds all that it held when it was set aside.
    pub(super) proven: BTreeSet<GroupId>,
}

impl Opening {
    /// Commits `batch` with the record that ties the database to this boot.
    pub(super) fn commit_database_record(&mut self, mut batch: Batch) -> Result<(), OpenError> {
        let IdentityRecord { incarnation, database, boot, .. } = self.anchor.identity.clone();
        put(&mut batch, DATABASE_KEY.to_vec(), &DatabaseRecord { incarnation, database, boot });
        Ok(self.disk.commit(&batch)?)
    }
}

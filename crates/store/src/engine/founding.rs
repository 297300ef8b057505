//! What a directory knows of its cluster, and how one in which nothing ever happened is founded again (`safety.md` 14).

use std::collections::BTreeMap;

use quorate_core::{Hash, Index, Member, Membership, NodeId, Position, SnapshotBase};

use crate::disk::{Batch, Keyspace};
use crate::error::StoreError;
use crate::log::{GroupState, NameRecord, Row, peer_key, put};
use crate::store::Store;

/// What a directory knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founded {
    /// The membership that its groups began with; `None` if it has no group.
    pub founding: Option<Membership>,
    /// The members of all its groups, as their newest memberships have them.
    pub members: BTreeMap<NodeId, Member>,
    /// No group has an entry, a term or a vote: nothing was promised.
    pub is_blank: bool,
}

impl Store {
    /// What this directory knows of its cluster.
    pub fn founded(&self) -> Founded {
        let groups = || self.groups.values();
        let newest = groups().flat_map(|group| group.memberships.current().members.clone());
        let promised = |slot: usize| {
            !self.anchor.groups[slot].record.hard.is_initial()
                || self.anchor.durable(slot) != Position::ORIGIN
        };
        let is_blank = !(0..self.anchor.groups.len()).any(promised)
            && groups().all(|group| group.hard.is_initial() && group.last == Position::ORIGIN);
        Founded {
            founding: groups().next().map(|group| group.founding.clone()),
            members: newest.collect(),
            is_blank,
        }
    }

    /// Makes a blank directory one of another cluster: its groups get these members, and it has met no one. The identity comes
    /// last; until then another start finds the directory as blank as before, and does the same.
    ///
    /// # Panics
    /// Unless the directory is blank.
    pub fn found_again(&mut self, cluster: Hash, founding: &Membership) -> Result<(), StoreError> {
        assert!(self.founded().is_blank, "only what never promised anything is founded again");
        self.change(|store| {
            let mut batch = Batch::new();
            for group in store.groups.values_mut() {
                let empty = GroupState::empty(
                    group.group,
                    group.name.clone(),
                    group.hard.clone(),
                    SnapshotBase::origin(founding.clone()),
                );
                *group = GroupState { slot: group.slot, ..empty };
                let record = NameRecord { name: group.name.clone(), founding: founding.clone() };
                put(&mut batch, Row::Name.key(group.group), &record);
                put(&mut batch, Row::Marker.key(group.group), &group.marker(Index(1)));
            }
            for peer in std::mem::take(&mut store.peers).into_keys() {
                batch.remove(Keyspace::Hard, peer_key(&peer));
            }
            store.disk.commit(&batch)?;
            let only_copy = founding.all_voters().eq([&store.identity.node]);
            for slot in 0..store.anchor.groups.len() {
                store.anchor.groups[slot].record.only_copy = only_copy;
                let hard = store.anchor.groups[slot].record.hard.clone();
                store.anchor.write_group(&mut *store.disk, slot, hard, Position::ORIGIN)?;
            }
            store.anchor.sync(&mut *store.disk)?;
            store.anchor.identity.cluster = cluster;
            store.anchor.write_identity_twice(&mut *store.disk)?;
            store.identity.cluster = cluster;
            Ok(())
        })
    }
}

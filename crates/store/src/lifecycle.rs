//! The rarer writes: groups are made, logs begin later or are replaced by snapshots, dead rows are freed, peers are
//! remembered (`safety.md` 7, 14).

use std::ops::ControlFlow;

use quorate_core::{GroupId, HardState, Incarnation, Index, Membership, NodeId, Position, check_name};

use super::Store;
use super::anchor::GroupRecord;
use super::disk::{Batch, DiskError, Keyspace};
use super::error::{GroupError, StoreError};
use super::group::GroupState;
use super::records::{self, NameRecord, PeerRecord, Row, run_key};
use super::runs::walk;
use super::types::{GroupWrite, Install};
use super::write::{check_hard_state, marker_of};

/// Rows that one tombstone batch frees.
const TOMBSTONES_MAX: usize = 1_000;
/// Up to so many groups, dropping whole tables frees what is dead; with more, tables hold rows of many groups.
const DROP_RANGE_GROUPS_MAX: usize = 16;

impl Store {
    /// Makes a group, or finds it: then `founding` is ignored. Answers its number.
    pub fn open_group(&mut self, name: &str, founding: &Membership) -> Result<GroupId, GroupError> {
        self.check_failed()?;
        check_name(name)?;
        let group = GroupId::of_name(name);
        let slot = self.anchor.slot_of(group);
        if let Some(slot) = slot {
            let other = &self.anchor.groups[slot].record.name;
            if other != name {
                return Err(GroupError::Collision { name: name.to_owned(), group, other: other.clone() });
            }
        }
        if !self.groups.contains_key(&group) {
            let made = self.make_group(group, slot, name, founding);
            self.failed |= made.is_err();
            made?;
        }
        Ok(group)
    }

    fn make_group(
        &mut self,
        group: GroupId,
        slot: Option<usize>,
        name: &str,
        founding: &Membership,
    ) -> Result<(), StoreError> {
        let slot = if let Some(slot) = slot {
            slot
        } else {
            let hard = HardState::default();
            let record = GroupRecord { group, name: name.to_owned(), hard, start: Position::ORIGIN };
            self.anchor.add_group(&mut *self.disk, record)?
        };
        let mut hard = self.anchor.groups[slot].record.hard.clone();
        let promised = hard != HardState::default() || self.anchor.durable(slot) != Position::ORIGIN;
        if promised && !hard.recovering {
            // The anchor has made promises for a log that is not here: nobody votes without it (`safety.md` 5).
            hard.recovering = true;
            self.anchor.write_group(&mut *self.disk, slot, hard.clone(), Position::ORIGIN)?;
            self.anchor.set_durable(slot, Position::ORIGIN);
            self.anchor.write_tables(&mut *self.disk)?;
            self.disk.sync_anchor()?;
        }
        let mut state = GroupState::empty(group, name.to_owned(), hard, Position::ORIGIN, founding.clone());
        state.slot = slot;
        let mut batch = Batch::new();
        let record = NameRecord { name: name.to_owned(), founding: founding.clone() };
        put(&mut batch, Row::Name.key(group), &record);
        put(&mut batch, Row::Hard.key(group), &state.hard);
        put(&mut batch, Row::Marker.key(group), &marker_of(&state, Index(1)));
        self.disk.commit(&batch)?;
        self.groups.insert(group, state);
        Ok(())
    }

    /// Replaces the log by a snapshot's place: one batch with the marker, tombstones for all runs concerned and the
    /// hard state (`safety.md` 7). A log that has that place keeps what follows it. A snapshot that ends below the
    /// log's beginning changes nothing.
    pub fn install(&mut self, group: GroupId, install: &Install) -> Result<(), StoreError> {
        self.check_failed()?;
        let state = self.group(group)?;
        if install.at.index < state.start.index {
            return Ok(());
        }
        let keeps = install.at.index <= state.last.index && self.find(group, install.at.index)? == install.at;
        let done = if keeps { self.install_kept(group, install) } else { self.install_fresh(group, install) };
        self.failed |= done.is_err();
        done
    }

    fn install_kept(&mut self, group: GroupId, install: &Install) -> Result<(), StoreError> {
        let hard_state = install.hard_state.clone();
        self.try_write(vec![GroupWrite { group, hard_state, truncate_from: None, entries: Vec::new() }])?;
        self.move_start(group, install.at)
    }

    fn install_fresh(&mut self, group: GroupId, install: &Install) -> Result<(), StoreError> {
        let state = self.groups[&group].clone();
        check_hard_state(group, &state.hard, &install.hard_state)?;
        let mut batch = Batch::new();
        if let Some(boundary) = state.runs.find(state.start.index.next()) {
            walk(&*self.disk, group, (boundary.key, boundary.previous), &mut |run| {
                batch.remove(Keyspace::Log, run_key(group, run.key));
                ControlFlow::Continue(())
            })?;
        }
        let (hard, membership) = (install.hard_state.clone(), install.membership.clone());
        let mut fresh = GroupState::empty(group, state.name.clone(), hard, install.at, membership);
        fresh.slot = state.slot;
        fresh.dead_below = state.dead_below;
        if self.lowers() {
            self.anchor.set_durable(state.slot, state.start);
            self.anchor.write_tables(&mut *self.disk)?;
        }
        self.anchor.write_group(&mut *self.disk, state.slot, fresh.hard.clone(), state.start)?;
        self.disk.sync_anchor()?;
        put(&mut batch, Row::Marker.key(group), &marker_of(&fresh, install.at.index.next()));
        put(&mut batch, Row::Hard.key(group), &fresh.hard);
        self.disk.commit(&batch)?;
        self.anchor.write_group(&mut *self.disk, state.slot, fresh.hard.clone(), fresh.start)?;
        self.anchor.set_durable(state.slot, fresh.last);
        self.anchor.write_tables(&mut *self.disk)?;
        self.disk.sync_anchor()?;
        self.groups.insert(group, fresh);
        Ok(())
    }

    /// Makes `through` the place before the first entry, durably; what lies below is freed later by
    /// [`Store::reclaim`]. Answers the beginning: an index that was compacted before changes nothing.
    pub fn compact(&mut self, group: GroupId, through: Index) -> Result<Position, StoreError> {
        self.check_failed()?;
        let state = self.group(group)?;
        if through <= state.start.index {
            return Ok(state.start);
        }
        let start = self.find(group, through)?;
        let done = self.move_start(group, start);
        self.failed |= done.is_err();
        done.map(|()| start)
    }

    /// The place at `index`, for a change: what cannot be read ends the store as what cannot be written does.
    fn find(&mut self, group: GroupId, index: Index) -> Result<Position, StoreError> {
        let found = self.locate(group, index);
        self.failed |= found.as_ref().is_err_and(StoreError::is_fatal);
        found
    }

    fn move_start(&mut self, group: GroupId, start: Position) -> Result<(), StoreError> {
        let state = &self.groups[&group];
        if start.index <= state.start.index {
            return Ok(());
        }
        let key = self.row_of(state, start.index.next())?;
        let mut moved = state.clone();
        moved.compacted(start, key);
        let mut batch = Batch::new();
        put(&mut batch, Row::Marker.key(group), &marker_of(&moved, key));
        self.disk.commit(&batch)?;
        self.anchor.write_group(&mut *self.disk, moved.slot, moved.hard.clone(), start)?;
        self.disk.sync_anchor()?;
        self.groups.insert(group, moved);
        Ok(())
    }

    /// The key of the row that contains `index`, or will when it is appended.
    fn row_of(&self, state: &GroupState, index: Index) -> Result<Index, StoreError> {
        let Some(boundary) = state.runs.find(index).filter(|_| index <= state.last.index) else {
            return Ok(index);
        };
        let mut key = boundary.key;
        walk(&*self.disk, state.group, (boundary.key, boundary.previous), &mut |run| {
            key = run.key;
            if run.last().index >= index { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(key)
    }

    /// Whether rows wait to be freed.
    pub fn has_dead_runs(&self) -> bool {
        self.groups.values().any(|group| group.dead_below.is_some())
    }

    /// Frees rows below the markers: by dropping whole tables where few groups share them (what comes back on
    /// reopening is harmless below the marker), by tombstones where many do.
    pub fn reclaim(&mut self) -> Result<(), StoreError> {
        self.check_failed()?;
        let done = self.try_reclaim();
        self.failed |= done.is_err();
        Ok(done?)
    }

    fn try_reclaim(&mut self) -> Result<(), DiskError> {
        let few = self.groups.len() <= DROP_RANGE_GROUPS_MAX;
        for state in self.groups.values_mut() {
            let Some(below) = state.dead_below.take() else { continue };
            let (from, to) = (run_key(state.group, Index::ZERO), run_key(state.group, below));
            if few {
                self.disk.drop_range(Keyspace::Log, &from, &to)?;
                continue;
            }
            let mut batch = Batch::new();
            let mut rows = 0;
            self.disk.scan(Keyspace::Log, &from, &mut |key, _| {
                if key >= to.as_slice() || rows == TOMBSTONES_MAX {
                    return ControlFlow::Break(());
                }
                rows += 1;
                batch.remove(Keyspace::Log, key.to_vec());
                ControlFlow::Continue(())
            })?;
            if rows > 0 {
                self.disk.commit(&batch)?;
            }
            if rows == TOMBSTONES_MAX {
                state.dead_below = Some(below);
            }
        }
        Ok(())
    }

    /// Remembers a peer's incarnation, durably, before its first vote or ack counts (`safety.md` 14). A peer that is
    /// known keeps its first one unless `replace`. Answers what is remembered now.
    pub fn record_peer(
        &mut self,
        peer: &NodeId,
        incarnation: Incarnation,
        replace: bool,
    ) -> Result<Incarnation, StoreError> {
        self.check_failed()?;
        if let Some(known) = self.peers.get(peer)
            && (*known == incarnation || !replace)
        {
            return Ok(*known);
        }
        let mut batch = Batch::new();
        put(&mut batch, records::peer_key(peer), &PeerRecord { incarnation });
        let done = self.disk.commit(&batch);
        self.failed |= done.is_err();
        done?;
        self.peers.insert(peer.clone(), incarnation);
        Ok(incarnation)
    }
}

fn put<T: serde::Serialize>(batch: &mut Batch, key: Vec<u8>, record: &T) {
    let value = records::encode(&key, record);
    batch.put(Keyspace::Hard, key, value);
}

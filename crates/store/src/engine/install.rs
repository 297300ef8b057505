//! A log that begins later: compacted up to an index, or replaced by a snapshot (`safety.md` 7).

use std::ops::ControlFlow;

use quorate_core::{Entries, GroupId, HardRecord, Index, Position, SnapshotBase};

use super::write::{GroupWrite, check_hard_state};
use crate::disk::{Batch, Keyspace};
use crate::error::StoreError;
use crate::log::{GroupState, Row, put, run_key, walk};
use crate::store::Store;

/// A snapshot that replaces a log (`safety.md` 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Where the snapshot ends. A log that has that entry keeps what follows; any other log is dropped whole.
    pub base: SnapshotBase,
    /// The newest term, vote and flag.
    pub hard_state: HardRecord,
}

impl Install {
    /// For a node of a new cluster, which goes on where the snapshot of another one ends: in its term, in which it has voted for no one.
    pub fn of_new_cluster(base: SnapshotBase) -> Self {
        let hard_state = HardRecord::of_new_cluster(base.at.term);
        Self { base, hard_state }
    }
}

impl Store {
    /// Replaces the log by a snapshot's position: one batch with the marker, tombstones for all runs that reach beyond it and the
    /// hard state (`safety.md` 7); what lies below is freed later by [`Store::reclaim`]. A log that has that position keeps what follows it. A snapshot that ends below the
    /// log's beginning changes nothing.
    pub fn install(&mut self, group: GroupId, install: &Install) -> Result<(), StoreError> {
        self.change(|store| {
            let state = store.group(group)?;
            let at = install.base.at;
            let has = |store: &Self| Ok::<_, StoreError>(store.locate(group, at.index)? == at);
            let is_older = at.index < state.start.index;
            let keeps = is_older || (at.index <= state.last.index && has(store)?);
            if keeps { store.install_kept(group, install) } else { store.install_fresh(group, install) }
        })
    }

    fn install_kept(&mut self, group: GroupId, install: &Install) -> Result<(), StoreError> {
        let hard_state = install.hard_state.clone();
        self.write_synced(vec![GroupWrite {
            group,
            hard_state,
            truncate_from: None,
            entries: Entries::default(),
        }])?;
        self.move_start(group, install.base.at, install.base.time_ms)
    }

    fn install_fresh(&mut self, group: GroupId, install: &Install) -> Result<(), StoreError> {
        let state = self.groups[&group].clone();
        check_hard_state(group, &state.hard, &install.hard_state)?;
        let mut batch = Batch::new();
        let at = install.base.at.index;
        // What reaches beyond the snapshot goes with the marker. All before it lies below the marker, and is freed later: a long log is
        // not read on this thread, while other groups' votes wait.
        if at < state.last.index
            && let Some(boundary) = state.runs.find(at.next())
        {
            walk(&*self.disk, group, (boundary.key, boundary.previous), &mut |run| {
                if run.last().index > at {
                    batch.remove(Keyspace::Log, run_key(group, run.key));
                }
                ControlFlow::Continue(())
            })?;
        }
        let (hard, base) = (install.hard_state.clone(), install.base.clone());
        let mut fresh = GroupState::empty(group, state.name.clone(), hard, base);
        fresh.founding.clone_from(&state.founding);
        fresh.slot = state.slot;
        fresh.dead_below = Some(at.next());
        // Before the batch: no more is claimed than both logs have (`safety.md` 4).
        self.anchor.set_durable(state.slot, state.start);
        self.anchor.forget_aside(state.slot);
        self.anchor.write_group(&mut *self.disk, state.slot, fresh.hard.clone(), state.start)?;
        self.write_durable()?;
        put(&mut batch, Row::Marker.key(group), &fresh.marker(at.next()));
        put(&mut batch, Row::Hard.key(group), &fresh.hard);
        self.disk.commit(&batch)?;
        self.anchor.write_group(&mut *self.disk, state.slot, fresh.hard.clone(), fresh.start)?;
        self.anchor.set_durable(state.slot, fresh.last);
        self.write_durable()?;
        self.groups.insert(group, fresh);
        Ok(())
    }

    /// Makes `through` the position before the first entry, durably; what lies below is freed later by
    /// [`Store::reclaim`]. Returns the log's beginning: an index that was compacted before changes nothing.
    pub fn compact(&mut self, group: GroupId, through: Index) -> Result<Position, StoreError> {
        self.change(|store| {
            let state = store.group(group)?;
            if through <= state.start.index {
                return Ok(state.start);
            }
            let entries = store.read(group, through, through, 1)?;
            let at = entries.first().ok_or_else(|| store.groups[&group].outside(through))?;
            store.move_start(group, at.position(), at.time_ms)?;
            Ok(at.position())
        })
    }

    fn move_start(&mut self, group: GroupId, start: Position, time_ms: u64) -> Result<(), StoreError> {
        let state = &self.groups[&group];
        if start.index <= state.start.index {
            return Ok(());
        }
        let key = self.row_of(state, start.index.next())?;
        let mut moved = state.clone();
        moved.compacted(start, time_ms, key);
        let mut batch = Batch::new();
        put(&mut batch, Row::Marker.key(group), &moved.marker(key));
        self.disk.commit(&batch)?;
        self.anchor.write_group(&mut *self.disk, moved.slot, moved.hard.clone(), start)?;
        self.anchor.sync(&mut *self.disk)?;
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
}

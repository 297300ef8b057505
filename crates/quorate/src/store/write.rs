//! Writing: one batch and one sync for all that waits, and the anchor's protocol around it (`safety.md` 1, 3, 4, 7).
//!
//! In this order: what changes in the anchor before the batch (term and vote; the durable index lowered where a
//! truncation reaches it), synced; the batch; then memory. The anchor's durable index follows lazily.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::{
    Entry, GroupId, HardState, Incarnation, Index, Membership, NodeId, Position, check_name, encode_run,
};

use super::Store;
use super::anchor::GroupRecord;
use super::disk::{Batch, DiskError, Keyspace};
use super::error::{GroupError, StoreError};
use super::group::GroupState;
use super::records::{self, Marker, NameRecord, PeerRecord, Row, run_key};
use super::runs::{Boundary, walk};
use super::types::{GroupWrite, Install};

/// Rows that one tombstone batch frees.
const TOMBSTONES_MAX: usize = 1_000;
/// Up to so many groups, dropping whole tables frees what is dead; with more, tables hold rows of many groups.
const DROP_RANGE_GROUPS_MAX: usize = 16;

/// What remains of a log after a truncation inside it.
struct Cut {
    from: Index,
    /// The place before `from`.
    before: Position,
    /// The row that contains `from` and begins before it, without what is cut off.
    rest: Option<(Index, Bytes)>,
    /// The rows that go.
    rows: Vec<Index>,
}

impl Cut {
    /// Whether the log's first row began below its first entry and does not any more.
    fn moves_first(&self, first: Index) -> bool {
        self.rows.iter().any(|row| *row < first)
    }
}

/// One group's part of a batch, with what it needs from disk.
struct Plan {
    write: GroupWrite,
    cut: Option<Cut>,
    hard_changed: bool,
}

impl Store {
    /// Makes everything durable: one batch, one sync. Several writes of one group are taken in order.
    pub fn write(&mut self, writes: Vec<GroupWrite>) -> Result<(), StoreError> {
        self.check_failed()?;
        let done = self.try_write(writes);
        self.failed |= done.is_err();
        done
    }

    pub(super) fn check_failed(&self) -> Result<(), StoreError> {
        if self.failed { Err(StoreError::Failed) } else { Ok(()) }
    }

    fn try_write(&mut self, writes: Vec<GroupWrite>) -> Result<(), StoreError> {
        let mut plans = Vec::new();
        for write in fold(writes) {
            plans.push(self.plan(write)?);
        }
        self.anchor_before(&plans)?;
        let mut batch = Batch::new();
        for plan in &plans {
            self.fill(plan, &mut batch);
        }
        if !batch.is_empty() {
            self.disk.commit(&batch)?;
        }
        plans.into_iter().try_for_each(|plan| self.take_in(plan))
    }

    fn plan(&self, write: GroupWrite) -> Result<Plan, StoreError> {
        let group = self.group(write.group)?;
        check_hard_state(group, &write.hard_state)?;
        let cut = match write.truncate_from {
            Some(from) if from <= group.last.index => Some(self.cut(group, from)?),
            Some(_) | None => None,
        };
        let before = cut.as_ref().map_or(group.last, |cut| cut.before);
        check_order(group.group, before, &write)?;
        let hard_changed = group.hard != write.hard_state;
        Ok(Plan { write, cut, hard_changed })
    }

    /// Finds the rows a truncation concerns.
    fn cut(&self, group: &GroupState, from: Index) -> Result<Cut, StoreError> {
        if from <= group.start.index {
            let detail = format!("truncation at {from}, below its first entry");
            return Err(StoreError::Order { group: group.group, detail });
        }
        let mut cut = Cut { from, before: group.start, rest: None, rows: Vec::new() };
        let Some(boundary) = group.runs.find(from) else { return Ok(cut) };
        cut.before = boundary.previous;
        walk(&*self.disk, group.group, (boundary.key, boundary.previous), &mut |run| {
            if run.key >= from {
                cut.rows.push(run.key);
            } else if run.last().index < from {
                cut.before = run.last();
            } else {
                cut.rest = Some((run.key, Bytes::new()));
                let keep = run.entries.partition_point(|entry| entry.index < from);
                let kept = &run.entries[..keep];
                cut.before = kept.last().map_or(run.previous, Entry::position);
                if kept.is_empty() {
                    // The log's first row: what is left of it lies below the marker.
                    cut.rest = None;
                    cut.rows.push(run.key);
                } else if let Some(rest) = &mut cut.rest {
                    rest.1 = encode_run(kept);
                    if run.key < kept[0].index {
                        // Its key moves up to its first live entry.
                        cut.rows.push(run.key);
                        rest.0 = kept[0].index;
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(cut)
    }

    /// What must be in the anchor, synced, before the batch is handed over (`safety.md` 1, 4).
    fn anchor_before(&mut self, plans: &[Plan]) -> Result<(), StoreError> {
        let mut wrote = false;
        for plan in plans {
            let group = &self.groups[&plan.write.group];
            if plan.hard_changed {
                let hard = plan.write.hard_state.clone();
                self.anchor.write_group(&mut *self.disk, group.slot, hard, group.start)?;
                wrote = true;
            }
            if let Some(cut) = &plan.cut
                && self.lowers()
                && self.anchor.durable(group.slot).index >= cut.from
            {
                self.anchor.set_durable(group.slot, cut.before);
            }
        }
        let lowered = plans.iter().any(|plan| plan.cut.is_some());
        if lowered && self.lowers() {
            wrote |= self.anchor.write_tables(&mut *self.disk)?;
        }
        if wrote {
            self.disk.sync_anchor()?;
        }
        Ok(())
    }

    #[cfg(test)]
    fn lowers(&self) -> bool {
        !self.mutant_keep_anchor
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the mutant of safety.md 4 exists in tests only")]
    fn lowers(&self) -> bool {
        true
    }

    fn fill(&self, plan: &Plan, batch: &mut Batch) {
        let group = plan.write.group;
        if let Some(cut) = &plan.cut {
            for row in &cut.rows {
                batch.remove(Keyspace::Log, run_key(group, *row));
            }
            if let Some((key, bytes)) = &cut.rest {
                batch.put(Keyspace::Log, run_key(group, *key), bytes.clone());
            }
        }
        for run in chunks(&plan.write.entries, self.options.run_bytes_max) {
            batch.put(Keyspace::Log, run_key(group, run[0].index), encode_run(run));
        }
        if plan.hard_changed {
            let key = Row::Hard.key(group);
            let value = records::encode(&key, &plan.write.hard_state);
            batch.put(Keyspace::Hard, key, value);
        }
        if let Some(marker) = self.moved_marker(plan) {
            let key = Row::Marker.key(group);
            let value = records::encode(&key, &marker);
            batch.put(Keyspace::Hard, key, value);
        }
    }

    /// A truncation that rewrites or removes the log's first row moves the key in the marker.
    fn moved_marker(&self, plan: &Plan) -> Option<Marker> {
        let group = &self.groups[&plan.write.group];
        let cut = plan.cut.as_ref()?;
        let first = group.start.index.next();
        cut.moves_first(first).then(|| marker_of(group, first))
    }

    fn take_in(&mut self, plan: Plan) -> Result<(), StoreError> {
        let (run_bytes_max, boundaries_max) = (self.options.run_bytes_max, self.options.boundaries_max);
        let group = self.groups.get_mut(&plan.write.group).expect("planned");
        group.hard = plan.write.hard_state;
        if let Some(cut) = plan.cut {
            if cut.before == group.start {
                group.runs.clear();
            } else if let Some(last) = group.runs.truncate(cut.from)
                && cut.moves_first(group.start.index.next())
            {
                last.key = group.start.index.next();
            }
            group.truncated(cut.from, cut.before);
        }
        for run in chunks(&plan.write.entries, run_bytes_max) {
            let bytes = run.iter().map(|entry| entry.encoded_bytes() as u64).sum();
            let boundary = Boundary { key: run[0].index, previous: group.last, bytes };
            group.runs.push(boundary, boundaries_max);
            group.appended(run)?;
        }
        let (slot, last) = (group.slot, group.last);
        self.anchor.set_durable(slot, last);
        Ok(())
    }

    /// Whether the anchor's tables lag behind the logs.
    pub fn is_anchor_behind(&self) -> bool {
        self.anchor.is_dirty()
    }

    /// Brings the anchor's durable indexes up to date, synced. Call it when idle, and at most
    /// [`ANCHOR_LAG_MAX`](super::ANCHOR_LAG_MAX) after it fell behind.
    pub fn settle_anchor(&mut self) -> Result<(), StoreError> {
        self.check_failed()?;
        let done = self
            .anchor
            .write_tables(&mut *self.disk)
            .and_then(|wrote| if wrote { self.disk.sync_anchor() } else { Ok(()) });
        self.failed |= done.is_err();
        Ok(done?)
    }

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
        let hard = self.anchor.groups[slot].record.hard.clone();
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
        let keeps =
            install.at.index <= state.last.index && self.locate(group, install.at.index)? == install.at;
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
        check_hard_state(&state, &install.hard_state)?;
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
        let start = self.locate(group, through)?;
        let done = self.move_start(group, start);
        self.failed |= done.is_err();
        done.map(|()| start)
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

fn marker_of(state: &GroupState, run: Index) -> Marker {
    let membership = state.memberships.at(state.start.index).clone();
    Marker { first: state.start.index.next(), previous: state.start, run, membership }
}

/// Terms do not fall, and a vote is not changed within one: the last line behind the epochs (`safety.md` 9).
fn check_hard_state(group: &GroupState, hard: &HardState) -> Result<(), StoreError> {
    let old = &group.hard;
    let changes_vote = hard.term == old.term && old.voted_for.is_some() && hard.voted_for != old.voted_for;
    if hard.term < old.term || changes_vote {
        let detail = format!(
            "term {} and vote {:?} after term {} and vote {:?}",
            hard.term, hard.voted_for, old.term, old.voted_for
        );
        return Err(StoreError::Order { group: group.group, detail });
    }
    Ok(())
}

fn check_order(group: GroupId, before: Position, write: &GroupWrite) -> Result<(), StoreError> {
    let mut last = before.log_id();
    for entry in &write.entries {
        if entry.index != last.index.next() || entry.term < last.term || entry.term > write.hard_state.term {
            let detail = format!("entry {} after {last}", entry.log_id());
            return Err(StoreError::Order { group, detail });
        }
        last = entry.log_id();
    }
    Ok(())
}

/// Folds the writes of each group into one, in order.
fn fold(writes: Vec<GroupWrite>) -> Vec<GroupWrite> {
    let mut folded: BTreeMap<GroupId, GroupWrite> = BTreeMap::new();
    for write in writes {
        let Some(into) = folded.get_mut(&write.group) else {
            folded.insert(write.group, write);
            continue;
        };
        into.hard_state = write.hard_state;
        if let Some(from) = write.truncate_from {
            let keep = into.entries.partition_point(|entry| entry.index < from);
            into.entries.truncate(keep);
            if keep == 0 {
                into.truncate_from = Some(into.truncate_from.map_or(from, |old| old.min(from)));
            }
        }
        into.entries.extend(write.entries);
    }
    folded.into_values().collect()
}

/// Splits entries into runs of about `bytes_max`.
fn chunks(entries: &[Entry], bytes_max: usize) -> Vec<&[Entry]> {
    let mut runs = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        if at > from && bytes + entry.encoded_bytes() > bytes_max {
            runs.push(&entries[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += entry.encoded_bytes();
    }
    if from < entries.len() {
        runs.push(&entries[from..]);
    }
    runs
}

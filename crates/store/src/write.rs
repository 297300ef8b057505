//! Writing: one batch and one sync for all that waits, and the anchor's protocol around it (`safety.md` 1, 3, 4, 7).
//!
//! In this order: what changes in the anchor before the batch (term and vote; the durable index lowered where a
//! truncation reaches it), synced; the batch; then memory. The anchor's durable index follows lazily.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::{Entry, GroupId, HardState, Index, Position, encode_run};

use super::Store;
use super::disk::{Batch, Keyspace};
use super::error::StoreError;
use super::group::GroupState;
use super::records::{self, Marker, Row, run_key};
use super::runs::{Boundary, walk};
use super::types::GroupWrite;

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

    pub(super) fn try_write(&mut self, writes: Vec<GroupWrite>) -> Result<(), StoreError> {
        let mut plans = Vec::new();
        for write in self.fold(writes)? {
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

    /// Folds the writes of each group into one, in order. Each step of a hard state is checked, not only the last: two
    /// votes of one term in one batch are two votes.
    fn fold(&self, writes: Vec<GroupWrite>) -> Result<Vec<GroupWrite>, StoreError> {
        let mut folded: BTreeMap<GroupId, GroupWrite> = BTreeMap::new();
        for write in writes {
            let group = write.group;
            let Some(into) = folded.get_mut(&group) else {
                check_hard_state(group, &self.group(group)?.hard, &write.hard_state)?;
                folded.insert(group, write);
                continue;
            };
            check_hard_state(group, &into.hard_state, &write.hard_state)?;
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
        Ok(folded.into_values().collect())
    }

    fn plan(&self, write: GroupWrite) -> Result<Plan, StoreError> {
        let group = self.group(write.group)?;
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
    pub(super) fn lowers(&self) -> bool {
        !self.mutant_keep_anchor
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the mutant of safety.md 4 exists in tests only")]
    pub(super) fn lowers(&self) -> bool {
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
}

pub(super) fn marker_of(state: &GroupState, run: Index) -> Marker {
    let membership = state.memberships.at(state.start.index).clone();
    Marker { first: state.start.index.next(), previous: state.start, run, membership }
}

/// Terms do not fall, and a vote is not changed within one: the last line behind the epochs (`safety.md` 9).
pub(super) fn check_hard_state(group: GroupId, old: &HardState, hard: &HardState) -> Result<(), StoreError> {
    let changes_vote = hard.term == old.term && old.voted_for.is_some() && hard.voted_for != old.voted_for;
    if hard.term < old.term || changes_vote {
        let detail = format!(
            "term {} and vote {:?} after term {} and vote {:?}",
            hard.term, hard.voted_for, old.term, old.voted_for
        );
        return Err(StoreError::Order { group, detail });
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

//! Writing: one batch and one sync for everything that waits, and the anchor's protocol around it (`safety.md` 1, 3, 4, 7).
//!
//! In this order: what must change in the anchor before the batch (term and vote; the durable index, lowered where a
//! truncation reaches it), synced; the batch; then memory. The anchor's durable index follows lazily.

use std::collections::BTreeMap;
use std::ops::Range;

use quorate_core::{Entries, Entry, GroupId, HardRecord, Index, Position};

use super::cut::Cut;
use crate::disk::{Batch, Keyspace};
use crate::error::StoreError;
use crate::log::{Boundary, Row, put, run_key};
use crate::store::Store;

/// One group's part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWrite {
    /// The group.
    pub group: GroupId,
    /// The newest term, vote and flag.
    pub hard_state: HardRecord,
    /// Remove this index and all after it first.
    pub truncate_from: Option<Index>,
    /// Then append these.
    pub entries: Entries,
}

/// One group's part of a batch, with what it changes on disk.
struct WriteSteps {
    write: GroupWrite,
    cut: Option<Cut>,
    /// The runs that `write.entries` become, in bytes of at most `run_bytes_max`.
    runs: Vec<Range<usize>>,
    hard_changed: bool,
}

impl Store {
    /// Makes everything durable: one batch, one sync. Several writes of one group are taken in order.
    pub fn write(&mut self, writes: Vec<GroupWrite>) -> Result<(), StoreError> {
        self.change(|store| store.write_synced(writes))
    }

    pub(super) fn write_synced(&mut self, writes: Vec<GroupWrite>) -> Result<(), StoreError> {
        let folded = self.fold(writes)?;
        let steps: Vec<WriteSteps> =
            folded.into_iter().map(|write| self.steps_of(write)).collect::<Result<_, _>>()?;
        self.anchor_before(&steps)?;
        let mut batch = Batch::new();
        for of_group in &steps {
            self.fill(of_group, &mut batch);
        }
        if !batch.is_empty() {
            self.disk.commit(&batch)?;
        }
        steps.into_iter().try_for_each(|of_group| self.update_memory(of_group))
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
                into.entries = into.entries.slice(0..keep);
                if keep == 0 {
                    into.truncate_from = Some(into.truncate_from.map_or(from, |old| old.min(from)));
                }
            }
            // A role orders one write after the other, as a rule: then the bytes are those it was given.
            if into.entries.is_empty() {
                into.entries = write.entries;
            } else if !write.entries.is_empty() {
                into.entries = [&into.entries[..], &write.entries].concat().into();
            }
        }
        Ok(folded.into_values().collect())
    }

    fn steps_of(&self, write: GroupWrite) -> Result<WriteSteps, StoreError> {
        let group = self.group(write.group)?;
        let cut = match write.truncate_from {
            Some(from) if from <= group.last.index => Some(Cut::find(&*self.disk, group, from)?),
            Some(_) | None => None,
        };
        let before = cut.as_ref().map_or(group.last, |cut| cut.before);
        check_entries(before, &write)?;
        let runs = split(&write.entries, self.options.run_bytes_max);
        let hard_changed = group.hard != write.hard_state;
        Ok(WriteSteps { write, cut, runs, hard_changed })
    }

    /// Writes and syncs what must be in the anchor before the batch (`safety.md` 1, 4).
    fn anchor_before(&mut self, steps: &[WriteSteps]) -> Result<(), StoreError> {
        for WriteSteps { write, cut, hard_changed, .. } in steps {
            let group = &self.groups[&write.group];
            // Once this database has an entry, the one set aside can no longer prove to be complete.
            let voids = !write.entries.is_empty() && self.anchor.forget_aside(group.slot);
            if *hard_changed || voids {
                let hard = write.hard_state.clone();
                self.anchor.write_group(&mut *self.disk, group.slot, hard, group.start)?;
            }
            if let Some(cut) = cut
                && self.anchor.durable(group.slot).index >= cut.from
            {
                self.anchor.set_durable(group.slot, cut.before);
            }
        }
        if steps.iter().any(|of_group| of_group.cut.is_some()) {
            self.anchor.write_tables(&mut *self.disk)?;
        }
        Ok(self.anchor.sync(&mut *self.disk)?)
    }

    fn fill(&self, steps: &WriteSteps, batch: &mut Batch) {
        let WriteSteps { write, cut, runs, hard_changed } = steps;
        let group = &self.groups[&write.group];
        if let Some(cut) = cut {
            for row in &cut.rows {
                batch.remove(Keyspace::Log, run_key(write.group, *row));
            }
            if let Some((key, bytes)) = &cut.rest {
                batch.put(Keyspace::Log, run_key(write.group, *key), bytes.clone());
            }
            let first = group.start.index.next();
            if cut.moves_first(first) {
                put(batch, Row::Marker.key(write.group), &group.marker(first));
            }
        }
        for run in runs {
            let run = write.entries.slice(run.clone());
            batch.put(Keyspace::Log, run_key(write.group, run[0].index), run.bytes().clone());
        }
        if *hard_changed {
            put(batch, Row::Hard.key(write.group), &write.hard_state);
        }
    }

    fn update_memory(&mut self, steps: WriteSteps) -> Result<(), StoreError> {
        let WriteSteps { write, cut, runs, .. } = steps;
        let group = self.groups.get_mut(&write.group).expect("its steps were made");
        group.hard = write.hard_state;
        if let Some(cut) = cut {
            if cut.before == group.start {
                group.runs.clear();
            } else if let Some(last) = group.runs.truncate(cut.from) {
                // Correct the run's byte count, or the live-log size grows with each truncation.
                if let Some((_, bytes)) = cut.kept.filter(|(key, _)| *key == last.key) {
                    last.bytes = bytes;
                }
                if cut.moves_first(group.start.index.next()) {
                    last.key = group.start.index.next();
                }
            }
            group.truncated(cut.from, cut.before);
        }
        for run in runs {
            let run = &write.entries[run];
            let bytes = run.iter().map(|entry| entry.encoded_bytes() as u64).sum();
            let boundary = Boundary { key: run[0].index, previous: group.last, bytes };
            group.runs.push(boundary, self.options.boundaries_max);
            group.appended(run)?;
        }
        self.anchor.set_durable(group.slot, group.last);
        Ok(())
    }

    /// Whether the anchor's tables are behind the logs.
    pub fn is_anchor_behind(&self) -> bool {
        self.anchor.is_dirty()
    }

    /// Brings the anchor's durable indexes up to date, synced. Call it when idle, and at most
    /// [`ANCHOR_LAG_MAX`](crate::ANCHOR_LAG_MAX) after it fell behind.
    pub fn settle_anchor(&mut self) -> Result<(), StoreError> {
        self.change(Self::write_durable)
    }

    /// Writes and syncs what [`Anchor::set_durable`](crate::anchor::Anchor::set_durable) changed, and all before it.
    pub(super) fn write_durable(&mut self) -> Result<(), StoreError> {
        self.anchor.write_tables(&mut *self.disk)?;
        Ok(self.anchor.sync(&mut *self.disk)?)
    }
}

/// Nothing promised is taken back: the last check, behind the epochs (`safety.md` 9).
pub(super) fn check_hard_state(
    group: GroupId,
    old: &HardRecord,
    hard: &HardRecord,
) -> Result<(), StoreError> {
    hard.check_replaces(old).map_err(|error| StoreError::Order { group, detail: error.to_string() })
}

/// The entries follow `before`, one after the other, and no term falls or is above the hard state's.
fn check_entries(before: Position, write: &GroupWrite) -> Result<(), StoreError> {
    let mut last = before.log_id();
    for entry in &write.entries {
        if entry.index != last.index.next() || entry.term < last.term || !write.hard_state.covers(entry.term)
        {
            let detail = format!("entry {} after {last}", entry.log_id());
            return Err(StoreError::Order { group: write.group, detail });
        }
        last = entry.log_id();
    }
    Ok(())
}

/// Splits entries into runs of at most `bytes_max`; a larger entry is a run of its own.
fn split(entries: &[Entry], bytes_max: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        if at > from && bytes + entry.encoded_bytes() > bytes_max {
            runs.push(from..at);
            (from, bytes) = (at, 0);
        }
        bytes += entry.encoded_bytes();
    }
    if from < entries.len() {
        runs.push(from..entries.len());
    }
    runs
}

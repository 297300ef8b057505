//! Reading: everything that comes from disk was verified by the hash chain, or is an error that stops the node. A read
//! never goes past the durable log, and never takes an error for its end (`known-bugs.md` 45).

use std::collections::VecDeque;
use std::ops::ControlFlow;

use quorate_core::{Entry, GroupId, Incarnation, Index, NodeId, Position, Tail};

use super::Store;
use super::disk::Keyspace;
use super::error::StoreError;
use super::group::GroupState;
use super::records::parse_run_key;
use super::runs::walk;
use super::types::{LoadedGroup, ScrubReport, Space};

impl Store {
    pub(super) fn group(&self, group: GroupId) -> Result<&GroupState, StoreError> {
        self.groups.get(&group).ok_or(StoreError::NotOpen { group })
    }

    /// What a role starts with: the hard state, the terms of the whole log, its memberships, and about
    /// `tail_bytes_max` of its newest entries.
    pub fn load(&self, group: GroupId, tail_bytes_max: usize) -> Result<LoadedGroup, StoreError> {
        self.check_failed()?;
        let state = self.group(group)?;
        let (base, entries) = match state.runs.newest(tail_bytes_max as u64) {
            None => (state.start, Vec::new()),
            Some(boundary) => {
                // The boundary may lie far before: what is too much for the tail is checked on the way and let go.
                let (mut base, mut entries, mut bytes) = (boundary.previous, VecDeque::new(), 0);
                let reached = walk(&*self.disk, group, (boundary.key, boundary.previous), &mut |run| {
                    for entry in run.entries {
                        bytes += entry.encoded_bytes();
                        entries.push_back(entry);
                        while bytes > tail_bytes_max && entries.len() > 1 {
                            let gone: Entry = entries.pop_front().expect("more than one");
                            bytes -= gone.encoded_bytes();
                            base = gone.position();
                        }
                    }
                    ControlFlow::Continue(())
                })?;
                check_reached(state, reached, state.last)?;
                (base, entries.into())
            }
        };
        Ok(LoadedGroup {
            group,
            name: state.name.clone(),
            hard_state: state.hard.clone(),
            tail: Tail::loaded(base, entries, state.terms.clone()),
            memberships: state.memberships.clone(),
            start: state.start,
        })
    }

    /// Entries from `from` to `through`, as far as they are on disk, about `bytes_max` (at least one). A `from` that
    /// was compacted, or is past the end, is [`StoreError::Outside`].
    pub fn read(
        &self,
        group: GroupId,
        from: Index,
        through: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.check_failed()?;
        let state = self.group(group)?;
        if from <= state.start.index || from > state.last.index {
            return Err(state.outside(from));
        }
        let boundary = state.runs.find(from).expect("a log that has the index has a run for it");
        let through = through.min(state.last.index);
        let (mut entries, mut bytes, mut full) = (Vec::new(), 0, false);
        let reached = walk(&*self.disk, group, (boundary.key, boundary.previous), &mut |run| {
            for entry in run.entries {
                if entry.index > through
                    || (bytes > 0 && bytes + entry.encoded_bytes() > bytes_max && entry.index >= from)
                {
                    full = true;
                    break;
                }
                if entry.index >= from {
                    bytes += entry.encoded_bytes();
                    entries.push(entry);
                }
            }
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !full {
            check_reached(state, reached, state.last)?;
        }
        Ok(entries)
    }

    /// The place at `index`: what a role needs of an entry that is no longer in memory.
    pub fn locate(&self, group: GroupId, index: Index) -> Result<Position, StoreError> {
        self.check_failed()?;
        let state = self.group(group)?;
        if index == state.start.index {
            return Ok(state.start);
        }
        if index == state.last.index {
            return Ok(state.last);
        }
        let entries = self.read(group, index, index, 1)?;
        entries.first().map(Entry::position).ok_or_else(|| StoreError::Damaged {
            group,
            near: index,
            detail: "the entry is gone".to_owned(),
        })
    }

    /// The incarnations remembered, in order of name.
    pub fn peers(&self) -> Vec<(NodeId, Incarnation)> {
        self.peers.iter().map(|(peer, incarnation)| (peer.clone(), *incarnation)).collect()
    }

    /// How full the disk is (`safety.md` 16).
    pub fn space(&self) -> Result<Space, StoreError> {
        let live_bytes = self.groups.values().map(|group| group.runs.bytes()).sum();
        let reserve_bytes = self.options.reserve_bytes_min.max(2 * live_bytes);
        Ok(Space { free_bytes: self.disk.free_bytes()?, reserve_bytes, live_bytes })
    }

    /// Bytes that may still be written.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.disk.free_bytes()?)
    }

    /// Reads and verifies every log from its first entry, and looks for rows that belong to none.
    pub fn scrub(&self) -> Result<ScrubReport, StoreError> {
        self.check_failed()?;
        let mut report = ScrubReport::default();
        for state in self.groups.values() {
            report.groups += 1;
            if let Err(error) = self.scrub_group(state, &mut report) {
                report.damage.push(error.to_string());
            }
        }
        let mut strangers = 0_u64;
        let scanned = self.disk.scan(Keyspace::Log, &[], &mut |key, _| {
            let known = parse_run_key(key).is_some_and(|(group, _)| self.groups.contains_key(&group));
            strangers += u64::from(!known);
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned {
            report.damage.push(error.to_string());
        }
        if strangers > 0 {
            report.damage.push(format!("{strangers} rows belong to no group"));
        }
        Ok(report)
    }

    fn scrub_group(&self, state: &GroupState, report: &mut ScrubReport) -> Result<(), StoreError> {
        let Some(boundary) = state.runs.find(state.start.index.next()) else { return Ok(()) };
        let reached = walk(&*self.disk, state.group, (boundary.key, boundary.previous), &mut |run| {
            report.runs += 1;
            report.entries += run.entries.len() as u64;
            report.bytes += run.bytes;
            ControlFlow::Continue(())
        })?;
        check_reached(state, reached, state.last)
    }
}

/// A walk that ended before the log does has met a hole.
fn check_reached(state: &GroupState, reached: Position, expected: Position) -> Result<(), StoreError> {
    if reached == expected {
        return Ok(());
    }
    let detail = format!("the rows end at {}, the log at {}", reached.log_id(), expected.log_id());
    Err(StoreError::Damaged { group: state.group, near: reached.index, detail })
}

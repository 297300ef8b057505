//! Reading: everything read from disk is verified by the hash chain, or is an error that stops the node. A read never goes past
//! the durable log, and never takes an error for the log's end (`known-bugs.md` 45).

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use quorate_core::{Entry, GroupId, HardRecord, Incarnation, Index, MembershipLog, NodeId, Position, Tail};

use crate::error::StoreError;
use crate::log::{GroupState, walk};
use crate::store::Store;

/// What is on disk of a group, when a role starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedGroup {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Term, vote and whether it is recovering.
    pub hard_state: HardRecord,
    /// The terms of the whole log and its newest entries.
    pub tail: Tail,
    /// The memberships in the log; the first is the one in force at `start`.
    pub memberships: MembershipLog,
    /// The position before the first entry: origin, or where the log was compacted.
    pub start: Position,
    /// Members that have not admitted this node yet, while this replica has never taken part (`safety.md` 14): it is as it was founded, or
    /// restored. Empty otherwise.
    pub unmet: BTreeSet<NodeId>,
    /// The incarnations of members that are on record here, and were not removed.
    pub recorded: Vec<(NodeId, Incarnation)>,
}

impl Store {
    /// What a role starts with: the hard state, the terms of the whole log, its memberships, and about
    /// `tail_bytes_max` of its newest entries.
    pub fn load(&self, group: GroupId, tail_bytes_max: usize) -> Result<LoadedGroup, StoreError> {
        self.check_failed()?;
        let state = self.group(group)?;
        let (base, entries) = match state.runs.newest(tail_bytes_max as u64) {
            None => (state.start, Vec::new()),
            Some(boundary) => {
                // The boundary may be far before: entries too many for the tail are checked on the way and dropped.
                let (mut base, mut entries, mut bytes) = (boundary.previous, VecDeque::new(), 0);
                let reached = walk(&*self.disk, group, (boundary.key, boundary.previous), &mut |run| {
                    for entry in run.entries {
                        bytes += entry.encoded_bytes();
                        entries.push_back(entry);
                        while bytes > tail_bytes_max && entries.len() > 1 {
                            let dropped: Entry = entries.pop_front().expect("more than one");
                            bytes -= dropped.encoded_bytes();
                            base = dropped.position();
                        }
                    }
                    ControlFlow::Continue(())
                })?;
                check_reached(state, reached)?;
                (base, entries.into())
            }
        };
        Ok(LoadedGroup {
            group,
            name: state.name.clone(),
            hard_state: state.hard.clone(),
            tail: if entries.is_empty() {
                Tail::after_snapshot(state.start, state.start_time_ms)
            } else {
                Tail::loaded(base, entries, state.terms.clone())
            },
            memberships: state.memberships.clone(),
            start: state.start,
            recorded: self.recorded(state.memberships.current()),
            unmet: if state.is_as_founded() { self.unmet(&state.founding) } else { BTreeSet::new() },
        })
    }

    /// Entries from `from` to `through` that are on disk, about `bytes_max` of them (at least one). A `from` that was compacted
    /// or is past the end is [`StoreError::Outside`].
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
            check_reached(state, reached)?;
        }
        Ok(entries)
    }

    /// The position at `index`: a role needs it of an entry that is no longer in its memory.
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
            detail: "the entry is missing".to_owned(),
        })
    }
}

/// A walk that ends before the log does has met a hole.
fn check_reached(state: &GroupState, reached: Position) -> Result<(), StoreError> {
    if reached == state.last {
        return Ok(());
    }
    let detail = format!("the rows end at {}, the log at {}", reached.log_id(), state.last.log_id());
    Err(StoreError::Damaged { group: state.group, near: reached.index, detail })
}

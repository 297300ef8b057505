//! A group in memory: all that a write or a load needs without reading the log.

use std::ops::ControlFlow;

use quorate_core::{
    Entry, EntryKind, GroupId, HardRecord, Index, Membership, MembershipLog, Position, SnapshotBase, Terms,
};

use super::index::{Boundary, RunIndex};
use super::records::Marker;
use super::runs::{Run, walk};
use crate::disk::Disk;
use crate::error::StoreError;

#[derive(Debug, Clone)]
pub(crate) struct GroupState {
    pub(crate) group: GroupId,
    pub(crate) name: String,
    /// Its cell in the anchor.
    pub(crate) slot: usize,
    pub(crate) hard: HardRecord,
    /// The position before the first entry.
    pub(crate) start: Position,
    /// The time stamp there.
    pub(crate) start_time_ms: u64,
    pub(crate) last: Position,
    pub(crate) runs: RunIndex,
    pub(crate) terms: Terms,
    pub(crate) memberships: MembershipLog,
    /// The membership that the group began with, however long ago.
    pub(crate) founding: Membership,
    /// Rows below this key are dead and wait to be freed.
    pub(crate) dead_below: Option<Index>,
}

impl GroupState {
    /// A group whose log is empty and begins after `base`.
    pub(crate) fn empty(group: GroupId, name: String, hard: HardRecord, base: SnapshotBase) -> Self {
        let SnapshotBase { at: start, time_ms: start_time_ms, membership } = base;
        Self {
            group,
            name,
            slot: 0,
            hard,
            start,
            start_time_ms,
            last: start,
            runs: RunIndex::default(),
            terms: Terms::new(start.log_id()),
            founding: membership.clone(),
            memberships: MembershipLog::new(start.index, membership),
            dead_below: None,
        }
    }

    /// Nothing has happened since the group was founded or, at the end of a snapshot, restored: no entry, no later term, no vote.
    pub(crate) fn is_as_founded(&self) -> bool {
        self.last == self.start
            && *self.memberships.current() == self.founding
            && self.hard == HardRecord::of_new_cluster(self.start.term)
    }

    /// Reads the whole log. Returns the position at `wanted`, which the caller compares with the anchor's; `None` if the log
    /// does not have that index.
    pub(crate) fn walk_from(
        &mut self,
        disk: &dyn Disk,
        marker: &Marker,
        wanted: Index,
        boundaries_max: usize,
    ) -> Result<Option<Position>, StoreError> {
        let mut found = (wanted == self.start.index).then_some(self.start);
        let mut failed = None;
        let group = self.group;
        walk(disk, group, (marker.run, marker.previous), &mut |run| {
            if let Some(entry) = run.entries.iter().find(|entry| entry.index == wanted) {
                found = Some(entry.position());
            }
            match self.add_run(&run, boundaries_max) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(found), Err)
    }

    fn add_run(&mut self, run: &Run, boundaries_max: usize) -> Result<(), StoreError> {
        let boundary = Boundary { key: run.key, previous: run.previous, bytes: run.bytes };
        self.runs.push(boundary, boundaries_max);
        self.appended(&run.entries)
    }

    /// Updates terms, memberships and the end of the log after entries were appended.
    pub(crate) fn appended(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        for entry in entries {
            self.terms.push(entry.log_id());
            if entry.kind == EntryKind::Membership {
                // The chain holds, so the bytes are as they were appended: a newer build wrote them.
                let membership = Membership::decode(&entry.payload).map_err(|error| {
                    let (group, at) = (self.group, entry.log_id());
                    StoreError::newer(format!("the membership {at} of group {group} ({error})"), None)
                })?;
                self.memberships.append(entry.index, membership);
            }
            self.last = entry.position();
        }
        Ok(())
    }

    /// Removes `from` and all after it; `before` is the position before it.
    pub(crate) fn truncated(&mut self, from: Index, before: Position) {
        self.terms.truncate(from);
        self.memberships.truncate(from);
        self.last = before;
    }

    /// The log now begins after `start`, an entry it has, in the row `key`.
    pub(crate) fn compacted(&mut self, start: Position, time_ms: u64, key: Index) {
        self.terms.compact(start.index);
        self.memberships.settle(start.index);
        if start == self.last {
            self.runs.clear();
        } else {
            self.runs.compact(key, start);
        }
        (self.start, self.start_time_ms) = (start, time_ms);
        self.dead_below = Some(key);
    }

    /// The marker that says where the log begins; `run` is the key of the row with its first entry.
    pub(crate) fn marker(&self, run: Index) -> Marker {
        let membership = self.memberships.at(self.start.index).clone();
        let (previous, time_ms) = (self.start, self.start_time_ms);
        Marker { first: previous.index.next(), previous, time_ms, run, membership }
    }

    pub(crate) fn outside(&self, index: Index) -> StoreError {
        let (first, last) = (self.start.index.next(), self.last.index);
        StoreError::Outside { group: self.group, index, first, last }
    }
}

//! What the store knows of one group: all that a write or a load needs without reading the log.

use std::ops::ControlFlow;

use quorate_core::{Entry, EntryKind, GroupId, HardState, Index, Membership, MembershipLog, Position, Terms};

use super::disk::Disk;
use super::error::StoreError;
use super::records::Marker;
use super::runs::{Boundary, Run, RunIndex, walk};

/// One group.
#[derive(Debug, Clone)]
pub(super) struct GroupState {
    pub(super) group: GroupId,
    pub(super) name: String,
    /// Its cell in the anchor.
    pub(super) slot: usize,
    pub(super) hard: HardState,
    /// The place before the first entry.
    pub(super) start: Position,
    pub(super) last: Position,
    pub(super) runs: RunIndex,
    pub(super) terms: Terms,
    pub(super) memberships: MembershipLog,
    /// Rows below this key are dead and still to be freed.
    pub(super) dead_below: Option<Index>,
}

impl GroupState {
    /// One whose log is empty and begins after `start`.
    pub(super) fn empty(
        group: GroupId,
        name: String,
        hard: HardState,
        start: Position,
        membership: Membership,
    ) -> Self {
        Self {
            group,
            name,
            slot: 0,
            hard,
            start,
            last: start,
            runs: RunIndex::default(),
            terms: Terms::new(start.log_id()),
            memberships: MembershipLog::new(start.index, membership),
            dead_below: None,
        }
    }

    /// Reads the whole log. `wanted` is an index whose place the caller wants to compare with the anchor's.
    pub(super) fn walk_from(
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
            match self.take_in(&run, boundaries_max) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(found), Err)
    }

    fn take_in(&mut self, run: &Run, boundaries_max: usize) -> Result<(), StoreError> {
        let boundary = Boundary { key: run.key, previous: run.previous, bytes: run.bytes };
        self.runs.push(boundary, boundaries_max);
        self.appended(&run.entries)
    }

    /// Takes entries into terms, memberships and the end of the log.
    pub(super) fn appended(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        for entry in entries {
            self.terms.push(entry.log_id());
            if entry.kind == EntryKind::Membership {
                // The chain holds, so it is as it was appended: a newer build's, not damage.
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

    /// Forgets `from` and all after it; `before` stands before it.
    pub(super) fn truncated(&mut self, from: Index, before: Position) {
        self.terms.truncate(from);
        self.memberships.truncate(from);
        self.last = before;
    }

    /// The log begins after `start`, an entry it has, in the row `key`.
    pub(super) fn compacted(&mut self, start: Position, key: Index) {
        self.terms.compact(start.index);
        let membership = self.memberships.at(start.index).clone();
        let mut memberships = MembershipLog::new(start.index, membership);
        std::mem::swap(&mut self.memberships, &mut memberships);
        for (index, membership) in later(&memberships, start.index) {
            self.memberships.append(index, membership);
        }
        if start == self.last {
            self.runs.clear();
        } else {
            self.runs.compact(key, start);
        }
        self.start = start;
        self.dead_below = Some(key);
    }

    pub(super) fn outside(&self, index: Index) -> StoreError {
        let (first, last) = (self.start.index.next(), self.last.index);
        StoreError::Outside { group: self.group, index, first, last }
    }
}

/// The memberships appended after `index`, oldest first.
fn later(log: &MembershipLog, index: Index) -> Vec<(Index, Membership)> {
    let mut log = log.clone();
    let mut found = Vec::new();
    while log.current_index() > index {
        found.push((log.current_index(), log.current().clone()));
        log.truncate(log.current_index());
    }
    found.reverse();
    found
}

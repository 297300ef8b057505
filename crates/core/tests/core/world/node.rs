//! One node: its replica while the process runs, and what outlives the process.

use std::collections::BTreeSet;

use quorate_core::{
    Boot, Config, Effects, Entry, Index, Loaded, LogId, Membership, NodeId, Position, ReplicaState, Time,
};

use super::{Behind, Disk, Replica, ReplicaEvent, Role, name};

/// A node. Its applier, its clock and its callers belong to the driver.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) id: NodeId,
    pub(crate) boot: Boot,
    /// `None` while the process is down.
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Disk,
    /// Founding members that have not admitted it: durable, like the disk. Empty where a driver knows no admission.
    pub(crate) unmet: BTreeSet<NodeId>,
}

/// What a node starts with beside its disk.
#[derive(Debug, Clone)]
pub(crate) struct Start<'a> {
    pub(crate) founding: &'a Membership,
    pub(crate) config: &'a Config,
    /// Entries up to here stay on disk; the rest is loaded into memory.
    pub(crate) base: usize,
    /// The commit index known at the start.
    pub(crate) commit: Index,
    /// The last entry the applier has applied.
    pub(crate) applied: LogId,
    pub(crate) entropy: u64,
}

impl Node {
    pub(crate) fn new(at: usize) -> Self {
        Self {
            at,
            id: name(at),
            boot: Boot::ZERO,
            replica: None,
            disk: Disk::default(),
            unmet: BTreeSet::new(),
        }
    }

    /// What a role starts with, as it is on disk.
    pub(crate) fn load(&self, start: &Start<'_>) -> ReplicaState {
        let loaded = Loaded {
            me: self.id.clone(),
            boot: self.boot,
            hard_state: self.disk.hard_state.clone(),
            tail: self.disk.load(start.base),
            memberships: self.disk.memberships(start.founding),
            commit: start.commit,
            applied: start.applied,
            unmet: self.unmet.clone(),
            entropy: start.entropy,
        };
        ReplicaState::new(loaded, start.config.clone())
    }

    /// Starts to follow.
    pub(crate) fn start(&mut self, state: ReplicaState, now: Time) -> Effects {
        let (replica, effects) = Replica::start(state, now);
        self.replica = Some(replica);
        effects
    }

    /// Steps the replica; `None` if the process is down.
    pub(crate) fn step(&mut self, now: Time, event: ReplicaEvent) -> Option<Effects> {
        self.replica.as_mut().map(|replica| replica.step(now, event))
    }

    /// The same, with what tells the lane of a message.
    pub(crate) fn step_in_lanes(&mut self, now: Time, event: ReplicaEvent) -> Option<(Effects, Behind)> {
        self.replica.as_mut().map(|replica| replica.step_in_lanes(now, event))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    pub(crate) fn role(&self) -> Option<&Role> {
        self.replica.as_ref().map(Replica::role)
    }

    pub(crate) fn state(&self) -> Option<&ReplicaState> {
        self.replica.as_ref().map(Replica::state)
    }

    /// When the replica wants its next tick.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.replica.as_ref().and_then(Replica::deadline)
    }

    /// The leader that it follows, if it knows one.
    pub(crate) fn follows(&self) -> Option<&NodeId> {
        match self.role()? {
            Role::Follower(follower) => follower.leader(),
            Role::Candidate(_) | Role::Leader(_) => None,
        }
    }

    /// Whether it leads.
    pub(crate) fn leads(&self) -> bool {
        matches!(self.role(), Some(Role::Leader(_)))
    }

    /// The entry at `index` of this replica's log, in memory or on disk.
    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        let tail = self.state()?.tail();
        if index <= tail.start().index {
            return self.forgotten(index);
        }
        tail.get(index).or_else(|| self.disk.entry(index).filter(|e| Some(e.term) == tail.term_at(index)))
    }

    /// What the log has no more: one of its snapshots covers it, or the disk has it still.
    fn forgotten(&self, index: Index) -> Option<&Entry> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        let covered = self.disk.snapshots.newest().and_then(|newest| newest.covers.get(place));
        covered.or_else(|| self.disk.entry(index))
    }

    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO { Some(Position::ORIGIN) } else { self.entry(index).map(Entry::position) }
    }
}

//! Snapshots as a replica sees them: when one may be published, what of the log may go for it, and how one that came from
//! another node replaces the log (Raft paper, section 7; `safety.md` 7, 10).
//!
//! Their bytes are not here. The snapshotter writes, fetches and publishes them, and says where they end. A snapshot is
//! published only once this node's log is on disk that far, so whatever a node finds at its start, its log is not behind its own
//! snapshots; one that was fetched is ahead until the log has been replaced.

use crate::apply::Awaits;
use crate::durability::SnapshotBase;
use crate::effect::{Effect, Effects, SnapshotWanted};
use crate::entry::Position;
use crate::ids::{Index, Time};
use crate::membership::MembershipLog;
use crate::state::{ReplicaState, Standing};
use crate::tail::Tail;

impl ReplicaState {
    /// Where the newest published snapshot of this node ends, if it covers what the log has forgotten.
    pub fn snapshot(&self) -> Option<Position> {
        self.snapshot
    }

    /// Orders the publication of what was written, once the log is on this disk that far.
    pub(super) fn publish_snapshot(&mut self, effects: &mut Effects) {
        if let Some(index) = self.unpublished.filter(|index| *index <= self.durable()) {
            self.unpublished = None;
            effects.push(Effect::PublishSnapshot(index));
        }
    }

    /// This node has a published snapshot, or none of those that were said before. One that ends below the log's beginning is of
    /// use to no one: a peer that took it would lack what follows. A snapshotter that starts has not heard what an earlier one was
    /// asked for, so that is asked again.
    pub(super) fn snapshots_known(&mut self, now: Time, at: Option<Position>, effects: &mut Effects) {
        let newest = at.and_then(|at| self.snapshot.filter(|newest| newest.index >= at.index).or(Some(at)));
        self.snapshot = newest.filter(|at| at.index >= self.tail.start().index);
        if self.apply.awaits_snapshot() && self.snapshot.is_some() {
            self.restore_machine(now, effects);
        } else {
            self.ask_for_snapshot(effects);
        }
    }

    /// Forgets the log up to `through`, as far as it is committed, on disk, and in a snapshot of this node. What is in memory
    /// stays, for peers that are a little behind.
    pub(super) fn compact(&mut self, through: Index, effects: &mut Effects) {
        let Some(newest) = self.snapshot else { return };
        let durable = self.commit.min(self.durable());
        let through = through.min(newest.index).min(durable).min(self.tail.base().index);
        if through > self.tail.start().index {
            self.tail.compact(through);
            self.memberships.settle(through);
            effects.push(Effect::Compact { through });
        }
    }

    /// What the machine waits for, if it does.
    pub(crate) fn ask_for_snapshot(&self, effects: &mut Effects) {
        if self.apply.awaits_snapshot() {
            let start = self.tail.start().index;
            effects.push(Effect::FetchSnapshot(SnapshotWanted::Reaching(start)));
        }
    }

    /// The machine runs and has applied up to here. If the log no longer has what follows, another snapshot is needed: its own could
    /// not be read.
    pub(super) fn machine_restarted(&mut self, now: Time, applied: Index, effects: &mut Effects) {
        self.apply.restart(applied);
        let start = self.tail.start().index;
        if applied < start {
            self.apply.wait_for(now, Awaits::Snapshot);
            self.ask_for_snapshot(effects);
        }
    }

    /// A follower has a snapshot. If it reaches further than what is known to be committed here, and this log does not have that
    /// place, it takes the place of the log: everything it covers is committed, and what else this log has is none of it.
    pub(crate) fn install(&mut self, now: Time, base: SnapshotBase, effects: &mut Effects) {
        let at = base.at;
        if at.index <= self.commit || matches!(self.standing(), Standing::Awaiting | Standing::Founding) {
            return;
        }
        if self.tail.term_at(at.index) == Some(at.term) {
            self.commit = at.index;
            return;
        }
        if at.term > self.term() {
            // A leader of that term has not been heard yet. It will be, and offers it again.
            return;
        }
        let agreed = self.commit;
        let before = self.memberships.current().clone();
        self.tail = Tail::after_snapshot(at, base.time_ms);
        self.memberships = MembershipLog::new(at.index, base.membership.clone());
        self.commit = at.index;
        let changed = std::mem::take(&mut self.hard_state_dirty);
        let persist = self.durability.issue_install(now, self.hard_state.clone(), changed, agreed, base);
        effects.push(Effect::Persist(persist));
        if before != *self.memberships.current() {
            self.tell_membership(effects);
            self.say_if_removed(&before, effects);
        }
        self.restore_machine(now, effects);
    }

    fn restore_machine(&mut self, now: Time, effects: &mut Effects) {
        self.apply.wait_for(now, Awaits::Machine);
        effects.push(Effect::RestoreMachine);
    }
}

//! Changes of the members (Raft thesis, chapter 4): on request, at the end of a joint configuration, and incarnations that became known.
//!
//! One at a time, and none before this leader has committed an entry of its term (`known-bugs.md` 46). A membership is in force
//! from the moment it is appended. What changes the voters is a joint configuration first; once that is committed, whichever leader
//! finds it appends the final one, once (`known-bugs.md` 49). A leader that has no vote in the final one commits it by the votes
//! of the others, has the best of them campaign, and steps down (`known-bugs.md` 51).

use crate::change::{Change, ChangeRefusal};
use crate::effect::{Effect, Effects, NextRole};
use crate::entry::EntryKind;
use crate::ids::{Index, NodeId, Time};
use crate::leader::proposal::Proposal;
use crate::leader::role::Leader;
use crate::membership::Membership;
use crate::state::become_role;

impl Leader {
    /// Begins a change, or says why not.
    pub(super) fn change_membership(
        &mut self,
        now: Time,
        change: &Change,
        expected: Index,
        effects: &mut Effects,
    ) {
        match self.next_membership(now, change, expected) {
            Ok(next) => {
                self.put_in_force(now, next, false, effects);
                effects.push(Effect::ChangeBegun { index: self.state.membership_index() });
            }
            Err(refusal) => effects.push(Effect::ChangeRefused(refusal)),
        }
    }

    fn next_membership(
        &self,
        now: Time,
        change: &Change,
        expected: Index,
    ) -> Result<Membership, ChangeRefusal> {
        let (present, full) = (self.state.membership_index(), self.full_voters(now).len());
        if expected != present {
            return Err(ChangeRefusal::Outdated { expected, present });
        }
        if !self.is_settled() || self.state.membership().is_joint() {
            return Err(ChangeRefusal::UnderWay { index: present });
        }
        if !self.has_committed_in_term() {
            return Err(ChangeRefusal::NotCommittedInTerm { first: self.first_of_term });
        }
        if let Some(to) = self.transferring_to() {
            return Err(ChangeRefusal::Transferring { to: to.clone() });
        }
        if self.state.disk_full {
            return Err(ChangeRefusal::NoSpace);
        }
        if full > 0 {
            return Err(ChangeRefusal::NoSpaceAtPeers { full });
        }
        let next = self.state.membership().after(change)?;
        if let Change::Promote { node } = change {
            self.check_promotion(now, node)?;
        }
        if next.is_joint() {
            let recovers = |id: &NodeId| self.progress.get(id).is_some_and(|p| p.said.recovering);
            self.check_quorum_of(now, &next.voters, recovers)?;
            // One that recovers acknowledges what it has, and may be the one that goes: of two voters no one else could mend the group.
            self.check_quorum_of(now, &next.outgoing, |_| false)?;
        }
        Ok(next)
    }

    /// A voter has the membership by which it is a member, on disk: one that has forgotten even that is another incarnation, and
    /// gives no vote (see [`knows_membership`](crate::ReplicaState::knows_membership)).
    fn check_promotion(&self, now: Time, node: &NodeId) -> Result<(), ChangeRefusal> {
        let node = node.clone();
        let connected = self.progress.get(&node).filter(|_| self.is_connected(now, &node));
        let Some(progress) = connected else { return Err(ChangeRefusal::NotConnected { node }) };
        if progress.said.recovering {
            return Err(ChangeRefusal::Recovering { node });
        }
        let lag = self.state.last().index.0.saturating_sub(progress.match_index.0);
        let lag_max = self.state.config.promotion_lag_entries_max;
        if lag > lag_max || progress.match_index < self.state.membership_index() {
            return Err(ChangeRefusal::FarBehind { node, lag, lag_max });
        }
        Ok(())
    }

    fn check_quorum_of(
        &self,
        now: Time,
        half: &std::collections::BTreeSet<NodeId>,
        recovers: impl Fn(&NodeId) -> bool,
    ) -> Result<(), ChangeRefusal> {
        let (voters, needed) = (half.len(), half.len() / 2 + 1);
        let rolled_back = |id: &NodeId| self.progress.get(id).is_some_and(|p| p.rolled_back);
        let counts = |id: &&NodeId| self.is_connected(now, id) && !recovers(id) && !rolled_back(id);
        let connected = half.iter().filter(counts).count();
        if connected < needed {
            return Err(ChangeRefusal::NoQuorum { voters, needed, connected });
        }
        Ok(())
    }

    /// It is this node, or has answered this leader within an election timeout.
    fn is_connected(&self, now: Time, node: &NodeId) -> bool {
        let timeout = self.state.config.election_timeout;
        let answers = |id: &NodeId| {
            let progress = self.progress.get(id);
            progress.is_some_and(|p| p.link_up && p.boot.is_some() && now.since(p.contact) < timeout)
        };
        *node == self.state.me || answers(node)
    }

    /// The membership in force is committed.
    pub(super) fn is_settled(&self) -> bool {
        self.state.membership_index() <= self.state.commit
    }

    /// Whether this leader may append a membership of its own accord.
    fn may_append_membership(&self, now: Time) -> bool {
        let has_room = !self.state.disk_full && self.full_voters(now).is_empty();
        self.is_settled() && self.has_committed_in_term() && has_room
    }

    /// Ends a joint configuration that is committed. Both halves have it then, so no majority of the old one alone elects or commits.
    /// Whether it did.
    pub(super) fn leave_joint(&mut self, now: Time, effects: &mut Effects) -> bool {
        // Whatever the disks say: the one that is full may be the one that goes, and the others need no room of it. The entry is short.
        let leaves = self.state.membership().is_joint() && self.is_settled() && self.has_committed_in_term();
        if leaves {
            let next = self.state.membership().final_of_joint();
            self.put_in_force(now, next, false, effects);
        }
        leaves
    }

    /// Writes incarnations that have become known into the membership. The voters stay the same, so no quorum changes.
    pub(super) fn enrol(&mut self, now: Time, effects: &mut Effects) {
        if self.incarnations.is_empty() || !self.may_append_membership(now) {
            return;
        }
        let mut membership: Membership = self.state.membership().clone();
        let lacks = |id: &NodeId, m: &Membership| m.members.get(id).is_some_and(|m| m.incarnation.0 == 0);
        for (peer, incarnation) in std::mem::take(&mut self.incarnations) {
            if lacks(&peer, &membership) {
                membership.enrol(&peer, incarnation);
            }
        }
        if membership != *self.state.membership() {
            self.put_in_force(now, membership, true, effects);
        }
    }

    fn put_in_force(&mut self, now: Time, next: Membership, enrolled: bool, effects: &mut Effects) {
        let before = self.state.membership().clone();
        let proposal = Proposal::new(next.encode().into());
        self.append_to_log(now, self.wall_ms, vec![(EntryKind::Membership, proposal)], effects);
        self.state.memberships.append(self.state.last().index, next);
        self.state.tell_membership(effects);
        self.match_replicators(now, &before, enrolled, effects);
    }

    /// Once the membership that takes this node's vote is committed, it leads no more. The others have it, so one of them can lead
    /// at once.
    pub(super) fn leave_if_removed(&mut self, now: Time, effects: &mut Effects) {
        if self.is_settled() && !self.state.membership().is_voter(&self.state.me) {
            self.give_away(now, effects);
            effects.push(become_role(NextRole::Follower, "has no vote in the committed membership", None));
        }
    }
}

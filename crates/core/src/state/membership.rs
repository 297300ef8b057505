//! The membership as a replica sees it: which one is in force, and what this node is in it.

use super::{ReplicaState, Standing};
use crate::effect::{Effect, Effects, Notice};
use crate::entry::LogId;
use crate::ids::{Index, NodeId};
use crate::membership::Membership;

impl ReplicaState {
    /// The membership in force.
    pub fn membership(&self) -> &Membership {
        self.memberships.current()
    }

    /// The index of the membership in force: what a change of it must name.
    pub fn membership_index(&self) -> Index {
        self.memberships.current_index()
    }

    /// The newest membership that is committed.
    pub fn committed_membership(&self) -> &Membership {
        self.memberships.at(self.commit)
    }

    /// Whether this replica knows any membership. One that does not has never acknowledged the one that made it a member: it receives the
    /// log, gives no vote, since it cannot know what it promised, and publishes no snapshot.
    pub fn knows_membership(&self) -> bool {
        !self.membership().members.is_empty()
    }

    /// What this replica may do beside following.
    pub fn standing(&self) -> Standing {
        if self.store_away {
            Standing::Awaiting
        } else if self.hard_state.recovering {
            Standing::Recovering
        } else if self.is_founding() {
            Standing::Founding
        } else if self.has_vote() {
            Standing::Voter
        } else if self.membership().members.contains_key(&self.me) {
            Standing::Learner
        } else {
            Standing::Outside
        }
    }

    /// It has never taken part, and some founding member has not admitted it yet.
    fn is_founding(&self) -> bool {
        self.term() == self.founded_in && !self.unmet.is_empty()
    }

    /// A voter that leaves stands for election until its removal is committed: it may be the only one that has that entry, and then no
    /// other node can win (Raft thesis, section 4.2.2). It does not count itself.
    fn has_vote(&self) -> bool {
        let index = self.memberships.current_index();
        let leaves =
            || index > self.commit && self.memberships.previous().is_some_and(|m| m.is_voter(&self.me));
        self.told_no_voter != Some(index) && (self.membership().is_voter(&self.me) || leaves())
    }

    /// Whether this candidate has no vote in the membership that is committed here, and has no later one: its last entry is not
    /// after what this log shows. It can commit nothing that others cannot, and would only disturb.
    pub(crate) fn knows_no_voter(&self, candidate: &NodeId, last: LogId) -> bool {
        let is_settled = self.memberships.current_index() <= self.commit && self.knows_membership();
        let has_all = last.index <= self.commit || self.tail.term_at(last.index) == Some(last.term);
        is_settled && has_all && !self.membership().is_voter(candidate)
    }

    /// A voter said that this node has no vote.
    pub(crate) fn told_no_voter(&mut self, by: NodeId, effects: &mut Effects) {
        self.told_no_voter = Some(self.memberships.current_index());
        effects.push(Effect::Notice(Notice::ToldNoVoter { by }));
    }

    /// Another membership is in force.
    pub(crate) fn tell_membership(&mut self, effects: &mut Effects) {
        self.told_no_voter = None;
        effects.push(Effect::MembershipChanged(self.memberships.current().clone()));
    }

    /// A snapshot brought another membership, which is committed.
    pub(super) fn say_if_removed(&self, before: &Membership, effects: &mut Effects) {
        let has = |membership: &Membership| membership.members.contains_key(&self.me);
        if has(before) && !has(self.membership()) {
            effects.push(Effect::Notice(Notice::Removed { index: self.membership_index() }));
        }
    }

    /// Says it when this node's removal is committed, and forgets memberships that no truncation brings back.
    pub(super) fn settle_memberships(&mut self, effects: &mut Effects) {
        if let Some(index) = self.memberships.removal_of(&self.me, self.commit) {
            effects.push(Effect::Notice(Notice::Removed { index }));
        }
        self.memberships.settle(self.commit);
    }
}

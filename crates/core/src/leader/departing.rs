//! Replicators of members that come and go.
//!
//! One that comes begins without anything that was known under its name: it may be another disk (`known-bugs.md` 53). One that goes
//! is sent the log until it has the membership without it and knows that it is committed, so that it stops standing for
//! election; at most for some election timeouts, and by this leader alone. What it missed, voters tell it when it campaigns
//! ([`VoteReply::no_voter`](crate::VoteReply)).

use crate::effect::{Effect, Effects};
use crate::ids::{NodeId, Time};
use crate::leader::progress::Departing;
use crate::leader::role::Leader;
use crate::membership::Membership;

/// Once its removal is committed, a removed member is sent the log for so many election timeouts at most.
const TOLD_ELECTION_TIMEOUTS: u32 = 10;

impl Leader {
    /// Starts replicators of members that the membership before did not have, or had as another incarnation; those that it had and the
    /// present one has not depart. One whose incarnation was not known before and is only `enrolled` now is the same.
    pub(super) fn match_replicators(
        &mut self,
        now: Time,
        before: &Membership,
        enrolled: bool,
        effects: &mut Effects,
    ) {
        let present = self.state.membership();
        let is_same = |id: &NodeId| {
            let (old, new) = (before.members.get(id), present.members.get(id));
            old.zip(new).is_some_and(|(old, new)| {
                enrolled && old.incarnation.0 == 0 || old.incarnation == new.incarnation
            })
        };
        let peers = present.peers_of(&self.state.me);
        let come: Vec<NodeId> = peers.filter(|id| !is_same(id)).cloned().collect();
        self.depart(before);
        for peer in come {
            self.departing.remove(&peer);
            self.incarnations.remove(&peer);
            self.progress.remove(&peer);
            self.start_replicator(now, peer.clone(), effects);
            if let Some(progress) = self.progress.get_mut(&peer) {
                progress.is_unheard = true;
            }
        }
    }

    /// Members of the membership before that the present one does not have.
    pub(super) fn depart(&mut self, before: &Membership) {
        let (present, index) = (self.state.membership(), self.state.membership_index());
        let left = before.peers_of(&self.state.me).filter(|id| !present.members.contains_key(*id));
        let left = left.map(|id| (id.clone(), Departing { index, committed_at: None }));
        self.departing.extend(left.collect::<Vec<_>>());
    }

    /// Stops the replicators of removed members that know of it, or do not answer.
    pub(super) fn let_go(&mut self, now: Time, effects: &mut Effects) {
        let limit = self.state.config.election_timeout * TOLD_ELECTION_TIMEOUTS;
        for (peer, departing) in std::mem::take(&mut self.departing) {
            let is_committed = departing.index <= self.state.commit;
            let committed_at = departing.committed_at.or_else(|| is_committed.then_some(now));
            // An answer to what was sent after that: it carried the commit index.
            let knows = |at| {
                let progress = self.progress.get(&peer);
                progress.is_some_and(|p| p.match_index >= departing.index && p.contact > at)
            };
            if committed_at.is_some_and(|at| knows(at) || now.since(at) >= limit) {
                self.progress.remove(&peer);
                effects.push(Effect::StopReplicator { peer });
            } else {
                self.departing.insert(peer, Departing { committed_at, ..departing });
            }
        }
    }

    /// When [`Self::let_go`] is due.
    pub(super) fn departing_deadline(&self) -> Option<Time> {
        let limit = self.state.config.election_timeout * TOLD_ELECTION_TIMEOUTS;
        self.departing.values().filter_map(|departing| departing.committed_at).min().map(|at| at + limit)
    }
}

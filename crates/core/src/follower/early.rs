//! The early election (`safety.md` 17): the leader's process has closed this node's connection to it, which most often means that
//! it died. Waiting for the election timeout would then be waiting for nothing.
//!
//! A closed connection does not prove a dead leader. So this follower asks for pre-votes, which those that hear the leader refuse,
//! and nothing of it holds where leases are relied on: their promise is that no one else is elected before the timeout.

use crate::effect::PeerLink;
use crate::follower::role::{Follower, LeaderClosed};
use crate::ids::{NodeId, Time};
use crate::state::Standing;

impl Follower {
    /// The connection of this node to `peer` was made or has ended. One that merely ended proves nothing.
    pub(super) fn link_changed(&mut self, now: Time, peer: &NodeId, link: PeerLink) {
        if self.leader.as_ref() != Some(peer) {
            return;
        }
        match link {
            PeerLink::Up => self.leader_closed = None,
            PeerLink::Down => {}
            PeerLink::Closed => self.leader_closed(now),
        }
    }

    fn leader_closed(&mut self, now: Time) {
        let relies_on_leases = self.state.config.clock_drift_max.is_some();
        if relies_on_leases {
            return;
        }
        let me = &self.state.me;
        let stands = self.state.standing() == Standing::Voter && self.state.membership().is_voter(me);
        let stands_at = stands.then(|| now + self.state.draw_early_pause());
        self.leader_closed = Some(LeaderClosed { stands_at });
    }

    /// Whether it is time to stand early; true once.
    pub(super) fn stands_early(&mut self, now: Time) -> bool {
        let due = |at: &mut Time| now >= *at;
        self.leader_closed.as_mut().is_some_and(|closed| closed.stands_at.take_if(due).is_some())
    }

    /// Another one stands already, and its pre-vote was granted: standing at this moment would only split the votes.
    pub(super) fn let_the_other_stand(&mut self, now: Time) {
        if let Some(LeaderClosed { stands_at: Some(at) }) = self.leader_closed {
            let later = now + self.state.draw_early_pause() + self.state.vote_time();
            self.leader_closed = Some(LeaderClosed { stands_at: Some(at.max(later)) });
        }
    }
}

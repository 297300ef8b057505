//! The way out of Recovering (`safety.md` 5): a read index that a majority without this node confirms, and a log that is
//! durable up to it.

use crate::effect::Effects;
use crate::entries::Entries;
use crate::follower::role::{Follower, Recovery};
use crate::ids::{NodeId, Time};
use crate::message::{Body, ReadIndexRequest};
use crate::state::Standing;

impl Follower {
    /// While Recovering, asks the current leader for a read index that a majority without this node confirms.
    pub(super) fn ask_recovery_index(&mut self, now: Time, leader: &NodeId, effects: &mut Effects) {
        let timeout = self.state.config.election_timeout;
        let due = match self.recovery {
            None => true,
            Some(Recovery::Asked { at, .. }) => now.since(at) >= timeout,
            Some(Recovery::Target(_)) => false,
        };
        if !self.state.hard_state.recovering || !due {
            return;
        }
        let id = self.state.request_id(now);
        self.recovery = Some(Recovery::Asked { id, at: now });
        let request = Body::ReadIndexRequest(ReadIndexRequest { id, recovering: true });
        let message = self.state.message(leader.clone(), request);
        self.state.persist(now, None, Entries::default(), effects);
        self.state.send_after_hard_state(message, effects);
    }

    /// While Recovering without a leader, says so to every peer: others that recover hear of it from no one else, since none of them
    /// stands, and could not say why there is no leader. A peer that leads hears it as a question, and whatever is answered decides nothing.
    pub(super) fn tell_recovering(&mut self, now: Time, effects: &mut Effects) {
        if self.state.standing() != Standing::Recovering {
            return;
        }
        let id = self.state.request_id(now);
        let peers: Vec<NodeId> = self.state.membership().peers_of(&self.state.me).cloned().collect();
        self.state.persist(now, None, Entries::default(), effects);
        for peer in peers {
            let request = Body::ReadIndexRequest(ReadIndexRequest { id, recovering: true });
            let message = self.state.message(peer, request);
            self.state.send_after_hard_state(message, effects);
        }
    }

    /// Recovering ends only when the log is durable up to a read index that was confirmed after this boot (`safety.md` 5).
    pub(super) fn leave_recovering(&mut self) {
        if let Some(Recovery::Target(index)) = self.recovery
            && self.state.hard_state.recovering
            && self.state.durable() >= index
            && self.state.commit >= index
        {
            self.state.hard_state.recovering = false;
            self.state.hard_state_dirty = true;
        }
    }
}

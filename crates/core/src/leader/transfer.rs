//! Leadership transfer (Raft thesis, section 3.10): refuse proposals, bring one voter up to the last index, tell it to campaign.

use crate::effect::{Effect, Effects, Notice};
use crate::ids::{NodeId, Time};
use crate::leader::role::{Leader, Transfer};
use crate::message::Body;

impl Leader {
    /// Begins a transfer. Does nothing without a possible target, or while another transfer is under way.
    pub(super) fn begin_transfer(&mut self, now: Time, to: Option<NodeId>, effects: &mut Effects) {
        let named = to.filter(|id| self.state.membership().voters.contains(id) && *id != self.state.me);
        let Some(to) = named.or_else(|| self.best_voter()).filter(|_| self.transfer.is_none()) else {
            return;
        };
        let deadline = now + self.state.config.election_timeout;
        self.transfer = Some(Transfer { to: to.clone(), deadline, told: false });
        self.transfer_if_ready(&to, effects);
    }

    /// The voter with disk space that has matched most; among equals, the one heard most recently.
    fn best_voter(&self) -> Option<NodeId> {
        let voters = &self.state.membership().voters;
        let peers = self.progress.iter().filter(|(id, progress)| voters.contains(*id) && !progress.no_space);
        peers.max_by_key(|(_, progress)| (progress.match_index, progress.contact)).map(|(id, _)| id.clone())
    }

    /// Tells the target to campaign once it has matched the whole log.
    pub(super) fn transfer_if_ready(&mut self, peer: &NodeId, effects: &mut Effects) {
        let last = self.state.last().index;
        let level = self.progress.get(peer).is_some_and(|progress| progress.match_index == last);
        if let Some(transfer) = self.transfer.as_mut().filter(|t| t.to == *peer && !t.told && level) {
            transfer.told = true;
            let message = self.state.message(peer.clone(), Body::TimeoutNow);
            self.state.send_after_hard_state(message, effects);
        }
    }

    /// Ends a transfer that has not happened within an election timeout; proposals are accepted again (`known-bugs.md` 23).
    pub(super) fn check_transfer(&mut self, now: Time, effects: &mut Effects) {
        let over = |transfer: &mut Transfer| now >= transfer.deadline;
        if let Some(failed) = self.transfer.take_if(over) {
            effects.push(Effect::Notice(Notice::TransferFailed { to: failed.to }));
        }
        // A leader without disk space tries again: at first there may have been no peer that had matched everything.
        if self.state.disk_full {
            self.begin_transfer(now, None, effects);
        }
    }

    /// Tells the best voter to campaign without waiting until it has matched everything: its disk works, this one's does not.
    pub(super) fn give_away(&mut self, effects: &mut Effects) {
        if let Some(to) = self.best_voter() {
            effects.push(Effect::Send(self.state.message(to, Body::TimeoutNow)));
        }
    }
}

//! Leadership transfer (Raft thesis, section 3.10): refuse proposals, bring one voter up to the last index, tell it to campaign.

use crate::effect::{Effect, Effects, Notice};
use crate::ids::{NodeId, Time};
use crate::leader::progress::Progress;
use crate::leader::role::{Leader, Transfer};
use crate::message::Body;

/// For so many election timeouts after its election a leader hands nothing over for the sake of room.
const SETTLED_ELECTION_TIMEOUTS: u32 = 3;

impl Leader {
    /// Begins a transfer. Does nothing without a possible target, or while another transfer is under way.
    pub(super) fn begin_transfer(&mut self, now: Time, to: Option<NodeId>, effects: &mut Effects) {
        let named = to.filter(|id| self.state.membership().voters.contains(id) && *id != self.state.me);
        let Some(to) = named.or_else(|| self.best_voter(now)).filter(|_| self.transfer.is_none()) else {
            return;
        };
        let deadline = now + self.state.config.election_timeout;
        self.transfer = Some(Transfer { to: to.clone(), deadline, told: false });
        self.transfer_if_ready(&to, effects);
    }

    /// Hands leadership to a voter that has said that its disk has room (`safety.md` 16). If all disks are full, as equal
    /// disks are at the same time, the leader stays: another one could write no more than it can. It waits a while after it
    /// was elected, so that disks on the brink do not pass leadership around.
    pub(super) fn transfer_for_room(&mut self, now: Time, effects: &mut Effects) {
        let settled =
            now.since(self.started_at) >= self.state.config.election_timeout * SETTLED_ELECTION_TIMEOUTS;
        let Some(to) = self.best_voter(now).filter(|to| settled && self.has_room(to) == Some(true)) else {
            return;
        };
        self.begin_transfer(now, Some(to), effects);
    }

    fn has_room(&self, peer: &NodeId) -> Option<bool> {
        self.progress.get(peer).and_then(|progress| progress.has_room)
    }

    /// The voter that can lead best: with room on its disk, and in contact, if there is one; of these the one that has matched
    /// most; among equals, the one heard most recently.
    fn best_voter(&self, now: Time) -> Option<NodeId> {
        let voters = &self.state.membership().voters;
        let timeout = self.state.config.election_timeout;
        let can_lead = |progress: &Progress| {
            progress.has_room != Some(false) && !progress.rolled_back && now.since(progress.contact) < timeout
        };
        let peers = self.progress.iter().filter(|(id, progress)| voters.contains(*id) && can_lead(progress));
        peers
            .max_by_key(|(_, progress)| (progress.has_room, progress.match_index, progress.contact))
            .map(|(id, _)| id.clone())
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
        // A leader without room tries again: at first there may have been no peer with room that had matched everything.
        if self.state.disk_full {
            self.transfer_for_room(now, effects);
        }
    }

    /// Tells the best voter to campaign without waiting until it has matched everything: its disk works, this one's does not.
    pub(super) fn give_away(&mut self, now: Time, effects: &mut Effects) {
        if let Some(to) = self.best_voter(now) {
            effects.push(Effect::Send(self.state.message(to, Body::TimeoutNow)));
        }
    }
}

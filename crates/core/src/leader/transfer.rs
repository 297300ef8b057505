//! Handing leadership over (Raft thesis section 3.10): stop taking proposals, bring one voter level, tell it to stand.

use crate::effect::{Effect, Effects, Notice};
use crate::ids::{NodeId, Time};
use crate::leader::Leader;
use crate::message::Body;

/// A transfer under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    pub(super) deadline: Time,
    told: bool,
}

impl Leader {
    /// Begins a transfer; without a possible target, or with one under way, nothing changes.
    pub(super) fn begin_transfer(&mut self, now: Time, to: Option<NodeId>, effects: &mut Effects) {
        let named = to.filter(|id| self.state.membership().voters.contains(id) && *id != self.state.me);
        let Some(to) = named.or_else(|| self.best_voter()).filter(|_| self.transfer.is_none()) else {
            return;
        };
        let deadline = now + self.state.config.election_timeout;
        self.transfer = Some(Transfer { to: to.clone(), deadline, told: false });
        self.transfer_if_ready(&to, effects);
    }

    /// The voter with space on its disk that is furthest, heard most recently.
    fn best_voter(&self) -> Option<NodeId> {
        let voters = &self.state.membership().voters;
        let peers = self.progress.iter().filter(|(id, progress)| voters.contains(*id) && !progress.no_space);
        peers.max_by_key(|(_, progress)| (progress.matched, progress.contact)).map(|(id, _)| id.clone())
    }

    /// Tells the target to stand once it has everything.
    pub(super) fn transfer_if_ready(&mut self, peer: &NodeId, effects: &mut Effects) {
        let last = self.state.last().index;
        let level = self.progress.get(peer).is_some_and(|progress| progress.matched == last);
        if let Some(transfer) = self.transfer.as_mut().filter(|t| t.to == *peer && !t.told && level) {
            transfer.told = true;
            let message = self.state.message(peer.clone(), Body::TimeoutNow);
            self.state.send_after_hard_state(message, effects);
        }
    }

    /// A transfer that did not happen in time is over: proposals are taken again (`known-bugs.md` 23).
    pub(super) fn check_transfer(&mut self, now: Time, effects: &mut Effects) {
        let over = |transfer: &mut Transfer| now >= transfer.deadline;
        if let Some(failed) = self.transfer.take_if(over) {
            effects.push(Effect::Notice(Notice::TransferFailed { to: failed.to }));
        }
        // A leader without space that could not give way at once (elected so, or nobody was level) tries again.
        if self.state.disk_full {
            self.begin_transfer(now, None, effects);
        }
    }

    /// Without waiting: the best voter is told to stand, level or not (its disk works, this one's does not).
    pub(super) fn give_away(&mut self, effects: &mut Effects) {
        if let Some(to) = self.best_voter() {
            effects.push(Effect::Send(self.state.message(to, Body::TimeoutNow)));
        }
    }
}

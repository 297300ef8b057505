//! Leadership transfer (Raft thesis, section 3.10): refuse proposals, bring one voter up to the last index, tell it to campaign.

use std::time::Duration;

use crate::effect::{Effect, Effects, Notice, TransferRefusal};
use crate::ids::{NodeId, Time};
use crate::leader::progress::Progress;
use crate::leader::role::{Leader, Transfer};
use crate::message::Body;

/// For so many election timeouts after its election, or after a transfer failed, a leader hands nothing over by itself for the
/// sake of room or of its machine.
const SETTLED_ELECTION_TIMEOUTS: u32 = 3;

/// Within a transfer the target is told to campaign so often: an order may be lost.
const TOLD_TIMES: u32 = 3;

impl Leader {
    /// Begins a transfer that a person or a node that stops has asked for.
    pub(super) fn transfer_on_request(&mut self, now: Time, to: Option<NodeId>, effects: &mut Effects) {
        let takes_any = to.is_none();
        effects.push(match self.target(now, to) {
            Ok(to) => Effect::TransferBegun { to },
            Err(refusal) => Effect::TransferRefused(refusal),
        });
        if let Some(Effect::TransferBegun { to }) = effects.last().cloned() {
            self.transfer = Some(Transfer { takes_any, ..self.transfer_to(now, to.clone()) });
            self.transfer_if_ready(now, &to, effects);
        }
    }

    fn target(&self, now: Time, to: Option<NodeId>) -> Result<NodeId, TransferRefusal> {
        if let Some(Transfer { to, .. }) = &self.transfer {
            return Err(TransferRefusal::UnderWay { to: to.clone() });
        }
        if let Some(node) = to {
            let refusal = self.unfit(now, &node);
            return refusal.map_or(Ok(node), Err);
        }
        // A leader that stops goes in any case: a voter whose machine is behind is better than none.
        let near = self.best_voter(now, |_, progress| !self.is_far_behind(now, progress));
        near.or_else(|| self.best_voter(now, |_, _| true)).ok_or(TransferRefusal::NoTarget)
    }

    pub(super) fn begin_transfer_to(&mut self, now: Time, to: &NodeId, effects: &mut Effects) {
        self.transfer = Some(self.transfer_to(now, to.clone()));
        self.transfer_if_ready(now, to, effects);
    }

    fn transfer_to(&self, now: Time, to: NodeId) -> Transfer {
        Transfer { to, deadline: now + self.state.config.election_timeout, told_at: None, takes_any: false }
    }

    /// Hands leadership to a voter that has said that its disk has room (`safety.md` 16). If all disks are full, as equal
    /// disks are at the same time, the leader stays: another one could write no more than it can. It waits a while after it
    /// was elected, so that disks on the brink do not pass leadership around.
    pub(super) fn transfer_for_room(&mut self, now: Time, effects: &mut Effects) {
        if self.transfer.is_some() || !self.may_give_way(now) {
            return;
        }
        if let Some(to) = self.best_voter(now, |_, progress| progress.has_room == Some(true)) {
            self.begin_transfer_to(now, &to, effects);
        }
    }

    /// From when on this leader may hand leadership over by itself.
    pub(super) fn gives_way_from(&self) -> Time {
        let settled = self.state.config.election_timeout * SETTLED_ELECTION_TIMEOUTS;
        self.transfer_failed.map_or(self.started_at, |failed| failed.max(self.started_at)) + settled
    }

    pub(super) fn may_give_way(&self, now: Time) -> bool {
        now >= self.gives_way_from()
    }

    /// Why this node cannot lead now; `None` if it can, as far as is known.
    fn unfit(&self, now: Time, node: &NodeId) -> Option<TransferRefusal> {
        let node = node.clone();
        let voter = self.progress.get(&node).filter(|_| self.state.membership().voters.contains(&node));
        let Some(progress) = voter else { return Some(TransferRefusal::NotVoter { node }) };
        if !progress.link_up || now.since(progress.contact) >= self.state.config.election_timeout {
            Some(TransferRefusal::NotConnected { node })
        } else if progress.said.recovering {
            Some(TransferRefusal::Recovering { node })
        } else if progress.rolled_back {
            Some(TransferRefusal::RolledBack { node })
        } else if progress.said.machine_down {
            Some(TransferRefusal::Faulted { node })
        } else if progress.has_room == Some(false) {
            Some(TransferRefusal::NoRoom { node })
        } else if self.is_far_behind(now, progress) {
            let entries = self.apply_lag_of(progress).unwrap_or_default();
            Some(TransferRefusal::FarBehind { node, entries })
        } else {
            None
        }
    }

    /// The voter that can lead best of those that can and that `suits`: one whose machine is not far behind, and that is known
    /// to have room; of these the one that has matched most; among equals, the one heard most recently.
    pub(super) fn best_voter(&self, now: Time, suits: impl Fn(&NodeId, &Progress) -> bool) -> Option<NodeId> {
        let can_lead = |id: &NodeId| match self.unfit(now, id) {
            None | Some(TransferRefusal::FarBehind { .. }) => true,
            Some(_) => false,
        };
        let peers = self.progress.iter().filter(|(id, progress)| can_lead(id) && suits(id, progress));
        peers
            .max_by_key(|(_, progress)| {
                let near = !self.is_far_behind(now, progress);
                (near, progress.has_room, progress.match_index, progress.contact)
            })
            .map(|(id, _)| id.clone())
    }

    /// Tells the target to campaign once it has matched the whole log.
    pub(super) fn transfer_if_ready(&mut self, now: Time, peer: &NodeId, effects: &mut Effects) {
        let last = self.state.last().index;
        let level = self.progress.get(peer).is_some_and(|progress| progress.match_index == last);
        let repeat = self.tell_again_after();
        let is_due = |at: Option<Time>| at.is_none_or(|at| now.since(at) >= repeat);
        let waiting = self.transfer.as_ref().filter(|t| t.to == *peer && is_due(t.told_at));
        let Some(takes_any) = waiting.map(|transfer| transfer.takes_any) else { return };
        let unfit = self
            .unfit(now, peer)
            .filter(|why| !(takes_any && matches!(why, TransferRefusal::FarBehind { .. })));
        if level && unfit.is_some() {
            // A new leader has heard nothing of its peers when it begins a transfer.
            self.fail_transfer(now, effects);
            return;
        }
        let Some(transfer) = self.transfer.as_mut() else { return };
        transfer.told_at = level.then_some(now);
        if level {
            let message = self.state.message(peer.clone(), Body::TimeoutNow);
            self.state.send_after_hard_state(message, effects);
        }
    }

    fn tell_again_after(&self) -> Duration {
        self.state.config.election_timeout / TOLD_TIMES
    }

    /// When [`Self::check_transfer`] is due.
    pub(super) fn transfer_deadline(&self) -> Option<Time> {
        let Transfer { deadline, told_at, .. } = self.transfer.as_ref()?;
        Some(told_at.map_or(*deadline, |at| (*deadline).min(at + self.tell_again_after())))
    }

    /// Ends a transfer that has not happened within an election timeout; proposals are accepted again (`known-bugs.md` 23).
    pub(super) fn check_transfer(&mut self, now: Time, effects: &mut Effects) {
        if self.transfer.as_ref().is_some_and(|transfer| now >= transfer.deadline) {
            self.fail_transfer(now, effects);
        } else if let Some(to) = self.transfer.as_ref().map(|transfer| transfer.to.clone()) {
            self.transfer_if_ready(now, &to, effects);
        }
        // A leader without room tries again: at first there may have been no peer with room that had matched everything.
        if self.state.disk_full {
            self.transfer_for_room(now, effects);
        }
    }

    fn fail_transfer(&mut self, now: Time, effects: &mut Effects) {
        let Some(failed) = self.transfer.take() else { return };
        self.transfer_failed = Some(now);
        effects.push(Effect::Notice(Notice::TransferFailed { to: failed.to.clone() }));
        let another = self.best_voter(now, |id, _| failed.takes_any && *id != failed.to);
        if let Some(to) = another {
            self.begin_transfer_to(now, &to, effects);
        }
    }

    /// Tells the best voter to campaign without waiting until it has matched everything: its disk works, this one's does not.
    pub(super) fn give_away(&mut self, now: Time, effects: &mut Effects) {
        if let Some(to) = self.best_voter(now, |_, _| true) {
            effects.push(Effect::Send(self.state.message(to, Body::TimeoutNow)));
        }
    }
}

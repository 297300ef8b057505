//! Who campaigns, when, and which voter would lead better: by standing, disk and machine.

use std::time::Duration;

use super::{ReplicaState, Standing};
use crate::ids::{NodeId, Time};
use crate::message::{MachineProgress, VoteRequest};

/// A machine that has entries to apply and applies none for so many election timeouts counts as stuck, and a leader whose
/// machine is that much behind gives leadership away.
pub(crate) const APPLY_STALL_ELECTION_TIMEOUTS: u32 = 3;

impl ReplicaState {
    /// How far the machine has come, and whether it has stopped there.
    pub(crate) fn machine_at(&self, now: Time) -> MachineProgress {
        let limit = self.config.election_timeout * APPLY_STALL_ELECTION_TIMEOUTS;
        MachineProgress { index: self.applied(), stuck: self.apply.is_stuck(now, limit) }
    }

    /// Only a voter with a working disk campaigns: a node that cannot persist a vote for itself would only disturb.
    pub(crate) fn may_campaign(&self, now: Time) -> bool {
        let stalled = self.durability.oldest_issued_at();
        let limit = self.config.election_timeout.max(self.vote_time());
        self.standing() == Standing::Voter && stalled.is_none_or(|at| now.since(at) < limit)
    }

    /// Whom the vote is for that is on its way to this disk. That candidate may win with it, so that another campaign would only disturb; and
    /// pre-votes that are granted meanwhile are answered with the same write, all at one moment: the candidates would split
    /// the next vote, and with a slow disk the one after it again.
    pub(crate) fn vote_under_way(&self) -> Option<&NodeId> {
        self.hard_state.voted_for.as_ref().filter(|_| self.durability.hard_state_sequence().is_some())
    }

    /// Whether this node should lead instead of the candidate: its machine is a full window ahead (or past the entry where the
    /// candidate's is stuck), its log is as new, and it may campaign. The candidate's machine answers no write until it has
    /// replayed.
    pub(crate) fn leads_better(&self, now: Time, request: &VoteRequest) -> bool {
        let (Some(theirs), ours) = (request.applied, self.machine_at(now)) else { return false };
        let ahead = if theirs.stuck { 0 } else { self.apply.window_entries() };
        let is_ahead = ours.index.0 > theirs.index.0.saturating_add(ahead) && !ours.stuck;
        is_ahead && self.last() >= request.last && self.may_campaign(now) && !self.disk_full
    }

    /// Whether the machine is so far behind that another voter may lead better: more than a window before the end of the log
    /// (after a restart the commit index is not known), or stuck.
    pub(crate) fn may_be_behind(&self, now: Time) -> bool {
        let MachineProgress { index, stuck } = self.machine_at(now);
        stuck || self.last().index.0 > index.0.saturating_add(self.apply.window_entries())
    }

    /// Time for a vote on disk: the candidate's write, then a voter's, each possibly behind another write. An election that ends
    /// before its votes can be on disk is followed by another one. At most ten election timeouts.
    pub(crate) fn vote_time(&self) -> Duration {
        (4 * self.durability.write_time()).min(10 * self.config.election_timeout)
    }

    /// Draws a new election timeout, from the configured one to twice that (`known-bugs.md` 8), plus [`Self::vote_time`]. A node
    /// with a faster disk campaigns first.
    pub(crate) fn draw_election_timeout(&mut self) -> Duration {
        let base = u64::try_from(self.config.election_timeout.as_micros())
            .expect("a timeout fits 64 bits of microseconds");
        Duration::from_micros(base + self.random.below(base)) + self.vote_time()
    }

    /// How long a follower waits before it stands early: from a 200th to a 20th of the election timeout, so that of several one is
    /// the first, and the others have noticed the same by the time that they are asked.
    pub(crate) fn draw_early_pause(&mut self) -> Duration {
        let (least, most) = (self.config.election_timeout / 200, self.config.election_timeout / 20);
        self.draw_between(least, most)
    }

    /// How long a campaign may take before there is another: an election timeout. An early one takes long enough for its votes, and
    /// little beside an election timeout, should they be split.
    pub(crate) fn draw_campaign(&mut self) -> Duration {
        let Some(left) = self.early_campaigns.checked_sub(1) else { return self.draw_election_timeout() };
        self.early_campaigns = left;
        let (least, most) = (self.config.election_timeout / 10, self.config.election_timeout / 5);
        self.draw_between(least, most) + self.vote_time()
    }

    fn draw_between(&mut self, least: Duration, most: Duration) -> Duration {
        let range = most.saturating_sub(least).as_micros();
        let range = u64::try_from(range).expect("a timeout fits 64 bits of microseconds");
        least + Duration::from_micros(self.random.below(range))
    }
}

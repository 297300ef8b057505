//! How far machines are behind what is committed: this leader's own, and those of its peers by what they report.
//!
//! A leader answers a write once its own machine has applied it. One whose machine is slow or stuck gives leadership to a voter
//! whose machine keeps up (`docs/decisions/0025-apply-threads.md`). Far behind is more than a window of entries, or an entry
//! that has been committed for three election timeouts. If every machine is slow, no peer is ahead, and leadership stays.
//! Bytes do not count: of its peers a leader knows entries alone, and a window full of large commands is an ordinary moment.

use std::time::Duration;

use crate::effect::{Effect, Effects, Notice};
use crate::ids::{Index, Time};
use crate::leader::progress::Progress;
use crate::leader::role::Leader;
use crate::state::campaign::APPLY_STALL_ELECTION_TIMEOUTS;

impl Leader {
    pub(super) fn note_commit(&mut self, now: Time) {
        self.commits.committed(now, self.state.commit, self.state.config.heartbeat_interval);
    }

    fn stall(&self) -> Duration {
        self.state.config.election_timeout * APPLY_STALL_ELECTION_TIMEOUTS
    }

    /// Whether a machine that has applied so much is far behind.
    fn is_far(&self, now: Time, applied: Index) -> bool {
        self.is_a_window_behind(applied) || self.commits.age(now, applied) >= self.stall()
    }

    fn is_a_window_behind(&self, applied: Index) -> bool {
        self.entries_behind(applied) > self.state.apply.window_entries()
    }

    fn entries_behind(&self, applied: Index) -> u64 {
        self.state.commit.0.saturating_sub(applied.0)
    }

    /// Whether a peer has said that its machine is far behind.
    pub(super) fn is_far_behind(&self, now: Time, progress: &Progress) -> bool {
        progress.said.applied.is_some_and(|applied| self.is_far(now, applied))
    }

    /// Whether a peer is less than half as far behind as the limit.
    fn keeps_up(&self, now: Time, progress: &Progress) -> bool {
        let near = |applied| {
            let entries = self.entries_behind(applied);
            entries <= self.state.apply.window_entries() / 2
                && self.commits.age(now, applied) <= self.stall() / 2
        };
        progress.said.applied.is_some_and(near)
    }

    /// Entries that a peer's machine has not applied, if it says so.
    pub(super) fn apply_lag_of(&self, progress: &Progress) -> Option<u64> {
        progress.said.applied.map(|applied| self.entries_behind(applied))
    }

    /// Hands leadership to a voter whose machine keeps up, if this one's is far behind. Not as soon as it was elected, nor soon
    /// after such a transfer failed: so leadership does not go round.
    pub(super) fn transfer_for_lag(&mut self, now: Time, effects: &mut Effects) {
        if self.transfer.is_some() || !self.may_give_way(now) || !self.is_far(now, self.state.applied()) {
            return;
        }
        self.lag_checked = now;
        let entries = self.entries_behind(self.state.applied());
        if let Some(to) = self.best_voter(now, |_, progress| self.keeps_up(now, progress)) {
            effects.push(Effect::Notice(Notice::ApplyLag { to: to.clone(), entries }));
            self.begin_transfer_to(now, &to, effects);
        }
    }

    /// When [`Self::transfer_for_lag`] is due.
    pub(super) fn lag_deadline(&self) -> Option<Time> {
        if self.progress.is_empty() || self.transfer.is_some() {
            return None;
        }
        let stalled = self.commits.since(self.state.applied()).map(|since| since + self.stall());
        let due = if self.is_a_window_behind(self.state.applied()) { Some(self.started_at) } else { stalled };
        let again = self.lag_checked + self.state.config.election_timeout;
        due.map(|due| due.max(self.gives_way_from()).max(again))
    }
}

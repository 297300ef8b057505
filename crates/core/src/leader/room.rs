//! Which disks keep this leader from committing (`docs/safety.md` 16).
//!
//! A leader with room whose followers are full would take commands that no majority can take, and each caller would wait for its
//! whole deadline to hear *unknown*. Every reply to an append or a heartbeat says whether its sender's disk is full, so the
//! leader knows at any time, also while nothing is proposed. A peer that has not answered since its start, or since this leader's,
//! counts as one with room: the first answer corrects that, and nothing waits for it.

use crate::effect::{Effect, Effects, Notice};
use crate::ids::{NodeId, Time};
use crate::leader::role::Leader;

impl Leader {
    /// The voters whose full disks keep this leader from committing anything new; empty while the voters that can take entries
    /// are a quorum. Itself is not among them: it refuses for its own disk before it asks this. One that has been silent for an election
    /// timeout is not named and can take nothing either.
    pub fn full_voters(&self, now: Time) -> Vec<NodeId> {
        let is_full = |id: &NodeId| self.progress.get(id).is_some_and(|p| p.has_room == Some(false));
        if !self.progress.values().any(|p| p.has_room == Some(false)) {
            return Vec::new();
        }
        let membership = self.state.membership();
        let full: Vec<NodeId> = membership.all_voters().filter(|id| is_full(id)).cloned().collect();
        let silent = self.state.config.election_timeout;
        let takes = |id: &NodeId| {
            let answers = |id: &NodeId| self.progress.get(id).is_some_and(|p| now.since(p.contact) < silent);
            *id == self.state.me || (answers(id) && !is_full(id))
        };
        if full.is_empty() || membership.is_quorum(takes) { Vec::new() } else { full }
    }

    /// Says it when the peers' disks begin to keep this leader from committing, and when they no longer do.
    pub(super) fn note_room(&mut self, now: Time, effects: &mut Effects) {
        let full = self.full_voters(now);
        let blocked = !full.is_empty();
        if std::mem::replace(&mut self.is_blocked_by_disks, blocked) != blocked {
            effects.push(Effect::Notice(Notice::MajorityNoSpace { full }));
        }
    }
}

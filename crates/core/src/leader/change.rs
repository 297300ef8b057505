//! Membership changes. So far there is one kind: incarnations that have become known are written into the membership.

use crate::effect::{Effect, Effects};
use crate::entry::EntryKind;
use crate::ids::{NodeId, Time};
use crate::leader::proposal::Proposal;
use crate::leader::role::Leader;
use crate::membership::Membership;

impl Leader {
    /// Writes incarnations that have become known into the membership. The voters stay the same, so no quorum changes. One
    /// change at a time, and none before this leader has committed an entry of its term (`known-bugs.md` 46).
    pub(super) fn enrol(&mut self, now: Time, effects: &mut Effects) {
        let settled = self.state.memberships.current_index() <= self.state.commit;
        let is_short_of_room = self.state.disk_full || !self.full_voters(now).is_empty();
        let waits = !settled || !self.has_committed_in_term() || is_short_of_room;
        if self.incarnations.is_empty() || waits {
            return;
        }
        let mut membership: Membership = self.state.membership().clone();
        let lacks = |id: &NodeId, m: &Membership| m.members.get(id).is_some_and(|m| m.incarnation.0 == 0);
        for (peer, incarnation) in std::mem::take(&mut self.incarnations) {
            if lacks(&peer, &membership)
                && let Some(member) = membership.members.get_mut(&peer)
            {
                member.incarnation = incarnation;
            }
        }
        if membership != *self.state.membership() {
            let proposal = Proposal::new(membership.encode().into());
            self.append_to_log(now, self.wall_ms, vec![(EntryKind::Membership, proposal)], effects);
            self.state.memberships.append(self.state.last().index, membership.clone());
            effects.push(Effect::MembershipChanged(membership));
        }
    }
}

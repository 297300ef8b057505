//! Stage 2 of 7, Appended: from a proposal in the leader's mailbox to an entry of its log with index and term. Persisted
//! and Replicated follow at the same time.

use bytes::Bytes;

use crate::effect::{Effect, Effects, Notice, Refusal};
use crate::entry::{Entry, EntryKind, HEADER_BYTES, Hash, PAYLOAD_BYTES_MAX};
use crate::ids::{NodeId, Time};
use crate::leader::Leader;
use crate::membership::Membership;
use crate::replicator::ReplicatorEvent;

/// A time stamp this far ahead of the entry before it is worth a warning, in milliseconds.
const TIME_JUMP_MS_MAX: u64 = 3_600_000;

/// A command on its way into the log, hashed where it entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    payload: Bytes,
    leaf: Hash,
}

impl Proposal {
    /// Hashes the payload.
    pub fn new(payload: Bytes) -> Self {
        let leaf = Hash::of(&payload);
        Self { payload, leaf }
    }

    /// The bytes it will take in the log.
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

impl Leader {
    /// Appends what there is room for and refuses the rest; a refused one has not touched the log.
    pub(super) fn propose(
        &mut self,
        now: Time,
        wall_ms: u64,
        proposals: Vec<Proposal>,
        effects: &mut Effects,
    ) {
        let blocked = if self.state.disk_full {
            Some(Refusal::NoSpace)
        } else if self.transfer.is_some() {
            Some(Refusal::Transferring)
        } else {
            None
        };
        if let Some(reason) = blocked {
            effects.push(Effect::Refused { count: proposals.len(), reason });
            return;
        }
        let mut accepted: Vec<(EntryKind, Proposal)> = Vec::with_capacity(proposals.len());
        let mut bytes = self.uncommitted_bytes;
        for proposal in proposals {
            let reason = if proposal.payload.len() > PAYLOAD_BYTES_MAX {
                Some(Refusal::TooLarge)
            } else if bytes >= self.state.config.uncommitted_bytes_max {
                Some(Refusal::Busy)
            } else {
                None
            };
            if let Some(reason) = reason {
                // Answers come in the order of the proposals, so what was accepted before is said first.
                self.accept(now, wall_ms, &mut accepted, effects);
                effects.push(Effect::Refused { count: 1, reason });
            } else {
                bytes += proposal.encoded_bytes();
                accepted.push((EntryKind::Command, proposal));
            }
        }
        self.accept(now, wall_ms, &mut accepted, effects);
    }

    fn accept(
        &mut self,
        now: Time,
        wall_ms: u64,
        batch: &mut Vec<(EntryKind, Proposal)>,
        effects: &mut Effects,
    ) {
        if batch.is_empty() {
            return;
        }
        let (first, term, count) = (self.state.last().index.next(), self.state.term(), batch.len());
        effects.push(Effect::Accepted { first, term, count });
        self.append(now, wall_ms, std::mem::take(batch), effects);
    }

    /// Gives each its place; one write and one message per peer leave for all of them together.
    pub(super) fn append(
        &mut self,
        now: Time,
        wall_ms: u64,
        batch: Vec<(EntryKind, Proposal)>,
        effects: &mut Effects,
    ) {
        let prev = self.state.last();
        let before_ms = self.state.tail.last_time_ms();
        if before_ms > 0 && wall_ms.saturating_sub(before_ms) > TIME_JUMP_MS_MAX {
            effects.push(Effect::Notice(Notice::TimeJump { ahead_ms: wall_ms - before_ms }));
        }
        // `safety.md` 8: the time in the log never falls, whatever the clocks of its leaders do.
        self.wall_ms = self.wall_ms.max(wall_ms);
        let time_ms = wall_ms.max(before_ms);
        let term = self.state.term();
        let mut entries = Vec::with_capacity(batch.len());
        for (kind, Proposal { payload, leaf }) in batch {
            let entry = Entry::follow(self.state.tail.last(), term, time_ms, kind, payload, leaf);
            self.uncommitted_bytes += entry.encoded_bytes();
            self.state.tail.push(entry.clone());
            entries.push(entry);
        }
        self.tell_all(&ReplicatorEvent::Appended { prev, entries: entries.clone() }, effects);
        self.state.persist(now, None, entries, effects);
    }

    /// Writes incarnations that became known into the membership: the same voters, so no quorum changes. One change
    /// at a time, and none before this leader has committed in its term (`known-bugs.md` 46).
    pub(super) fn enrol(&mut self, now: Time, effects: &mut Effects) {
        let settled = self.state.memberships.current_index() <= self.state.commit;
        let waits = !settled || !self.has_committed_in_term() || self.state.disk_full;
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
            self.append(now, self.wall_ms, vec![(EntryKind::Membership, proposal)], effects);
            self.state.memberships.append(self.state.last().index, membership.clone());
            effects.push(Effect::MembershipChanged(membership));
        }
    }
}

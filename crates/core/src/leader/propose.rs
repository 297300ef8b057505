//! Stage 2 of 7, Appended: from a proposal in the leader's mailbox to an entry of its log with index and term. Persisted
//! and Replicated follow at the same time.

use crate::effect::{Effect, Effects, Notice, Refusal};
use crate::entries::Entries;
use crate::entry::{Entry, EntryKind};
use crate::ids::Time;
use crate::leader::proposal::Proposal;
use crate::leader::role::Leader;
use crate::replicator::ReplicatorEvent;

/// A time stamp this far ahead of the entry before it is reported, in milliseconds.
const TIME_JUMP_MS_MAX: u64 = 3_600_000;

impl Leader {
    /// Appends proposals while there is room and refuses the rest. A refused proposal has not entered the log.
    pub(super) fn append_proposals(
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
        } else if !self.full_voters(now).is_empty() {
            Some(Refusal::NoSpaceAtPeers)
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
            let size = proposal.payload.len();
            let bytes_max = self.state.config.payload_bytes_max;
            let reason = if size > bytes_max {
                Some(Refusal::TooLarge { bytes: size, bytes_max })
            } else if bytes >= self.state.config.uncommitted_bytes_max {
                Some(Refusal::Uncommitted)
            } else if self.state.apply.is_behind(self.state.commit) {
                Some(Refusal::Unapplied)
            } else {
                None
            };
            if let Some(reason) = reason {
                // Answers come in the order of the proposals, so those accepted before this one are answered first.
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
        self.append_to_log(now, wall_ms, std::mem::take(batch), effects);
    }

    /// Gives each an index and a term. One write and one message per peer leave for all of them together.
    pub(super) fn append_to_log(
        &mut self,
        now: Time,
        wall_ms: u64,
        batch: Vec<(EntryKind, Proposal)>,
        effects: &mut Effects,
    ) {
        let prev = self.state.tail.last();
        let before_ms = self.state.tail.last_time_ms();
        if before_ms > 0 && wall_ms.saturating_sub(before_ms) > TIME_JUMP_MS_MAX {
            effects.push(Effect::Notice(Notice::TimeJump { ahead_ms: wall_ms - before_ms }));
        }
        // `safety.md` 8: time stamps in the log never fall, even if the clocks of its leaders disagree.
        self.wall_ms = self.wall_ms.max(wall_ms);
        let time_ms = wall_ms.max(before_ms);
        let term = self.state.term();
        let mut last = prev;
        let follow = |(kind, Proposal { payload, leaf })| {
            let entry = Entry::follow(last, term, time_ms, kind, payload, leaf);
            last = entry.position();
            entry
        };
        let entries = Entries::from(batch.into_iter().map(follow).collect::<Vec<_>>());
        self.uncommitted_bytes += entries.bytes().len();
        self.state.tail.append(&entries);
        self.tell_all(&ReplicatorEvent::Appended { prev: prev.log_id(), entries: entries.clone() }, effects);
        self.state.persist(now, None, entries, effects);
    }
}

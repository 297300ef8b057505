//! Linearizable reads on a follower: the leader is asked for a read index (Raft thesis, section 6.4).

use std::time::Duration;

use crate::effect::{Effect, Effects, ReadId};
use crate::entries::Entries;
use crate::follower::role::{AskedReads, Follower, Recovery};
use crate::ids::{NodeId, Term, Time};
use crate::message::{Body, ReadIndexReply, ReadIndexRequest};
use crate::state::Standing;

impl Follower {
    pub(super) fn ask_read_index(&mut self, now: Time, reads: Vec<ReadId>, effects: &mut Effects) {
        let Some(leader) = self.leader.clone().filter(|_| self.state.standing() != Standing::Awaiting) else {
            effects.push(Effect::ReadRefused { reads });
            return;
        };
        let id = self.state.request_id(now);
        self.asked_reads.push(AskedReads { id, reads, asked_at: now });
        let request = Body::ReadIndexRequest(ReadIndexRequest { id, recovering: false });
        let message = self.state.message(leader, request);
        self.state.send_after_hard_state(message, effects);
    }

    pub(super) fn read_index_reply(&mut self, term: Term, reply: &ReadIndexReply, effects: &mut Effects) {
        if term != self.state.term() {
            return;
        }
        if let Some(Recovery::Asked { id, .. }) = self.recovery
            && id == reply.id
        {
            self.recovery = reply.index.map(Recovery::Target);
            return;
        }
        let Some(at) = self.asked_reads.iter().position(|asked| asked.id == reply.id) else { return };
        let reads = self.asked_reads.remove(at).reads;
        effects.push(match reply.index {
            Some(index) => Effect::ReadReady { reads, index },
            None => Effect::ReadRefused { reads },
        });
    }

    /// Only a leader can answer. The refusal spares the asker the wait for its own deadline.
    pub(super) fn refuse_read_index(
        &mut self,
        now: Time,
        to: NodeId,
        request: &ReadIndexRequest,
        effects: &mut Effects,
    ) {
        let message =
            self.state.message(to, Body::ReadIndexReply(ReadIndexReply { id: request.id, index: None }));
        self.state.persist(now, None, Entries::default(), effects);
        self.state.send_after_hard_state(message, effects);
    }

    pub(super) fn give_up_reads(&mut self, now: Time, effects: &mut Effects) {
        let timeout: Duration = self.state.config.election_timeout;
        let late = self.asked_reads.iter().take_while(|asked| now.since(asked.asked_at) >= timeout).count();
        for asked in self.asked_reads.drain(..late) {
            effects.push(Effect::ReadRefused { reads: asked.reads });
        }
    }

    pub(super) fn refuse_reads(&mut self, effects: &mut Effects) {
        for asked in self.asked_reads.drain(..) {
            effects.push(Effect::ReadRefused { reads: asked.reads });
        }
    }
}

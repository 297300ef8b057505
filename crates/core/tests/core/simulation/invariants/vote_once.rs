//! Vote once: a node votes for one candidate in a term, across restarts (Raft paper, section 5.2).

use std::collections::BTreeMap;

use quorate_core::{Body, Message, NodeId, Term, VoteKind};

#[derive(Debug, Default)]
pub(crate) struct VoteOnce {
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

impl VoteOnce {
    pub(crate) fn check(&mut self, message: &Message) {
        let candidate = match &message.body {
            Body::VoteReply(reply) if reply.granted && reply.kind == VoteKind::Real => &message.to,
            Body::VoteRequest(request) if request.kind == VoteKind::Real => &message.from,
            _ => return,
        };
        let voted =
            self.votes.entry((message.from.clone(), message.term)).or_insert_with(|| candidate.clone());
        assert_eq!(voted, candidate, "vote once: {} votes twice in term {}", message.from, message.term);
    }
}

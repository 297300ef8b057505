//! Which peers have said that they recover, for the reasons why there is no leader. Nothing is decided by it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use quorate_core::{Body, Message, NodeId};

use crate::lock::lock;

/// Written by the role, read by who is asked why there is no leader. What it says is as old as the last message of each peer.
#[derive(Debug, Default)]
pub(crate) struct RecoveringPeers(Mutex<BTreeSet<NodeId>>);

impl RecoveringPeers {
    /// A peer says it where it refuses a vote and where it answers a leader; one that campaigns or leads does not recover.
    pub(crate) fn hear(&self, message: &Message) {
        let recovers = match &message.body {
            Body::VoteReply(reply) => reply.recovering,
            Body::AppendReply(reply) => reply.recovering,
            Body::VoteRequest(_) | Body::AppendEntries(_) => false,
            Body::TimeoutNow | Body::ReadIndexRequest(_) | Body::ReadIndexReply(_) => return,
        };
        let mut known = lock(&self.0);
        if !recovers {
            known.remove(&message.from);
        } else if !known.contains(&message.from) {
            known.insert(message.from.clone());
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.0).iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{Boot, Term, VoteKind, VoteReply};

    use super::*;

    #[test]
    fn a_peer_recovers_from_when_it_says_so_until_it_says_otherwise() {
        let peers = RecoveringPeers::default();
        let say = |from: &str, recovering| {
            let (kind, campaign) = (VoteKind::Pre, Term(2));
            let body = Body::VoteReply(VoteReply {
                kind,
                campaign,
                granted: false,
                leads_better: false,
                recovering,
            });
            let name = |name| NodeId::new(name).expect("a name");
            peers.hear(&Message { from: name(from), to: name("node0"), boot: Boot(1), term: Term(1), body });
        };
        say("node2", true);
        say("node1", true);
        assert_eq!(peers.names(), ["node1", "node2"]);
        say("node2", false);
        assert_eq!(peers.names(), ["node1"]);
    }
}

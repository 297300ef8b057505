//! Acknowledged is durable: no message leaves before what it says is on its sender's disk (`safety.md` 1): its term, the
//! vote it gives or asks with, the entries it acknowledges. And what is acknowledged agrees with the leader's log.

use quorate_core::{AppendResult, Body, Message, VoteKind};

use crate::sim::node::{Node, place_of};

pub(crate) fn check(nodes: &[Node], at: usize, message: &Message) {
    let node = &nodes[at];
    let disk = &node.disk;
    let on_disk = &disk.hard_state;
    assert!(message.term <= on_disk.term, "{message}: the term is not durable ({})", on_disk.term);
    assert_eq!(message.boot, node.boot, "{message}: another boot");
    match &message.body {
        Body::VoteReply(reply) if reply.granted && reply.kind == VoteKind::Real => {
            let durable = on_disk.term > reply.campaign || on_disk.voted_for.as_ref() == Some(&message.to);
            assert!(durable, "{message}: the vote is not durable");
            assert!(!on_disk.recovering, "{message}: a recovering node votes");
        }
        Body::VoteReply(reply) if reply.granted => {
            assert!(!on_disk.recovering, "{message}: a recovering node votes");
        }
        Body::VoteRequest(request) if request.kind == VoteKind::Real => {
            let durable =
                on_disk.term > request.campaign || on_disk.voted_for.as_ref() == Some(&message.from);
            assert!(durable, "{message}: its own vote is not durable");
        }
        Body::AppendReply(reply) => {
            let AppendResult::Matched { index } = reply.result else { return };
            assert!(index <= disk.last(), "{message}: only {} is durable", disk.last());
            let leader = &nodes[place_of(&message.to)];
            if leader.leads() && leader.state().is_some_and(|state| state.term() == message.term) {
                let agrees = disk.position(index) == leader.position(index);
                assert!(agrees, "{message}: the logs do not agree there");
            }
        }
        _ => {}
    }
}

//! Bounds: what is on its way to a peer stays within its window, and the count returns to zero.

use quorate_core::ReplicaState;

use crate::sim::node::Node;

pub(crate) fn check(nodes: &[Node], node: &Node, state: &ReplicaState) {
    let Some(replica) = node.replica.as_ref().filter(|_| node.leads()) else { return };
    for peer in nodes {
        let Some(replicator) = replica.replicator(&peer.id) else { continue };
        let (messages, bytes) = replicator.in_flight();
        assert_eq!(messages == 0, bytes == 0, "bounds: {messages} messages and {bytes} bytes on their way");
        assert!(
            messages <= 64,
            "bounds: {messages} messages on their way to {} in term {}",
            peer.id,
            state.term()
        );
    }
}

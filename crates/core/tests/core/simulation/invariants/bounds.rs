//! Bounds: what is on its way to a peer stays within its window, and the count returns to zero.

use quorate_core::{Config, ReplicaState};

use crate::simulation::process::Process;

/// The largest entry that callers of the simulation propose, with its header.
const PAYLOAD_BYTES_MAX_HERE: usize = 4 << 10;

pub(crate) fn check(nodes: &[Process], node: &Process, state: &ReplicaState, config: &Config) {
    let Some(replica) = node.replica.as_ref().filter(|_| node.leads()) else { return };
    for peer in nodes {
        let Some(replicator) = replica.replicator(&peer.id) else { continue };
        let (messages, bytes) = replicator.in_flight();
        assert_eq!(messages == 0, bytes == 0, "bounds: {messages} messages and {bytes} bytes on their way");
        // What is sent last may exceed the window by one message, and that one by a single entry.
        let one = config.append_bytes_max.max(PAYLOAD_BYTES_MAX_HERE);
        assert!(
            messages <= config.window_messages_max && bytes <= config.window_bytes_max + one,
            "bounds: {messages} messages and {bytes} bytes on their way to {} in term {}",
            peer.id,
            state.term()
        );
    }
}

//! Bounds: what is on its way to a peer stays within its window, and the count returns to zero; what a leader counts as
//! appended and not committed is what its log has above the commit index.

use quorate_core::{Config, Entry, Index, ReplicaState};

use crate::simulation::process::Process;
use crate::world::Role;

pub(crate) fn check(
    nodes: &[Process],
    node: &Process,
    state: &ReplicaState,
    config: &Config,
    entry_bytes_max: usize,
) {
    let (Some(replica), Some(Role::Leader(leader))) = (node.replica.as_ref(), node.role()) else { return };
    let above = (state.commit().0 + 1..=state.tail().last().index.0).map(Index);
    let uncommitted: usize =
        above.filter_map(|index| state.tail().get(index)).map(Entry::encoded_bytes).sum();
    assert_eq!(leader.uncommitted_bytes(), uncommitted, "bounds: {} counts uncommitted bytes", node.id);
    for peer in nodes {
        let Some(replicator) = replica.replicator(&peer.id) else { continue };
        let (messages, bytes) = replicator.in_flight();
        assert_eq!(messages == 0, bytes == 0, "bounds: {messages} messages and {bytes} bytes on their way");
        // What is sent last may exceed the window by one message, and that one by a single entry.
        let one = config.append_bytes_max.max(entry_bytes_max);
        assert!(
            messages <= config.window_messages_max && bytes <= config.window_bytes_max + one,
            "bounds: {messages} messages and {bytes} bytes on their way to {} in term {}",
            peer.id,
            state.term()
        );
    }
}

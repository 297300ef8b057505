//! Entries that a replicator lacks: from this log's memory, from the store, or a snapshot in their place.

use crate::effect::{Effect, Effects, Reader};
use crate::ids::{Index, NodeId, ReplicationSession};
use crate::leader::role::Leader;
use crate::replicator::ReplicatorEvent;

impl Leader {
    /// What the replicator of a peer is told that needs more than this log has.
    pub(super) fn compacted(&self) -> ReplicatorEvent {
        ReplicatorEvent::Compacted { through: self.state.tail.start(), snapshot: self.state.snapshot() }
    }

    pub(super) fn fetch(
        &self,
        peer: NodeId,
        session: ReplicationSession,
        from: Index,
        bytes_max: usize,
        effects: &mut Effects,
    ) {
        if self.progress.get(&peer).is_none_or(|progress| progress.session != session) {
            return;
        }
        let start = self.state.tail.start();
        if from <= start.index {
            self.tell(peer, self.compacted(), effects);
            return;
        }
        let entries_max = self.state.config.append_entries_max;
        let last = self.state.last().index;
        if let Ok(entries) = self.state.tail.slice(from, last, entries_max, bytes_max) {
            let prev = self.state.tail.log_id_at(from.prev()).expect("the index before an entry of the log");
            let entries = entries.into();
            self.tell(peer, ReplicatorEvent::Fetched { session, prev, entries }, effects);
        } else {
            let through = from.plus(entries_max as u64 - 1).min(self.state.tail.base().index);
            let reader = Reader::Replicator { peer, session };
            effects.push(Effect::ReadLog { reader, from, through, bytes_max });
        }
    }
}

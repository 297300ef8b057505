//! Stage 5 of 7, Committed: from acknowledgements and the durable index of this node to the commit index.

use crate::effect::Effects;
use crate::entry::Entry;
use crate::ids::{Index, NodeId};
use crate::leader::role::Leader;
use crate::replicator::ReplicatorEvent;

impl Leader {
    /// The last index that a majority of each half of the membership has on disk. This node counts by its durable index.
    fn majority_has(&self) -> Index {
        let matched = |id: &NodeId| {
            if *id == self.state.me {
                self.state.durable()
            } else {
                self.progress.get(id).map_or(Index::ZERO, |progress| progress.match_index)
            }
        };
        self.state.membership().quorum_value(matched)
    }

    /// Moves the commit index, only by counting entries of this term (Raft paper, figure 8).
    pub(super) fn advance_commit(&mut self, effects: &mut Effects) {
        let reached = self.majority_has();
        let of_this_term = self.state.tail.term_at(reached) == Some(self.state.term());
        if reached <= self.state.commit || !of_this_term {
            return;
        }
        self.state.commit = reached;
        self.count_committed();
        self.tell_all(&ReplicatorEvent::Committed(reached), effects);
    }

    /// What is committed counts as uncommitted no longer, whatever raised the commit index. Before anything is trimmed.
    pub(super) fn count_committed(&mut self) {
        let committed = self.counted.next().0..=self.state.commit.0;
        let bytes: usize =
            committed.filter_map(|index| self.state.tail.get(Index(index))).map(Entry::encoded_bytes).sum();
        self.counted = self.state.commit;
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
    }
}

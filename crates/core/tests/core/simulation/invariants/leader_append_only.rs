//! Leader append-only: a leader never removes or replaces an entry of its log (Raft paper, figure 3).

use std::collections::BTreeMap;

use quorate_core::{Index, Persist, ReplicaState, Term};

use crate::world::Node;

#[derive(Debug, Default)]
pub(crate) struct LeaderAppendOnly {
    last: BTreeMap<usize, (Term, Index)>,
}

impl LeaderAppendOnly {
    pub(crate) fn check(&mut self, node: &Node, state: &ReplicaState) {
        if !node.leads() {
            self.last.remove(&node.at);
            return;
        }
        let now = (state.term(), state.tail().last().index);
        if let Some((term, last)) = self.last.insert(node.at, now) {
            assert!(
                term != now.0 || last <= now.1,
                "leader append-only: {} went from {last} to {}",
                node.id,
                now.1
            );
        }
    }

    pub(crate) fn persisting(&self, node: &Node, persist: &Persist) {
        let truncates = persist.truncate_from.is_some();
        let leading = self.last.contains_key(&node.at)
            && persist.entries.iter().all(|e| Some(e.term) == self.last.get(&node.at).map(|l| l.0));
        assert!(!(truncates && leading), "leader append-only: {} truncates while it leads", node.id);
    }
}

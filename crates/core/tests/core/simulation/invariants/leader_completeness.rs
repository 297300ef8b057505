//! Leader completeness: what was committed in an earlier term is in the log of every later leader (Raft paper, figure
//! 3).

use std::collections::BTreeSet;

use quorate_core::{ReplicaState, Term};

use crate::world::{Committed, Node};

#[derive(Debug, Default)]
pub(crate) struct LeaderCompleteness {
    checked: BTreeSet<(usize, Term)>,
}

impl LeaderCompleteness {
    pub(crate) fn check(&mut self, committed: &Committed, node: &Node, state: &ReplicaState) {
        if !node.leads() || !self.checked.insert((node.at, state.term())) {
            return;
        }
        if let Some(at) = committed.last_before(state.term()) {
            let has = node.position(at.index);
            assert_eq!(has, Some(at), "leader completeness: {} of term {} lacks it", node.id, state.term());
        }
    }
}

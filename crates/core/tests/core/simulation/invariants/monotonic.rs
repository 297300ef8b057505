//! Monotonic: term and commit index never fall while a role's state lives; the term on disk never falls at all (which
//! the simulated disk checks).

use std::collections::BTreeMap;

use quorate_core::{Index, ReplicaState, Term};

use crate::world::Node;

#[derive(Debug, Default)]
pub(crate) struct Monotonic {
    seen: BTreeMap<usize, (Term, Index)>,
}

impl Monotonic {
    pub(crate) fn started(&mut self, node: &Node) {
        self.seen.insert(node.at, (node.disk.hard_state.term, Index::ZERO));
    }

    pub(crate) fn check(&mut self, node: &Node, state: &ReplicaState) {
        let now = (state.term(), state.commit());
        let before = self.seen.insert(node.at, now).unwrap_or_default();
        assert!(now.0 >= before.0 && now.1 >= before.1, "monotonic: {} from {before:?} to {now:?}", node.id);
    }
}

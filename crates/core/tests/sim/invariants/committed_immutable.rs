//! Committed immutable: what is committed is never replaced, anywhere, and nobody removes it from a disk.

use quorate_core::{Persist, ReplicaState};

use super::Committed;
use crate::sim::node::Node;

pub(crate) fn check(committed: &Committed, node: &Node, state: &ReplicaState) {
    let has = node.position(state.commit());
    assert_eq!(has, committed.at(state.commit()), "committed immutable: {} at {}", node.id, state.commit());
}

pub(crate) fn persisting(committed: &Committed, node: &Node, persist: &Persist) {
    // What is said again to a store that came back, and was applied before, is not applied again.
    let said_again = persist.sequence <= node.disk.applied();
    let Some(from) = persist.truncate_from.filter(|_| !said_again) else { return };
    let gone = node.disk.entry(from).map(quorate_core::Entry::position);
    let known = committed.at(from);
    assert!(
        gone.is_none() || gone != known,
        "committed immutable: {} removes {from}, which is committed, from its disk",
        node.id
    );
}

//! Committed immutable: what is committed is never replaced on any node, and never removed from a disk.

use quorate_core::{Persist, ReplicaState};

use crate::world::{Committed, Node};

pub(crate) fn check(committed: &Committed, node: &Node, state: &ReplicaState) {
    let has = node.position(state.commit());
    assert_eq!(has, committed.at(state.commit()), "committed immutable: {} at {}", node.id, state.commit());
}

pub(crate) fn persisting(committed: &Committed, node: &Node, persist: &Persist) {
    // A resend of a write that was applied before is not applied again.
    let resent = persist.sequence <= node.disk.applied();
    if let Some(base) = &persist.install {
        let known = committed.at(base.at.index);
        assert_eq!(known, Some(base.at), "committed immutable: {} installs what is not committed", node.id);
    }
    let Some(from) = persist.truncate_from.filter(|_| !resent) else { return };
    let gone = node.disk.entry(from).map(quorate_core::Entry::position);
    let known = committed.at(from);
    assert!(
        gone.is_none() || gone != known,
        "committed immutable: {} removes {from}, which is committed, from its disk",
        node.id
    );
}

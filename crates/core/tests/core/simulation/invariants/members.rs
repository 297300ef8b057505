//! Changes of the members: one at a time, each begun only when the one before is committed; and quorums of one membership and of the
//! next always meet (Raft thesis, section 4.3).

use quorate_core::{EntryKind, Index, Membership, Persist, ReplicaState};

use crate::world::{Committed, Node};

/// A leader's log has at most one membership that is not committed.
pub(crate) fn check(committed: &Committed, node: &Node, state: &ReplicaState) {
    if !node.leads() || state.membership_index() <= state.commit() {
        return;
    }
    let commit = state.commit().max(committed.last());
    let above = (commit.0 + 1..=state.tail().last().index.0).map(Index);
    let pending = above.filter(|index| membership_at(node, *index).is_some()).count();
    assert!(pending <= 1, "members: {} leads with {pending} changes under way", node.id);
}

/// What a leader appends follows a membership that is committed.
pub(crate) fn persisting(committed: &Committed, node: &Node, founding: &Membership, persist: &Persist) {
    for entry in persist.entries.iter().filter(|entry| entry.kind == EntryKind::Membership && node.leads()) {
        let before = (1..entry.index.0).rev().find_map(|at| Some((at, membership_at(node, Index(at))?)));
        let (at, before) = before.unwrap_or((0, founding.clone()));
        let next = Membership::decode(&entry.payload).expect("what a leader appended is read");
        assert!(
            at <= committed.last().0 && committed.at(Index(at)) == node.position(Index(at)),
            "members: {} appends a membership at {} while the one at {at} is not committed",
            node.id,
            entry.index
        );
        let begins = !before.is_joint() && next.is_joint() && next.outgoing == before.voters;
        let ends = before.is_joint() && !next.is_joint() && next.voters == before.voters;
        let leaves_voters = !before.is_joint() && !next.is_joint() && next.voters == before.voters;
        assert!(
            begins || ends || leaves_voters,
            "members: at {} quorums need not meet: {before:?} then {next:?}",
            entry.index
        );
    }
}

fn membership_at(node: &Node, index: Index) -> Option<Membership> {
    let entry = node.entry(index).filter(|entry| entry.kind == EntryKind::Membership)?;
    Some(Membership::decode(&entry.payload).expect("what a leader appended is read"))
}

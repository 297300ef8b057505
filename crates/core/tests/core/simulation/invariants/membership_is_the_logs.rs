//! The membership in force is the newest the log has, committed or not (Raft thesis, section 4.1); the founding one where it
//! has none.

use std::collections::BTreeMap;

use quorate_core::{EntryKind, Index, Membership, Position, ReplicaState};

use crate::world::Node;

#[derive(Debug)]
struct Known {
    last: Position,
    membership: Membership,
}

#[derive(Debug, Default)]
pub(crate) struct MembershipIsTheLogs {
    founding: Option<Membership>,
    /// Of each node, up to where its log was looked at.
    known: BTreeMap<usize, Known>,
}

impl MembershipIsTheLogs {
    pub(crate) fn started(&mut self, node: &Node, state: &ReplicaState) {
        // The first that starts has nothing in its log.
        self.founding.get_or_insert_with(|| state.membership().clone());
        self.known.remove(&node.at);
    }

    /// Whether the log has brought another one.
    pub(crate) fn check(&mut self, node: &Node, state: &ReplicaState) -> bool {
        let last = state.tail().last();
        let known = self.known.get(&node.at);
        let changed = known.is_none_or(|known| known.last != last);
        if changed {
            let seen = known.filter(|known| node.position(known.last.index) == Some(known.last));
            let from = seen.map_or(Index::ZERO, |known| known.last.index);
            let newest = (from.0 + 1..=last.index.0).rev().find_map(|index| in_log(node, Index(index)));
            let before = seen.map(|known| &known.membership).or(self.founding.as_ref());
            let membership = newest.unwrap_or_else(|| before.expect("it was started").clone());
            self.known.insert(node.at, Known { last, membership });
        }
        let expected = &self.known[&node.at].membership;
        assert_eq!(state.membership(), expected, "membership is the log's: {} at {}", node.id, last.index);
        changed && self.founding.as_ref() != Some(expected)
    }
}

fn in_log(node: &Node, index: Index) -> Option<Membership> {
    let entry = node.entry(index).filter(|entry| entry.kind == EntryKind::Membership)?;
    Some(Membership::decode(&entry.payload).expect("what a leader appended is read"))
}

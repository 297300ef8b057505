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
    /// What each node began with.
    founding: BTreeMap<usize, Membership>,
    /// Of each node, up to where its log was looked at.
    known: BTreeMap<usize, Known>,
}

impl MembershipIsTheLogs {
    pub(crate) fn started(&mut self, node: &Node, state: &ReplicaState) {
        // At its first start it has nothing in its log.
        self.founding.entry(node.at).or_insert_with(|| state.membership().clone());
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
            let before = seen.map(|known| &known.membership).or(self.founding.get(&node.at));
            let before = before.expect("it was started");
            // A node that joins and gets a snapshot has what the cluster began with.
            let joined = before.members.is_empty() && state.tail().start().index > Index::ZERO;
            let before = if joined { &self.founding[&0] } else { before };
            let membership = newest.unwrap_or_else(|| before.clone());
            self.known.insert(node.at, Known { last, membership });
        }
        let expected = &self.known[&node.at].membership;
        assert_eq!(state.membership(), expected, "membership is the log's: {} at {}", node.id, last.index);
        changed && self.founding.get(&node.at) != Some(expected)
    }
}

fn in_log(node: &Node, index: Index) -> Option<Membership> {
    let entry = node.entry(index).filter(|entry| entry.kind == EntryKind::Membership)?;
    Some(Membership::decode(&entry.payload).expect("what a leader appended is read"))
}

//! The nodes that a client knows: those it was given, and those that the cluster's members are known to be.
//!
//! Owns the order in which they are asked. Never dials: it says which links to make and to drop. What was given stays, so that
//! a client finds its cluster again when all that it learned is gone. Bound: [`LEARNED_MAX`] beside those given.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use quorate_bridge::PeerAddress;
use tokio::time::Instant;

use crate::lock::lock;
use crate::protocol::MemberAddress;

/// Members learned, at most.
const LEARNED_MAX: usize = 64;

/// How often the members are asked for, at most.
const LEARN_EVERY: Duration = Duration::from_millis(100);

/// A node that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownNode {
    /// The name of the link.
    label: String,
    address: String,
    /// The member it is, once that is known.
    id: Option<String>,
    given: bool,
}

/// The nodes, and whose turn it is. The lock is never held across an await.
#[derive(Debug)]
pub(super) struct Nodes(Mutex<State>);

#[derive(Debug)]
struct State {
    known: Vec<KnownNode>,
    current: usize,
    has_learned: bool,
    learn_not_before: Option<Instant>,
}

/// Links to make or to dial elsewhere, and links to drop.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) add: Vec<PeerAddress>,
    pub(super) remove: Vec<String>,
}

impl Nodes {
    pub(super) fn given(peers: &[PeerAddress]) -> Self {
        let node = |peer: &PeerAddress| KnownNode {
            label: peer.node.clone(),
            address: peer.address.clone(),
            id: None,
            given: true,
        };
        let known = peers.iter().map(node).collect();
        Self(Mutex::new(State { known, current: 0, has_learned: false, learn_not_before: None }))
    }

    /// The link of the node that is asked.
    pub(super) fn current(&self) -> String {
        let state = self.lock();
        state.known[state.current].label.clone()
    }

    /// As the link of this name is dialled.
    pub(super) fn address_of(&self, label: &str) -> Option<PeerAddress> {
        let state = self.lock();
        let node = state.known.iter().find(|node| node.label == label)?;
        let (label, address) = (node.label.clone(), node.address.clone());
        Some(if node.given { PeerAddress::any_node(address) } else { PeerAddress::new(label, address) })
    }

    /// Asks the next node from now on, unless another call has rotated already. True after a full round.
    pub(super) fn rotate_from(&self, label: &str) -> bool {
        let mut state = self.lock();
        if state.known[state.current].label == label {
            state.current = (state.current + 1) % state.known.len();
        }
        state.current == 0
    }

    /// Whether to ask this node for the member list now; if so, no other call asks for a while.
    pub(super) fn learns_now(&self, useful: bool) -> bool {
        let (mut state, now) = (self.lock(), Instant::now());
        let due = state.learn_not_before.is_none_or(|at| now >= at) && (!useful || !state.has_learned);
        if due {
            state.learn_not_before = Some(now + LEARN_EVERY);
        }
        due
    }

    /// Takes the members over. `answers` is the id of the node that answered on a link. The leader is asked next.
    pub(super) fn learned(
        &self,
        members: &[MemberAddress],
        leader: Option<&str>,
        answers: impl Fn(&str) -> Option<String>,
    ) -> Changes {
        let mut state = self.lock();
        if members.is_empty() {
            return Changes::default();
        }
        let asked = state.known[state.current].label.clone();
        let mut changes = Changes::default();
        let mut known: Vec<KnownNode> = state.known.iter().filter(|node| node.given).cloned().collect();
        for node in &mut known {
            let by_address = members.iter().find(|member| member.raft == node.address);
            let by_address = by_address.map(|member| member.id.to_string());
            node.id = answers(&node.label).or(by_address);
        }
        for member in members.iter().filter(|member| !member.raft.is_empty()).take(LEARNED_MAX) {
            let (id, address) = (member.id.to_string(), member.raft.clone());
            if known.iter().any(|node| node.id.as_ref() == Some(&id)) {
                continue;
            }
            let node = KnownNode { label: id.clone(), address: address.clone(), id: Some(id), given: false };
            if !state.known.contains(&node) {
                changes.add.push(PeerAddress::new(node.label.clone(), address));
            }
            known.push(node);
        }
        let is_gone = |old: &&KnownNode| known.iter().all(|node| node.label != old.label);
        changes.remove = state.known.iter().filter(is_gone).map(|node| node.label.clone()).collect();
        let at = |found: &dyn Fn(&KnownNode) -> bool| known.iter().position(found);
        let of_leader = leader.and_then(|leader| at(&|node| node.id.as_deref() == Some(leader)));
        state.current = of_leader.or_else(|| at(&|node| node.label == asked)).unwrap_or(0);
        (state.known, state.has_learned) = (known, true);
        changes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::NodeId;

    fn members(list: &[(&str, &str)]) -> Vec<MemberAddress> {
        let member = |(id, raft): &(&str, &str)| MemberAddress {
            id: NodeId::new(id).expect("a name"),
            raft: (*raft).into(),
        };
        list.iter().map(member).collect()
    }

    fn given(addresses: &[&str]) -> Nodes {
        let peers: Vec<_> = addresses.iter().map(|address| PeerAddress::any_node(*address)).collect();
        Nodes::given(&peers)
    }

    fn no_link(_label: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_leader_is_asked_next_and_what_was_given_is_dialled_once() {
        let nodes = given(&["h:2"]);
        let three = members(&[("a", "h:1"), ("b", "h:2"), ("c", "h:3")]);
        let changes = nodes.learned(&three, Some("c"), no_link);
        let added: Vec<_> = changes.add.iter().map(|peer| peer.node.as_str()).collect();
        assert_eq!((added, changes.remove.len(), nodes.current().as_str()), (vec!["a", "c"], 0, "c"));
        assert_eq!(nodes.learned(&three, Some("b"), no_link), Changes::default(), "nothing is new");
        assert_eq!(nodes.current(), "h:2", "b, by the address that was given");
        // Its host was spelled otherwise, but its link says who it is.
        let nodes = given(&["localhost:2"]);
        let changes = nodes.learned(&three, None, |label| (label == "localhost:2").then(|| "b".to_owned()));
        assert_eq!((changes.add.len(), nodes.current().as_str()), (2, "localhost:2"));
    }

    #[test]
    fn a_member_that_moved_is_dialled_again_and_one_that_is_gone_is_dropped() {
        let nodes = given(&["h:2"]);
        nodes.learned(&members(&[("a", "h:1"), ("b", "h:2"), ("c", "h:3")]), Some("a"), no_link);
        let changes = nodes.learned(&members(&[("b", "h:2"), ("c", "h:4")]), None, no_link);
        assert_eq!(changes.add, [PeerAddress::new("c", "h:4")]);
        assert_eq!(changes.remove, ["a"]);
        assert_eq!(nodes.current(), "h:2", "the node that was asked is gone");
        assert_eq!(nodes.learned(&[], None, no_link), Changes::default(), "a node that knows none yet");
    }

    #[test]
    fn however_many_members_are_named_so_many_are_dialled() {
        let many: Vec<_> = (0..1_000).map(|at| (format!("n{at}"), format!("h:{at}"))).collect();
        let many: Vec<_> = many.iter().map(|(id, raft)| (id.as_str(), raft.as_str())).collect();
        assert_eq!(given(&["g:1"]).learned(&members(&many), None, no_link).add.len(), LEARNED_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn members_are_asked_for_once_and_after_failures_not_more_often_than_the_limit() {
        let nodes = given(&["h:1", "h:2"]);
        assert!(nodes.learns_now(true) && !nodes.learns_now(false), "not twice at once");
        tokio::time::advance(LEARN_EVERY).await;
        assert!(nodes.learns_now(true), "the answer did not come");
        nodes.learned(&members(&[("a", "h:1")]), None, no_link);
        tokio::time::advance(LEARN_EVERY).await;
        assert!(!nodes.learns_now(true) && nodes.learns_now(false));
    }

    #[test]
    fn a_round_is_over_when_all_were_asked() {
        let nodes = given(&["h:1", "h:2"]);
        assert!(!nodes.rotate_from("h:1"));
        assert_eq!(nodes.current(), "h:2");
        assert!(nodes.rotate_from("h:2"));
        assert_eq!(nodes.current(), "h:1");
    }
}

//! The nodes that a client knows: those it was given, and those that the cluster's members are known to be.
//!
//! Owns the order in which they are asked. Never dials: it says which links to make and to drop. What was given stays, so that
//! a client finds its cluster again when all that it learned is gone. Bound: [`LEARNED_MAX`] beside those given.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_bridge::PeerAddress;
use tokio::time::Instant;

use crate::protocol::MemberAddress;

/// So many members are learned, at most.
const LEARNED_MAX: usize = 64;

/// How often the members are asked for, at most.
const LEARN_EVERY: Duration = Duration::from_millis(100);

/// A node that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
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
    places: Vec<Place>,
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
        let place = |peer: &PeerAddress| Place {
            label: peer.node.clone(),
            address: peer.address.clone(),
            id: None,
            given: true,
        };
        let places = peers.iter().map(place).collect();
        Self(Mutex::new(State { places, current: 0, has_learned: false, learn_not_before: None }))
    }

    /// The link of the node that is asked.
    pub(super) fn current(&self) -> String {
        let state = self.lock();
        state.places[state.current].label.clone()
    }

    /// Asks the next node from now on, unless another call has rotated already. True after a full round.
    pub(super) fn rotate_from(&self, label: &str) -> bool {
        let mut state = self.lock();
        if state.places[state.current].label == label {
            state.current = (state.current + 1) % state.places.len();
        }
        state.current == 0
    }

    /// Whether the members are to be asked for now, of a node that has answered: usefully, or that it cannot serve. If so, no
    /// other call asks for a while.
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
        let asked = state.places[state.current].label.clone();
        let mut changes = Changes::default();
        let mut places: Vec<Place> = state.places.iter().filter(|place| place.given).cloned().collect();
        for place in &mut places {
            let by_address = members.iter().find(|member| member.raft == place.address);
            let by_address = by_address.map(|member| member.id.to_string());
            place.id = answers(&place.label).or(by_address);
        }
        for member in members.iter().filter(|member| !member.raft.is_empty()).take(LEARNED_MAX) {
            let (id, address) = (member.id.to_string(), member.raft.clone());
            if places.iter().any(|place| place.id.as_ref() == Some(&id)) {
                continue;
            }
            let place = Place { label: id.clone(), address: address.clone(), id: Some(id), given: false };
            if !state.places.contains(&place) {
                changes.add.push(PeerAddress::new(place.label.clone(), address));
            }
            places.push(place);
        }
        let is_gone = |old: &&Place| places.iter().all(|place| place.label != old.label);
        changes.remove = state.places.iter().filter(is_gone).map(|place| place.label.clone()).collect();
        let at = |found: &dyn Fn(&Place) -> bool| places.iter().position(found);
        let of_leader = leader.and_then(|leader| at(&|place| place.id.as_deref() == Some(leader)));
        state.current = of_leader.or_else(|| at(&|place| place.label == asked)).unwrap_or(0);
        (state.places, state.has_learned) = (places, true);
        changes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

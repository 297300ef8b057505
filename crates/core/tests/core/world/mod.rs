//! The world that every driver moves: nodes of shipped role code, their disks, and invariants.

mod committed;
mod disk;
mod judge;
mod lanes;
mod node;
mod replica;
mod snapshot;

use std::collections::BTreeMap;

use quorate_core::{Member, Membership, NodeId, SplitMix64};

pub(crate) use committed::Committed;
pub(crate) use disk::Disk;
pub(crate) use judge::{Broken, Judged, acknowledged_is_durable, holds, is_harmless, recovered_is_whole};
pub(crate) use lanes::{Behind, Lane};
pub(crate) use node::{Node, Start};
pub(crate) use replica::{Replica, ReplicaEvent, Role};
pub(crate) use snapshot::Snapshot;

/// The node at this place: n0, n1, and so on.
pub(crate) fn name(at: usize) -> NodeId {
    NodeId::new(&format!("n{at}")).expect("a legal name")
}

/// The place of a node.
pub(crate) fn place_of(id: &NodeId) -> usize {
    id.as_str()[1..].parse().expect("nodes are named by their place")
}

/// The founding membership: so many voters, then so many learners.
pub(crate) fn founding(voters: usize, learners: usize) -> Membership {
    let all = voters + learners;
    let members: BTreeMap<_, _> = (0..all).map(|at| (name(at), Member::default())).collect();
    Membership {
        voters: (0..voters).map(name).collect(),
        learners: (voters..all).map(name).collect(),
        members,
        ..Membership::default()
    }
}

/// The numbers below `length` in some order.
pub(crate) fn shuffled(random: &mut SplitMix64, length: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    for place in (1..length).rev() {
        order.swap(place, random.place(place + 1));
    }
    order
}

//! Bugs of compacted logs (`known-bugs.md` 26 and 39), each a test.

use crate::script::Lab;
use crate::world::{ReplicaEvent, name};
use quorate_core::{Position, ReplicationState, RoleEvent};

/// All nodes have `length` entries of term 1; the log of node 2 is compacted up to `at`.
fn with_a_log_that_begins_after(at: u64, length: usize) -> Lab {
    let mut lab = Lab::new(3, 0);
    let terms = vec![1; length];
    (0..3).for_each(|node| lab.preset(node, &terms, 1));
    lab.nodes[2].disk.compacted = at;
    lab
}

#[test]
fn bug_26_heartbeats_to_a_peer_below_a_compacted_log_go_on() {
    let mut lab = with_a_log_that_begins_after(6, 10);
    // Node 2 leads, and node 1 has lost everything: the leader's log no longer has what it lacks.
    lab.preset(1, &[], 1);
    lab.start_all();
    lab.elect(2);
    lab.propose(2, "new");
    lab.settle();
    assert_eq!(lab.replica(2).replicator(&name(1)).unwrap().state(), ReplicationState::Snapshot);
    let term = lab.term(2);
    for _ in 0..5 {
        lab.heartbeat(2);
    }
    assert!(lab.leads(2) && lab.term(1) == term && lab.follows(1), "it is heard, so node 1 does not stand");
    assert_eq!(lab.commit(2), lab.last(2), "the others commit");
    assert_eq!(lab.last(1), 0, "it waits for a snapshot");
}

/// Seed 2466 of the simulation: the peer has another entry where the leader's log begins, and was asked for that place without end.
#[test]
fn bug_26_a_peer_that_parts_from_a_log_where_that_begins_is_offered_a_snapshot() {
    let mut lab = Lab::new(3, 0);
    lab.preset(0, &[1, 1, 1, 1, 1, 2, 2, 2], 2);
    lab.preset(1, &[1, 1, 1, 1, 1, 1, 1], 2);
    lab.preset(2, &[1, 1, 1, 1, 1, 2, 2, 2], 2);
    lab.nodes[2].disk.compacted = 6;
    lab.start_all();
    // A peer that answers at once is asked again at once: without the offer this does not come to rest.
    lab.elect(2);
    assert_eq!(lab.replica(2).replicator(&name(1)).unwrap().state(), ReplicationState::Snapshot);
}

#[test]
fn bug_39_a_follower_without_entries_converges_by_probes() {
    let mut lab = with_a_log_that_begins_after(10, 10);
    lab.start_all();
    assert_eq!(lab.state(2).tail().start().index.0, 10, "it has a beginning and nothing after it");
    assert_ne!(lab.state(2).tail().last(), Position::ORIGIN);
    lab.elect(0);
    lab.propose(0, "one");
    lab.propose(0, "two");
    lab.settle();
    lab.heartbeat(0);
    assert_eq!(lab.last(2), lab.last(0));
    assert_eq!(lab.commit(2), lab.commit(0));
    // The same when the leader's probe begins far above: it was elected with a longer log.
    let mut lab = with_a_log_that_begins_after(10, 10);
    let longer: Vec<u64> = vec![1; 30];
    lab.preset(0, &longer, 1);
    lab.preset(1, &longer, 1);
    lab.start_all();
    lab.elect(0);
    lab.heartbeat(0);
    assert_eq!(lab.last(2), lab.last(0));
    lab.step(0, ReplicaEvent::Role(RoleEvent::Tick));
    assert_eq!(lab.replica(0).replicator(&name(2)).unwrap().state(), ReplicationState::Stream);
}

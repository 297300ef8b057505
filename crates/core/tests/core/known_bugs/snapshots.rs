//! Bugs of snapshots that shipped in other engines (`known-bugs.md` 22, 50 and 60 to 74), each a test, as far as they are the role's.
//! Those of the files are in the store, those of the machine in `quorate`.

use quorate_core::{
    Effect, Index, Member, Membership, Position, ReplicationState, RoleEvent, SnapshotBase, SnapshotWanted,
    Term,
};

use crate::script::Lab;
use crate::world::{ReplicaEvent, Snapshot, name};

/// Where the log of node 0 begins, where its snapshots end, and what the log has.
const START: u64 = 6;
const OLDER: u64 = 7;
const NEWER: u64 = 8;
const LAST: u64 = 10;

/// Node 0 and node 1 have ten entries of term 1, of which node 0 has forgotten six and has a snapshot; node 2 has nothing.
fn behind() -> Lab {
    behind_with(&[])
}

/// The same, and node 2 has a log with these terms.
fn behind_with(terms: &[u64]) -> Lab {
    let mut lab = Lab::new(3, 0);
    (0..2).for_each(|at| lab.preset(at, &[1; LAST as usize], 2));
    lab.preset(2, terms, 2);
    lab.nodes[0].disk.compacted = START;
    lab.start_all();
    ready(&mut lab, 0, OLDER);
    lab.elect(0);
    lab.settle();
    lab
}

fn base(lab: &Lab, at: u64) -> SnapshotBase {
    let at = lab.nodes[0].disk.position(Index(at)).expect("node 0 has it on disk");
    SnapshotBase { at, time_ms: 1_000, membership: lab.founding() }
}

/// A node has a snapshot of what node 0 had, published.
fn ready(lab: &mut Lab, node: usize, at: u64) {
    let (base, covers) = (base(lab, at), lab.nodes[0].disk.log[..at as usize].to_vec().into());
    publish(lab, node, Snapshot { base, covers, digests: Vec::new().into() });
}

fn publish(lab: &mut Lab, node: usize, snapshot: Snapshot) {
    let base = snapshot.base.clone();
    lab.nodes[node].disk.snapshots.publish(snapshot);
    lab.common(node, RoleEvent::SnapshotReady(base));
}

/// The machine of a node is made of the snapshot up to here.
fn restored(lab: &mut Lab, node: usize, at: u64) {
    lab.nodes[node].applied = lab.nodes[0].disk.log[..at as usize].to_vec();
    lab.common(node, RoleEvent::ApplierRestarted(Index(at)));
}

fn offers(lab: &mut Lab, node: usize) -> Vec<u64> {
    let offered = |wanted| match wanted {
        SnapshotWanted::Offered { at, .. } => Some(at.index.0),
        SnapshotWanted::Reaching(_) => None,
    };
    std::mem::take(&mut lab.nodes[node].wanted).into_iter().filter_map(offered).collect()
}

fn state_of_replicator(lab: &Lab) -> ReplicationState {
    lab.replica(0).replicator(&name(2)).expect("node 0 leads").state()
}

#[test]
fn a_peer_that_lacks_what_is_forgotten_is_offered_a_snapshot_and_follows_from_its_end() {
    let mut lab = behind();
    assert_eq!(state_of_replicator(&lab), ReplicationState::Snapshot);
    lab.heartbeat(0);
    assert!(offers(&mut lab, 2).contains(&OLDER), "with each heartbeat");
    ready(&mut lab, 2, OLDER);
    assert_eq!((lab.last(2), lab.commit(2)), (OLDER, OLDER), "it takes the place of the log");
    assert_eq!(lab.state(2).durable(), Index::ZERO, "nothing is claimed that is not on disk");
    lab.persist(2);
    assert_eq!(lab.state(2).durable(), Index(OLDER));
    assert_eq!(lab.nodes[2].disk.compacted, OLDER);
    lab.heartbeat(0);
    lab.settle();
    assert_eq!(state_of_replicator(&lab), ReplicationState::Stream);
    assert_eq!((lab.last(2), lab.commit(2)), (lab.last(0), lab.commit(0)));
    assert!(lab.nodes[2].applied.is_empty(), "its machine is made of the snapshot first");
    restored(&mut lab, 2, OLDER);
    assert_eq!(lab.nodes[2].applied.len() as u64, lab.commit(2));
    assert!(offers(&mut lab, 2).is_empty() || state_of_replicator(&lab) == ReplicationState::Stream);
}

#[test]
fn bug_22_a_candidate_that_is_offered_a_snapshot_follows_and_fetches_it() {
    let mut lab = behind();
    offers(&mut lab, 2);
    lab.isolate(2);
    // The leader goes on with node 1, until node 2 has waited long enough.
    let turn = |lab: &mut Lab| {
        lab.heartbeat(0);
        lab.tick(2);
    };
    lab.until(|lab| !lab.follows(2), turn);
    // What it has by then lies there until it follows.
    ready(&mut lab, 2, OLDER);
    assert_eq!((lab.last(2), lab.commit(2)), (0, 0), "a candidate does not replace its log");
    lab.heal();
    lab.heartbeat(0);
    assert!(lab.follows(2) && lab.leads(0));
    assert!(offers(&mut lab, 2).contains(&OLDER));
}

#[test]
fn bug_50_the_membership_in_force_is_the_snapshots() {
    let mut lab = behind();
    let mut base = base(&lab, OLDER);
    let moved = Member { raft: "elsewhere:7000".to_owned(), ..Member::default() };
    base.membership.members.insert(name(1), moved.clone());
    let covers = lab.nodes[0].disk.log[..OLDER as usize].to_vec().into();
    let membership: Membership = base.membership.clone();
    publish(&mut lab, 2, Snapshot { base, covers, digests: Vec::new().into() });
    assert_eq!(lab.state(2).membership(), &membership);
    assert_eq!(lab.nodes[2].memberships.last(), Some(&membership), "its shell is told");
}

#[test]
fn bug_62_an_older_snapshot_that_is_ready_later_changes_nothing() {
    let mut lab = behind();
    ready(&mut lab, 2, NEWER);
    lab.persist(2);
    ready(&mut lab, 2, OLDER);
    assert_eq!((lab.last(2), lab.commit(2)), (NEWER, NEWER));
    assert_eq!(lab.state(2).snapshot().map(|at| at.index), Some(Index(NEWER)));
}

#[test]
fn bug_63_two_snapshots_one_soon_after_the_other_and_one_where_another_term_stood() {
    // Entries of another leader, in term 2, that no one else has: at the snapshot's index another term stands.
    let mut lab = behind_with(&[1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
    lab.heartbeat(0);
    lab.settle();
    assert!(offers(&mut lab, 2).contains(&OLDER), "the same index is not the same entry");
    ready(&mut lab, 2, OLDER);
    ready(&mut lab, 2, NEWER);
    assert_eq!(lab.last(2), NEWER);
    lab.persist(2);
    assert_eq!((lab.nodes[2].disk.compacted, lab.state(2).durable()), (NEWER, Index(NEWER)));
    lab.heartbeat(0);
    lab.settle();
    assert_eq!((lab.last(2), lab.commit(2)), (lab.last(0), lab.commit(0)));
}

#[test]
fn bug_65_a_peer_that_crashes_while_it_fetches_is_offered_the_snapshot_again() {
    let mut lab = behind();
    assert!(!offers(&mut lab, 2).is_empty());
    lab.crash(2);
    lab.heartbeat(0);
    lab.restart(2);
    lab.heartbeat(0);
    lab.settle();
    lab.heartbeat(0);
    assert_eq!(state_of_replicator(&lab), ReplicationState::Snapshot);
    assert!(offers(&mut lab, 2).contains(&OLDER));
}

#[test]
fn bug_69_a_log_that_is_behind_its_snapshot_is_replaced_at_the_start() {
    let mut lab = behind();
    // It crashed between the publication of what it had fetched and the write that replaces its log.
    let snapshot = Snapshot {
        base: base(&lab, OLDER),
        covers: lab.nodes[0].disk.log[..OLDER as usize].to_vec().into(),
        digests: Vec::new().into(),
    };
    lab.nodes[2].disk.snapshots.publish(snapshot.clone());
    lab.crash(2);
    lab.nodes[2].disk.hard_state.term = Term(lab.term(0));
    lab.restart(2);
    lab.common(2, RoleEvent::SnapshotReady(snapshot.base));
    assert_eq!((lab.commit(2), lab.last(2)), (OLDER, OLDER));
}

/// The machine is made of the snapshot that was fetched, which says what is committed; the log is another one, whose end no one ever
/// committed. What the snapshot says must not be taken for that log's.
#[test]
fn bug_69_a_log_that_ends_below_the_machine_is_not_taken_for_committed() {
    // It ends below the machine, at it, and above it.
    for terms in [&[1, 1, 2, 2][..], &[1, 1, 2, 2, 2, 2, 2], &[1, 1, 2, 2, 2, 2, 2, 2, 2]] {
        let mut lab = Lab::new(3, 0);
        (0..2).for_each(|at| lab.preset(at, &[1; LAST as usize], 2));
        lab.start_all();
        lab.elect(0);
        lab.settle();
        let covers = lab.nodes[0].disk.log[..OLDER as usize].to_vec();
        lab.crash(2);
        lab.preset(2, terms, 2);
        lab.start_restored(2, Index(OLDER), covers);
        assert_eq!((lab.commit(2), lab.last(2)), (0, terms.len() as u64));
        // An applier that lives on tells the role again what it has.
        lab.common(2, RoleEvent::Applied(Index(OLDER)));
        assert_eq!(lab.commit(2), 0);
        // The leader is heard before the snapshotter is: its entries replace that end.
        lab.heartbeat(0);
        lab.settle();
        assert_eq!((lab.commit(2), lab.last(2)), (lab.commit(0), lab.last(0)));
        assert_eq!(lab.nodes[2].applied.len() as u64, lab.commit(0));
    }
}

/// A snapshot that was said to be there cannot be read: what is there is offered in its place, and nothing where nothing is.
#[test]
fn a_snapshot_that_cannot_be_read_is_offered_no_more() {
    let mut lab = behind();
    ready(&mut lab, 0, NEWER);
    lab.crash(2);
    lab.start(2);
    lab.heartbeat(0);
    assert!(offers(&mut lab, 2).ends_with(&[NEWER]));
    let left = base(&lab, START);
    lab.common(0, RoleEvent::NoSnapshot);
    lab.common(0, RoleEvent::SnapshotReady(left));
    lab.heartbeat(0);
    assert!(offers(&mut lab, 2).ends_with(&[START]));
    lab.common(0, RoleEvent::NoSnapshot);
    assert_eq!(lab.state(0).snapshot(), None);
    lab.heartbeat(0);
    assert!(offers(&mut lab, 2).is_empty(), "nor by a replicator that has offered it");
    assert_eq!(state_of_replicator(&lab), ReplicationState::Snapshot);
    // Of no use to a peer, which would lack what follows.
    let below = base(&lab, START - 1);
    lab.common(0, RoleEvent::SnapshotReady(below));
    assert_eq!(lab.state(0).snapshot(), None);
    lab.heartbeat(0);
    assert!(offers(&mut lab, 2).is_empty());
    ready(&mut lab, 0, OLDER);
    lab.heartbeat(0);
    assert!(offers(&mut lab, 2).ends_with(&[OLDER]));
}

/// It was being written while another one was fetched: what wrote it waits until it is published, and takes no other before.
#[test]
fn a_snapshot_that_was_written_across_an_install_is_published() {
    let mut lab = behind();
    ready(&mut lab, 2, OLDER);
    lab.persist(2);
    let written = ReplicaEvent::Role(RoleEvent::SnapshotWritten(Index(START)));
    let now = lab.now;
    let effects = lab.nodes[2].replica.as_mut().expect("it runs").step(now, written);
    assert!(effects.contains(&Effect::PublishSnapshot(Index(START))), "{effects:?}");
}

/// A snapshotter that ended took with it what it was asked for.
#[test]
fn a_machine_that_waits_for_a_snapshot_asks_each_snapshotter_that_starts() {
    let mut lab = behind();
    lab.crash(0);
    lab.restart(0);
    lab.common(0, RoleEvent::ApplierRestarted(Index::ZERO));
    let reaching = SnapshotWanted::Reaching(Index(START));
    let below = base(&lab, START - 1);
    for says in [RoleEvent::NoSnapshot, RoleEvent::SnapshotReady(below)] {
        lab.nodes[0].wanted.clear();
        lab.common(0, says);
        assert_eq!(lab.nodes[0].wanted.as_slice(), std::slice::from_ref(&reaching));
    }
    ready(&mut lab, 0, OLDER);
    restored(&mut lab, 0, OLDER);
    lab.nodes[0].wanted.clear();
    lab.common(0, RoleEvent::NoSnapshot);
    assert_eq!(lab.nodes[0].wanted, [], "it runs");
}

#[test]
fn bug_74_the_log_is_forgotten_no_further_than_its_snapshot_its_disk_and_its_memory() {
    let mut lab = Lab::new(1, 0);
    lab.config.tail_bytes_max = 0;
    lab.preset(0, &[1; LAST as usize], 1);
    lab.load_newest = Some(2);
    lab.start_all();
    lab.elect(0);
    lab.settle();
    let forget = |lab: &mut Lab, through: u64| {
        lab.common(0, RoleEvent::Compact(Index(through)));
        lab.state(0).tail().start().index.0
    };
    assert_eq!(forget(&mut lab, 5), 0, "without a snapshot nothing goes");
    ready(&mut lab, 0, OLDER);
    assert_eq!(forget(&mut lab, 5), 5);
    assert_eq!(forget(&mut lab, 3), 5, "what went does not come back");
    assert_eq!(forget(&mut lab, LAST), OLDER, "no further than the snapshot");
    assert_eq!(lab.nodes[0].disk.compacted, OLDER);
}

/// A snapshot is published once the log is on disk as far as it reaches (rule 10).
#[test]
fn rule_10_a_leader_publishes_no_snapshot_of_what_its_disk_does_not_have() {
    let mut lab = Lab::new(1, 0);
    lab.start_all();
    lab.elect(0);
    lab.settle();
    lab.propose(0, "one");
    let last = lab.last(0);
    let replica = lab.nodes[0].replica.as_mut().expect("it runs");
    let written = ReplicaEvent::Role(RoleEvent::SnapshotWritten(Index(last)));
    let now = lab.now;
    let effects = replica.step(now, written);
    assert!(!effects.contains(&Effect::PublishSnapshot(Index(last))), "{effects:?}");
    let sequence = lab.nodes[0].disk.complete_one().expect("a write waits");
    let replica = lab.nodes[0].replica.as_mut().expect("it runs");
    let effects = replica.step(now, ReplicaEvent::Role(RoleEvent::Persisted(sequence)));
    assert!(effects.contains(&Effect::PublishSnapshot(Index(last))), "{effects:?}");
}

/// The machine could not be made of any snapshot of this node, and its log does not begin with the first entry.
#[test]
fn a_machine_that_lacks_more_than_the_log_has_waits_for_a_snapshot_of_a_peer() {
    let mut lab = behind();
    lab.crash(0);
    lab.restart(0);
    lab.common(0, RoleEvent::ApplierRestarted(Index::ZERO));
    let reaching = SnapshotWanted::Reaching(Index(START));
    assert!(lab.nodes[0].wanted.contains(&reaching), "{:?}", lab.nodes[0].wanted);
    lab.nodes[0].applied.clear();
    lab.elect(1);
    lab.settle();
    assert!(lab.nodes[0].applied.is_empty(), "it is handed nothing meanwhile");
    assert!(lab.commit(0) > START, "and follows");
    assert_ne!(lab.state(0).tail().last(), Position::ORIGIN);
    ready(&mut lab, 0, NEWER);
    restored(&mut lab, 0, NEWER);
    assert_eq!(lab.nodes[0].applied.len() as u64, lab.commit(0));
}

//! Bugs of membership changes that shipped in other engines (`known-bugs.md` 46 to 50), each a test: what is in force, and when a
//! change begins and ends. Who leaves and who comes back is in `removed.rs`.

use crate::script::{Lab, Link};
use crate::world::name;
use quorate_core::{Change, ChangeRefusal, EntryKind, Index, Member, Membership, Standing};

pub(super) fn add(node: usize) -> Change {
    Change::AddLearner { node: name(node), member: Member::default() }
}

pub(super) fn promote(node: usize) -> Change {
    Change::Promote { node: name(node) }
}

pub(super) fn demote(node: usize) -> Change {
    Change::Demote { node: name(node) }
}

pub(super) fn remove(node: usize) -> Change {
    Change::Remove { node: name(node) }
}

/// The voters of the membership in force at this node, and of the old half.
fn voters(lab: &Lab, at: usize) -> (Vec<String>, Vec<String>) {
    let names =
        |of: &std::collections::BTreeSet<quorate_core::NodeId>| of.iter().map(ToString::to_string).collect();
    let membership = lab.state(at).membership();
    (names(&membership.voters), names(&membership.outgoing))
}

/// The memberships in the log of this node: each joint or not.
fn memberships(lab: &Lab, at: usize) -> Vec<bool> {
    let tail = lab.state(at).tail();
    let entries = (1..=lab.last(at)).filter_map(|index| tail.get(Index(index)));
    let of = entries.filter(|entry| entry.kind == EntryKind::Membership);
    of.map(|entry| Membership::decode(&entry.payload).expect("it is one").is_joint()).collect()
}

/// Three voters that n0 leads, and n3, a learner that has everything.
pub(super) fn with_learner() -> Lab {
    let mut lab = Lab::elected(3);
    let joiner = lab.join();
    assert_eq!(lab.state(joiner).standing(), Standing::Outside);
    lab.change(0, add(joiner)).expect("it is new");
    lab.settle();
    lab.heartbeat(0);
    assert_eq!(lab.state(joiner).standing(), Standing::Learner);
    assert_eq!((lab.last(joiner), lab.commit(joiner)), (lab.last(0), lab.commit(0)), "it was sent the log");
    lab
}

#[test]
fn bug_46_no_change_is_begun_before_an_entry_of_the_own_term_is_committed() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    lab.campaign(0);
    while !lab.leads(0) {
        lab.deliver_on(Link::default());
        (0..3).for_each(|at| lab.persist(at));
    }
    let refused = lab.change(0, remove(2));
    assert_eq!(refused, Err(ChangeRefusal::NotCommittedInTerm { first: Index(1) }));
    assert_eq!(lab.last(0), 1, "nothing but the no-op");
    lab.settle();
    assert_eq!(lab.change(0, remove(2)), Ok(Index(2)));
}

/// Two leaders, each with a change of its own, of four voters: had the first not waited for its term, each could commit its own.
#[test]
fn bug_46_two_leaders_do_not_commit_by_configurations_that_do_not_meet() {
    let mut lab = Lab::elected(4);
    // n0 is alone with a change that it has begun.
    lab.isolate(0);
    lab.change(0, remove(3)).expect("all are connected, as far as it knows");
    lab.persist(0);
    // n1 leads the others, who never heard of it, and makes its change.
    lab.elect(1);
    lab.change(1, remove(0)).expect("three of four are connected");
    lab.settle();
    assert_eq!(voters(&lab, 1).0, ["n1", "n2", "n3"]);
    let (commit, term) = (lab.commit(1), lab.term(1));
    // n0 is back, with n1 gone: what it has is not enough.
    lab.heal();
    lab.isolate(1);
    lab.wait_ms(5_000);
    for _ in 0..4 {
        lab.tick_due(0);
        lab.settle();
    }
    assert!(!lab.leads(0));
    assert!(lab.term(0) <= term || lab.commit(0) <= commit);
    assert_eq!(memberships(&lab, 2), [true, false]);
}

#[test]
fn bug_47_a_joint_configuration_rules_from_its_append_and_needs_both_halves() {
    let mut lab = with_learner();
    let before = lab.commit(0);
    // Of four voters two answer, which are a majority of the old three.
    lab.isolate(2);
    lab.isolate(3);
    lab.change(0, promote(3)).expect("it has everything");
    assert_eq!(voters(&lab, 0).0, ["n0", "n1", "n2", "n3"]);
    lab.settle();
    assert_eq!(lab.commit(0), before, "two of four are no majority");
    assert_eq!(memberships(&lab, 0), [false, true]);
    // And a majority of the new ones without one of the old is none either.
    let mut lab = Lab::elected(3);
    let before = lab.commit(0);
    lab.isolate(0);
    lab.change(0, remove(2)).expect("all are connected, as far as it knows");
    lab.settle();
    assert_eq!(lab.commit(0), before);
}

#[test]
fn bug_47_there_is_one_change_at_a_time_for_the_membership_that_is_in_force() {
    let mut lab = with_learner();
    let present = lab.state(0).membership_index();
    let outdated = ChangeRefusal::Outdated { expected: Index(0), present };
    assert_eq!(lab.change_if(0, remove(1), Index(0)), Err(outdated));
    let index = lab.change_if(0, promote(3), present).expect("it is the one in force");
    assert_eq!(lab.change(0, remove(1)), Err(ChangeRefusal::UnderWay { index }));
    let outdated = ChangeRefusal::Outdated { expected: present, present: index };
    assert_eq!(lab.change_if(0, remove(1), present), Err(outdated));
    lab.settle();
    assert_eq!(lab.state(0).membership_index(), index.next(), "it ended by itself");
    assert!(lab.change(0, remove(1)).is_ok());
}

#[test]
fn bug_48_a_truncated_change_brings_back_voters_standing_and_replicators() {
    let mut lab = with_learner();
    lab.cut_both(0, 1);
    lab.cut_both(0, 2);
    // n3 alone hears that it is promoted.
    lab.change(0, promote(3)).expect("it has everything");
    lab.settle();
    assert_eq!((lab.state(0).standing(), lab.state(3).standing()), (Standing::Voter, Standing::Voter));
    assert!(lab.state(3).membership().is_joint());
    lab.cut_both(3, 1);
    lab.cut_both(3, 2);
    lab.elect(1);
    lab.heal();
    lab.propose(1, "instead");
    lab.settle();
    lab.heartbeat(1);
    assert_eq!(lab.terms(3), lab.terms(1));
    assert_eq!(lab.state(3).standing(), Standing::Learner, "the promotion never was");
    assert_eq!(voters(&lab, 3), voters(&lab, 1));
    assert_eq!(lab.nodes[3].memberships.last(), Some(lab.state(1).membership()));
    assert!(lab.replica(1).replicator(&name(3)).is_some() && lab.replica(0).replicator(&name(3)).is_none());
}

#[test]
fn bug_49_a_joint_configuration_ends_once_and_not_before_it_is_committed() {
    let mut lab = with_learner();
    lab.change(0, promote(3)).expect("it has everything");
    lab.persist(0);
    lab.heartbeat_alone(0);
    assert_eq!(memberships(&lab, 0), [false, true], "no other node has it");
    lab.settle();
    for _ in 0..3 {
        lab.heartbeat(0);
        lab.propose(0, "more");
        lab.settle();
    }
    assert_eq!(memberships(&lab, 0), [false, true, false]);
    assert_eq!(voters(&lab, 2), (vec!["n0".into(), "n1".into(), "n2".into(), "n3".into()], vec![]));
}

#[test]
fn bug_49_a_new_leader_ends_the_joint_configuration_that_it_found_once() {
    let mut lab = with_learner();
    lab.change(0, promote(3)).expect("it has everything");
    // n1 alone gets it.
    lab.deliver(0, 1);
    lab.persist(1);
    lab.crash(0);
    lab.wire.clear();
    lab.campaign(1);
    while !lab.leads(1) {
        lab.deliver_on(Link::default());
        (1..4).for_each(|at| lab.persist(at));
    }
    assert_eq!(
        memberships(&lab, 1),
        [false, true],
        "it is not committed, and neither is anything of its term"
    );
    lab.settle();
    lab.heartbeat(1);
    assert_eq!(memberships(&lab, 1), [false, true, false]);
    lab.start(0);
    lab.heartbeat(1);
    lab.heartbeat(1);
    assert_eq!(memberships(&lab, 0), [false, true, false]);
}

#[test]
fn bug_50_a_joint_configuration_is_recovered_and_ended_after_all_have_restarted() {
    let mut lab = with_learner();
    lab.change(0, promote(3)).expect("it has everything");
    lab.persist(0);
    (1..4).for_each(|at| {
        lab.deliver(0, at);
        lab.persist(at);
    });
    (0..4).for_each(|at| lab.crash(at));
    lab.wire.clear();
    (0..4).for_each(|at| lab.start(at));
    assert!((0..4).all(|at| lab.state(at).membership().is_joint()));
    assert_eq!(lab.state(3).standing(), Standing::Voter);
    lab.elect(3);
    lab.heartbeat(3);
    assert!((0..4).all(|at| memberships(&lab, at) == [false, true, false]));
}

/// Its disk fills between the joint configuration and the end of it: what remains needs no room there.
#[test]
fn a_full_disk_does_not_keep_its_own_removal_from_ending() {
    let mut lab = Lab::elected(2);
    lab.settle();
    lab.change(0, remove(1)).expect("both are connected");
    lab.deliver(0, 1);
    lab.persist(1);
    lab.wire.clear();
    // The answer that counts says that the disk is full.
    lab.common(1, quorate_core::RoleEvent::DiskFull(true));
    lab.heartbeat(0);
    lab.settle();
    assert_eq!(voters(&lab, 0), (vec!["n0".into()], vec![]));
    lab.propose(0, "alone");
    lab.settle();
    assert_eq!(lab.commit(0), lab.last(0));
}

/// Of two voters one recovers, and can never end that by itself: its removal needs what it acknowledges, and nothing more of it.
#[test]
fn one_of_two_voters_that_recovers_can_be_removed() {
    let mut lab = Lab::elected(2);
    lab.propose(0, "both have this");
    lab.settle();
    lab.crash(1);
    lab.nodes[1].disk.lose_suffix(1);
    lab.start(1);
    lab.heartbeat(0);
    lab.settle();
    assert!(lab.state(1).hard_state().recovering);
    lab.change(0, remove(1)).expect("it acknowledges");
    lab.settle();
    assert_eq!(voters(&lab, 0), (vec!["n0".into()], vec![]));
}

#[test]
fn a_change_is_refused_with_its_arithmetic() {
    let mut lab = with_learner();
    let refused = |needed, connected, voters| Err(ChangeRefusal::NoQuorum { voters, needed, connected });
    // n2 does not answer: without n1 there would be one of two.
    lab.isolate(2);
    lab.wait(lab.config.election_timeout / 2);
    lab.heartbeat(0);
    lab.wait(lab.config.election_timeout / 2);
    lab.heartbeat(0);
    assert_eq!(lab.change(0, remove(1)), refused(2, 1, 2));
    assert_eq!(lab.change(0, demote(1)), refused(2, 1, 2));
    // What lacks too much, or does not answer, cannot be counted on.
    lab.config.promotion_lag_entries_max = 2;
    let mut lab = {
        let mut other = Lab::new(3, 1);
        other.config.promotion_lag_entries_max = 2;
        other.start_all();
        other.elect(0);
        other
    };
    lab.wire.clear();
    lab.cut.insert((3, 0));
    for word in ["a", "b", "c"] {
        lab.propose(0, word);
    }
    lab.settle();
    let lag = lab.last(0) - 1;
    assert_eq!(lab.change(0, promote(3)), Err(ChangeRefusal::FarBehind { node: name(3), lag, lag_max: 2 }));
    for _ in 0..12 {
        lab.heartbeat(0);
    }
    assert_eq!(lab.change(0, promote(3)), Err(ChangeRefusal::NotConnected { node: name(3) }));
    lab.common(0, quorate_core::RoleEvent::DiskFull(true));
    assert_eq!(lab.change(0, remove(3)), Err(ChangeRefusal::NoSpace));
}

#[test]
fn no_change_is_begun_while_leadership_is_handed_over() {
    let mut lab = Lab::elected(3);
    lab.cut_both(0, 1);
    lab.propose(0, "n1 lacks this");
    lab.transfer(0, Some(1));
    assert_eq!(lab.change(0, remove(2)), Err(ChangeRefusal::Transferring { to: name(1) }));
}

#[test]
fn a_group_grows_from_one_to_five_and_shrinks_back() {
    let mut lab = Lab::elected(1);
    for joiner in 1..5 {
        assert_eq!(lab.join(), joiner);
        lab.change(0, add(joiner)).expect("it is new");
        lab.settle();
        lab.heartbeat(0);
        lab.change(0, promote(joiner)).expect("it has everything");
        lab.settle();
        lab.propose(0, "meanwhile");
        lab.settle();
        assert_eq!(voters(&lab, 0).0.len(), joiner + 1);
        assert_eq!((lab.commit(0), voters(&lab, joiner)), (lab.last(0), voters(&lab, 0)));
    }
    for leaves in (1..5).rev() {
        lab.change(0, remove(leaves)).expect("the others are connected");
        lab.settle();
        lab.heartbeat(0);
        assert_eq!(lab.state(leaves).standing(), Standing::Outside);
        assert_eq!((lab.commit(0), voters(&lab, 0).0.len()), (lab.last(0), leaves));
    }
    assert_eq!(lab.change(0, remove(0)), Err(ChangeRefusal::LastVoter { node: name(0) }));
    lab.read(0, 9);
    assert_eq!(lab.nodes[0].reads.get(&9), Some(&Some(Index(lab.commit(0)))));
}

#[test]
fn a_learner_reads_and_receives_and_its_answers_count_for_nothing() {
    let mut lab = with_learner();
    lab.read(3, 5);
    lab.settle();
    assert_eq!(lab.nodes[3].reads.get(&5), Some(&Some(Index(lab.commit(0)))));
    lab.isolate(1);
    lab.isolate(2);
    let before = lab.commit(0);
    lab.propose(0, "n0 and a learner");
    lab.settle();
    assert_eq!((lab.commit(0), lab.last(3)), (before, before + 1));
    for _ in 0..3 {
        lab.wait_ms(2_500);
        lab.tick(3);
    }
    assert!(lab.follows(3), "it does not stand");
}

//! Bugs around members that leave and come back (`known-bugs.md` 51 to 53), each a test.

use super::members::{add, demote, promote, remove, with_learner};
use crate::script::{Lab, Link};
use crate::world::{Role, name};
use quorate_core::{
    AppendResult, Body, Boot, Change, Incarnation, Index, LogId, Member, Message, Notice, RoleEvent,
    Standing, Term, VoteKind, VoteRequest,
};

fn removals(lab: &Lab, at: usize) -> usize {
    lab.nodes[at].notices.iter().filter(|notice| matches!(notice, Notice::Removed { .. })).count()
}

#[test]
fn bug_51_a_removed_leader_commits_its_removal_without_itself_and_steps_down() {
    let mut lab = Lab::elected(3);
    lab.change(0, remove(0)).expect("the others are connected");
    lab.propose(0, "meanwhile");
    // The joint configuration is committed by both halves; then the final one is appended, whose voters are n1 and n2.
    while !lab.state(0).membership().voters.contains(&name(1)) || lab.state(0).membership().is_joint() {
        lab.deliver_on(Link::default());
        (0..3).for_each(|at| lab.persist(at));
    }
    let index = lab.state(0).membership_index();
    lab.persist(0);
    lab.deliver(0, 1);
    lab.persist(1);
    lab.deliver(1, 0);
    assert!(lab.leads(0) && lab.commit(0) < index.0, "it and n1 are one of two voters");
    let term = lab.term(0);
    lab.settle();
    assert!(!lab.leads(0) && lab.commit(0) >= index.0);
    assert_eq!((lab.state(0).standing(), removals(&lab, 0)), (Standing::Outside, 1));
    // It has had another one campaign, which needs no timeout for that.
    let leader = (1..3).find(|at| lab.leads(*at)).expect("one of the others");
    assert_eq!(lab.term(leader), term + 1);
    lab.pass(leader, 12);
    assert!(lab.follows(0) && lab.leads(leader) && lab.term(leader) == term + 1);
}

#[test]
fn bug_51_a_demoted_leader_steps_down_and_follows() {
    let mut lab = Lab::elected(3);
    lab.change(0, demote(0)).expect("the others are connected");
    lab.settle();
    let leader = (1..3).find(|at| lab.leads(*at)).expect("one of the others");
    lab.heartbeat(leader);
    assert_eq!((lab.state(0).standing(), removals(&lab, 0)), (Standing::Learner, 0));
    assert_eq!(lab.commit(0), lab.commit(leader));
}

#[test]
fn bug_51_a_removed_member_is_told_and_its_replicator_stops_then() {
    let mut lab = Lab::elected(3);
    lab.change(0, remove(2)).expect("the others are connected");
    lab.settle();
    assert!(lab.replica(0).replicator(&name(2)).is_some(), "it is not known to know");
    lab.heartbeat(0);
    assert_eq!((lab.state(2).standing(), removals(&lab, 2)), (Standing::Outside, 1));
    assert!(lab.replica(0).replicator(&name(2)).is_none());
    lab.pass(0, 12);
    assert!(lab.follows(2) && lab.leads(0) && lab.term(2) == lab.term(0));
}

#[test]
fn bug_51_a_removed_member_that_does_not_answer_is_given_up() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    lab.change(0, remove(2)).expect("the others are connected");
    lab.settle();
    lab.pass(0, 9);
    assert!(lab.replica(0).replicator(&name(2)).is_some());
    lab.pass(0, 2);
    assert!(lab.leads(0) && lab.replica(0).replicator(&name(2)).is_none());
}

/// It has heard nothing of its removal, and is back.
#[test]
fn bug_51_a_removed_member_that_missed_it_disturbs_no_one_and_is_told_by_voters() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    lab.change(0, remove(2)).expect("the others are connected");
    lab.settle();
    for _ in 0..105 {
        lab.heartbeat(0);
    }
    lab.heal();
    let term = lab.term(0);
    assert_eq!(lab.state(2).standing(), Standing::Voter, "as far as it knows");
    lab.campaign(2);
    lab.settle();
    assert!(lab.leads(0) && lab.term(0) == term && lab.term(1) == term);
    assert!(lab.nodes[2].notices.iter().any(|notice| matches!(notice, Notice::ToldNoVoter { .. })));
    assert_eq!(lab.state(2).standing(), Standing::Learner);
    lab.pass(0, 12);
    assert!(lab.follows(2) && lab.leads(0) && lab.term(2) == term);
    // It is taken in again, and nothing of this stays.
    lab.change(0, add(2)).expect("it is no member");
    lab.settle();
    lab.heartbeat(0);
    lab.change(0, promote(2)).expect("it has everything");
    lab.settle();
    lab.heartbeat(0);
    assert_eq!(lab.state(2).standing(), Standing::Voter);
    lab.elect(2);
}

/// With equal logs the last entry alone would be no reason to refuse it.
#[test]
fn bug_51_voters_refuse_who_is_known_to_be_removed_even_without_a_leader() {
    let mut lab = Lab::elected(3);
    lab.change(0, remove(2)).expect("the others are connected");
    lab.settle();
    lab.heartbeat(0);
    let last = lab.state(1).tail().last().log_id();
    lab.restart(2);
    assert_eq!(lab.state(2).tail().last().log_id(), last);
    lab.crash(0);
    lab.wait_ms(5_000);
    let (term, campaign) = (lab.state(1).term(), lab.state(1).term().next());
    for (kind, term) in [(VoteKind::Pre, term), (VoteKind::Real, campaign)] {
        let body = Body::VoteRequest(VoteRequest { kind, campaign, last, forced: true, applied: None });
        let message = Message { from: name(2), to: name(1), boot: Boot(2), term, body };
        lab.common(1, RoleEvent::Message(message));
        lab.persist(1);
        let replies: Vec<_> = lab.wire.drain(..).collect();
        let Body::VoteReply(reply) = &replies[0].body else { panic!("{replies:?}") };
        assert_eq!((reply.granted, reply.no_voter), (false, true), "{kind:?}");
    }
}

/// Of two voters one is removed, and it alone has the last entry: the other cannot win without its vote, and it would not give it.
#[test]
fn bug_51_who_alone_has_its_removal_stands_so_that_it_is_committed() {
    let mut lab = Lab::elected(2);
    lab.change(0, remove(0)).expect("n1 is connected");
    lab.persist(0);
    lab.deliver(0, 1);
    lab.persist(1);
    lab.deliver(1, 0);
    lab.persist(0);
    assert_eq!(lab.state(0).membership().voters.len(), 1, "the final one was appended");
    assert!(!lab.state(0).membership().is_joint());
    lab.crash(0);
    lab.wire.clear();
    lab.start(0);
    assert_eq!(lab.state(0).standing(), Standing::Voter, "it is not known to be committed");
    assert!(lab.last(0) > lab.last(1));
    for _ in 0..40 {
        if (0..2).any(|at| lab.leads(at)) {
            break;
        }
        let due = |at: usize| lab.nodes[at].deadline().expect("one");
        let next = usize::from(due(0) > due(1));
        lab.tick_due(next);
        lab.settle();
    }
    lab.settle();
    // n0 led until its removal was committed, and had n1 lead then.
    assert!(lab.leads(1) && !lab.state(1).membership().members.contains_key(&name(0)));
    assert_eq!(lab.commit(1), lab.last(1));
    assert_eq!(removals(&lab, 0), 1);
}

#[test]
fn bug_51_a_removal_that_is_truncated_was_none() {
    let mut lab = Lab::elected(3);
    lab.isolate(0);
    lab.change(0, remove(2)).expect("all are connected, as far as it knows");
    lab.persist(0);
    lab.elect(1);
    lab.heal();
    lab.propose(1, "instead");
    lab.settle();
    lab.heartbeat(1);
    assert_eq!(lab.state(0).membership(), &lab.founding());
    assert_eq!((0..3).map(|at| removals(&lab, at)).sum::<usize>(), 0);
    lab.elect(2);
}

#[test]
fn bug_52_what_remembers_nothing_gives_no_vote() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "committed by n0 and n2");
    lab.settle();
    lab.wipe(2);
    assert_eq!(lab.state(2).standing(), Standing::Outside);
    let last = LogId { term: Term(9), index: Index(99) };
    let body = Body::VoteRequest(VoteRequest {
        kind: VoteKind::Real,
        campaign: Term(9),
        last,
        forced: false,
        applied: None,
    });
    lab.common(
        2,
        RoleEvent::Message(Message { from: name(1), to: name(2), boot: Boot(1), term: Term(9), body }),
    );
    lab.persist(2);
    let granted = |message: &Message| matches!(&message.body, Body::VoteReply(reply) if reply.granted);
    assert!(!lab.wire.iter().any(granted));
    for _ in 0..6 {
        lab.wait_ms(2_500);
        lab.tick(2);
    }
    assert!(lab.follows(2));
}

/// The new one begins to count its boots again, below what is known of the old one.
#[test]
fn bug_52_a_wiped_member_is_replaced_by_its_new_incarnation_in_one_change() {
    let mut lab = Lab::elected(3);
    lab.incarnation(0, 2, 7);
    lab.settle();
    (0..4).for_each(|_| lab.restart(2));
    lab.heartbeat(0);
    lab.heartbeat(0);
    lab.wipe(2);
    let (old, new) = (Boot(5), Boot(1));
    assert_eq!(lab.nodes[2].boot, new);
    let member = Member { incarnation: Incarnation(8), ..Member::default() };
    lab.cut_both(0, 2);
    lab.cut_both(1, 2);
    lab.change(0, Change::Replace { node: name(2), by: name(2), member }).expect("the others are connected");
    assert!(lab.state(0).membership().is_voter(&name(2)), "the old one, until that is committed");
    lab.settle();
    let membership = lab.state(0).membership();
    assert!(membership.learners.contains(&name(2)) && !membership.is_joint());
    assert_eq!(membership.members[&name(2)].incarnation, Incarnation(8));
    assert!(lab.replica(0).replicator(&name(2)).is_some());
    // Something of the old one is late.
    let body = Body::ReadIndexRequest(quorate_core::ReadIndexRequest { id: 1, recovering: false });
    let term = lab.state(0).term();
    lab.common(0, RoleEvent::Message(Message { from: name(2), to: name(0), boot: old, term, body }));
    lab.heal();
    lab.heartbeat(0);
    lab.heartbeat(0);
    assert_eq!(
        (lab.last(2), lab.commit(2)),
        (lab.last(0), lab.commit(0)),
        "it is sent the log from the beginning"
    );
    lab.change(0, promote(2)).expect("it has everything");
    lab.settle();
    lab.heartbeat(0);
    assert_eq!(lab.state(2).standing(), Standing::Voter);
    assert!(matches!(lab.replica(0).role(), Role::Leader(_)));
}

/// Its incarnation was never written down: another disk under its name begins without what the old one acknowledged.
#[test]
fn bug_53_a_replaced_member_of_unknown_incarnation_inherits_nothing() {
    let mut lab = with_learner();
    let matched = |lab: &Lab| {
        let Role::Leader(leader) = lab.replica(0).role() else { panic!("n0 leads") };
        leader.peers(lab.now).into_iter().find(|peer| peer.peer == name(3)).map(|peer| peer.matched)
    };
    assert!(matched(&lab) > Some(Index::ZERO));
    lab.isolate(3);
    lab.wipe(3);
    let member = Member { incarnation: Incarnation(77), ..Member::default() };
    lab.change(0, Change::Replace { node: name(3), by: name(3), member }).expect("the voters are connected");
    assert_eq!(matched(&lab), Some(Index::ZERO));
}

#[test]
fn bug_53_acknowledgements_of_before_a_removal_do_not_count_after_the_return() {
    let mut lab = with_learner();
    lab.propose(0, "n3 has this");
    lab.settle();
    let matched = |lab: &Lab| {
        let Role::Leader(leader) = lab.replica(0).role() else { panic!("n0 leads") };
        leader.peers(lab.now).into_iter().find(|peer| peer.peer == name(3)).map(|peer| peer.matched)
    };
    let before = matched(&lab).expect("a peer");
    // What it acknowledges is on its way while it is removed and taken in again; its disk is lost meanwhile.
    lab.propose(0, "and this");
    lab.deliver(0, 3);
    lab.persist(3);
    lab.stash(Link::between(3, 0));
    assert!(lab.late.iter().any(|m| matches!(&m.body, Body::AppendReply(r) if matches!(r.result, AppendResult::Matched { index } if index > before))));
    lab.isolate(3);
    lab.change(0, remove(3)).ok();
    lab.settle();
    lab.change(0, remove(3)).ok();
    lab.settle();
    assert!(!lab.state(0).membership().members.contains_key(&name(3)));
    lab.wipe(3);
    lab.change(0, add(3)).expect("it is no member");
    assert_eq!(matched(&lab), Some(Index::ZERO));
    lab.unstash();
    assert_eq!(matched(&lab), Some(Index::ZERO), "an answer to another session");
    lab.settle();
    lab.heal();
    lab.heartbeat(0);
    lab.heartbeat(0);
    assert_eq!(matched(&lab), Some(Index(lab.last(0))));
    assert_eq!(lab.last(3), lab.last(0));
}

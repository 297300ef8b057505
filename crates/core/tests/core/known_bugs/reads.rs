//! Bugs of membership and reads that shipped in other engines (`known-bugs.md` 46 to 59), each a test.

use crate::script::{Lab, Link};
use crate::world::{Role, name};
use quorate_core::{Body, EntryKind, Incarnation, Index, Message, ReadIndexRequest, RoleEvent};

/// n0 was elected, and its no-op is on no other disk.
fn just_elected() -> Lab {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    lab.campaign(0);
    let turn = |lab: &mut Lab| {
        lab.deliver_on(Link::default());
        (0..3).for_each(|at| lab.persist(at));
    };
    lab.until(|lab| lab.leads(0), turn);
    lab.persist(0);
    lab
}

fn changes(lab: &Lab, at: usize) -> usize {
    let tail = lab.state(at).tail();
    let kind = |index| tail.get(Index(index)).map(|entry| entry.kind);
    (1..=lab.last(at)).filter(|index| kind(*index) == Some(EntryKind::Membership)).count()
}

fn incarnation(lab: &Lab, at: usize, of: usize) -> u64 {
    lab.state(at).membership().members[&name(of)].incarnation.0
}

#[test]
fn bug_46_no_membership_entry_before_the_own_term_is_committed() {
    let mut lab = just_elected();
    lab.incarnation(0, 1, 77);
    assert_eq!(changes(&lab, 0), 0);
    lab.settle();
    assert_eq!(changes(&lab, 0), 1, "what waited is enrolled then");
}

#[test]
fn bug_47_a_membership_rules_from_its_append_and_one_at_a_time() {
    let mut lab = Lab::elected(3);
    lab.incarnation(0, 1, 77);
    assert_eq!(incarnation(&lab, 0, 1), 77);
    assert_eq!(lab.state(0).committed_membership().members[&name(1)].incarnation, Incarnation(0));
    lab.incarnation(0, 2, 78);
    assert_eq!(changes(&lab, 0), 1, "the first is not committed");
    lab.settle();
    assert_eq!((changes(&lab, 0), incarnation(&lab, 2, 2)), (2, 78));
}

#[test]
fn bug_48_a_truncated_membership_gives_way_to_the_one_before() {
    let mut lab = Lab::elected(3);
    lab.isolate(0);
    lab.incarnation(0, 1, 77);
    lab.settle();
    assert_eq!(incarnation(&lab, 0, 1), 77);
    lab.elect(1);
    lab.propose(1, "instead");
    lab.heal();
    lab.settle();
    lab.heartbeat(1);
    assert_eq!(lab.terms(0), lab.terms(1));
    assert_eq!(incarnation(&lab, 0, 1), 0);
    let told = lab.nodes[0].memberships.last().expect("it was told when it changed, and changed back");
    assert_eq!(told.members[&name(1)].incarnation, Incarnation(0));
}

#[test]
fn bug_50_memberships_above_what_is_applied_are_recovered() {
    let mut lab = Lab::elected(3);
    lab.incarnation(0, 1, 77);
    lab.persist(0);
    lab.wire.clear();
    lab.restart(0);
    assert_eq!(incarnation(&lab, 0, 1), 77);
}

#[test]
fn bug_52_an_incarnation_that_is_enrolled_stays() {
    let mut lab = Lab::elected(3);
    lab.incarnation(0, 1, 77);
    lab.settle();
    lab.incarnation(0, 1, 99);
    lab.settle();
    assert_eq!((incarnation(&lab, 0, 1), changes(&lab, 0)), (77, 1));
}

#[test]
fn bug_54_a_read_waits_for_an_entry_of_the_leaders_term() {
    let mut lab = just_elected();
    lab.read(0, 1);
    // Every peer confirms that it leads, and none has its no-op.
    for _ in 0..4 {
        lab.wire.retain(|m| !matches!(&m.body, Body::AppendEntries(a) if !a.entries.is_empty()));
        lab.deliver_on(Link::default());
    }
    assert!(lab.nodes[0].reads.is_empty());
    lab.heartbeat(0);
    assert_eq!(lab.nodes[0].reads.get(&1), Some(&Some(Index(lab.commit(0)))));
}

#[test]
fn bug_55_an_acknowledgement_from_before_a_read_does_not_confirm_it() {
    let mut lab = Lab::elected(3);
    lab.wait_ms(100);
    lab.tick(0);
    lab.deliver_on(Link { from: Some(0), to: None });
    lab.stash(Link { from: None, to: Some(0) });
    lab.read(0, 1);
    lab.deliver_on(Link { from: Some(0), to: None });
    lab.stash(Link { from: None, to: Some(0) });
    let (before, after): (Vec<Message>, Vec<Message>) = std::mem::take(&mut lab.late)
        .into_iter()
        .partition(|m| matches!(&m.body, Body::AppendReply(reply) if reply.round.0 == 0));
    assert!(!before.is_empty() && !after.is_empty());
    lab.late = before;
    lab.unstash();
    assert!(lab.nodes[0].reads.is_empty(), "heartbeats of before the read");
    lab.late = after.clone();
    lab.unstash();
    assert!(lab.nodes[0].reads.contains_key(&1));
    // A second read needs a second round; repeated answers to the first round do not confirm it.
    lab.read(0, 2);
    lab.late = after;
    lab.unstash();
    assert!(!lab.nodes[0].reads.contains_key(&2));
}

#[test]
fn bug_58_a_restarted_node_answers_no_read_without_a_quorum() {
    let mut lab = Lab::elected(3);
    lab.restart(0);
    lab.read(0, 1);
    assert_eq!(lab.nodes[0].reads.get(&1), Some(&None), "it leads no more and knows no leader");
    let mut alone = Lab::elected(3);
    alone.isolate(0);
    alone.read(0, 2);
    alone.settle();
    assert!(alone.nodes[0].reads.is_empty());
}

#[test]
fn bug_59_every_read_is_answered_or_refused() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    lab.read(0, 1);
    assert_eq!(lab.nodes[0].reads.get(&1), Some(&None), "no leader is known");
    lab.campaign(0);
    lab.read(0, 2);
    assert!(matches!(lab.replica(0).role(), Role::Candidate(_)));
    assert_eq!(lab.nodes[0].reads.get(&2), Some(&None), "a candidate");
    lab.settle();
    lab.read(1, 3);
    lab.settle();
    assert_eq!(lab.nodes[1].reads.get(&3), Some(&Some(Index(1))));
    // The leader failed: its pending reads are refused, by a timeout or by the next leader.
    lab.isolate(0);
    lab.read(1, 4);
    lab.tick_due(1);
    lab.tick_due(1);
    lab.settle();
    assert_eq!(lab.nodes[1].reads.get(&4), Some(&None));
    // A leader whose no-op is not committed yet collects reads, and refuses them when it loses its quorum.
    let mut lab = just_elected();
    lab.isolate(0);
    lab.read(0, 5);
    assert_eq!(lab.nodes[0].reads.get(&5), None, "it waits for the no-op");
    for _ in 0..11 {
        lab.heartbeat(0);
    }
    assert!(lab.follows(0));
    assert_eq!(lab.nodes[0].reads.get(&5), Some(&None));
}

/// With a majority of full disks, leadership may move among the full nodes; each leader commits its no-op and serves reads.
#[test]
fn bug_73_a_majority_of_full_disks_takes_no_reads_away() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "before");
    lab.settle();
    for at in [1, 2, 0] {
        lab.common(at, RoleEvent::DiskFull(true));
        lab.settle();
    }
    lab.elect(1);
    lab.settle();
    let leader = (0..3).find(|at| lab.leads(*at)).expect("one of them leads");
    lab.propose(leader, "refused");
    assert_eq!(lab.nodes[leader].accepted.len(), usize::from(leader == 0), "nothing new is taken");
    for at in 0..3 {
        lab.read(at, 100 + at as u64);
        lab.settle();
        let answered = lab.nodes[at].reads.get(&(100 + at as u64)).copied().flatten();
        assert!(answered.is_some(), "n{at} answers a read: {:?}", lab.nodes[at].reads);
    }
}

#[test]
fn reads_that_peers_gave_up_do_not_gather_at_a_leader_that_cannot_commit() {
    let mut lab = just_elected();
    let gathered = |lab: &Lab| match lab.replica(0).role() {
        Role::Leader(leader) => leader.gathering_reads(),
        other => panic!("it leads: {other:?}"),
    };
    let timeout = lab.config.election_timeout;
    let mut most = 0;
    for id in 0..200 {
        // The disks of the others do not complete the write of the leader's no-op, but their answers keep the leader in contact.
        // n1 asks ten times in each election timeout.
        lab.wait(timeout / 10);
        let term = lab.state(0).term();
        let request = Body::ReadIndexRequest(ReadIndexRequest { id, recovering: false });
        let boot = lab.state(1).boot();
        let ask = Message { from: name(1), to: name(0), boot, term, body: request };
        lab.common(0, RoleEvent::Message(ask));
        lab.tick(0);
        for peer in [1, 2] {
            lab.deliver(0, peer);
            lab.deliver(peer, 0);
        }
        assert!(lab.leads(0) && lab.commit(0) == 0, "it leads, and has committed nothing");
        most = most.max(gathered(&lab));
    }
    assert!((5..=21).contains(&most), "{most} wait");
}

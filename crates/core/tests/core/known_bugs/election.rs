//! Bugs of elections, terms and votes that shipped in other engines (`known-bugs.md` 1 to 23), each a test.

use crate::script::{Lab, Link};
use crate::world::{Role, name};
use quorate_core::{
    AppendEntries, Body, Boot, Index, LogId, Message, NodeId, Notice, ReplicationSession, RoleEvent, Round,
    Term, VoteKind, VoteReply, VoteRequest,
};

fn request(
    lab: &mut Lab,
    from: usize,
    to: usize,
    kind: VoteKind,
    campaign: u64,
    last: (u64, u64),
    forced: bool,
) {
    let last = LogId { term: Term(last.0), index: Index(last.1) };
    let term = Term(if kind == VoteKind::Pre { campaign - 1 } else { campaign });
    let body = Body::VoteRequest(VoteRequest { kind, campaign: Term(campaign), last, forced, applied: None });
    lab.common(to, RoleEvent::Message(Message { from: name(from), to: name(to), boot: Boot(1), term, body }));
}

/// A heartbeat.
fn heartbeat(lab: &Lab) -> Body {
    Body::AppendEntries(AppendEntries {
        session: ReplicationSession(1),
        prev: LogId::default(),
        entries: Vec::new().into(),
        commit: Index::ZERO,
        round: Round::ZERO,
        sent_at: lab.now,
        snapshot: None,
    })
}

/// The vote replies to `to` that are in flight: whether each was granted.
fn replies(lab: &Lab, to: usize) -> Vec<bool> {
    let granted = |m: &Message| match &m.body {
        Body::VoteReply(reply) if m.to == name(to) => Some(reply.granted),
        _ => None,
    };
    lab.wire.iter().filter_map(granted).collect()
}

fn quiet(voters: usize) -> Lab {
    let mut lab = Lab::new(voters, 0);
    lab.start_all();
    lab
}

#[test]
fn bug_01_an_old_terms_entry_is_not_committed_by_counting() {
    let mut lab = Lab::new(3, 0);
    lab.config.append_entries_max = 1;
    lab.preset(0, &[1, 2], 3);
    lab.preset(1, &[1], 3);
    lab.preset(2, &[1], 3);
    lab.start_all();
    lab.isolate(2);
    lab.campaign(0);
    let turn = |lab: &mut Lab| {
        lab.deliver(0, 1);
        lab.persist(0);
        lab.persist(1);
        lab.deliver(1, 0);
    };
    lab.until(|lab| lab.leads(0), turn);
    lab.persist(0);
    // Index 2 of term 2 reaches n1, a majority; the no-op at 3 does not.
    for _ in 0..6 {
        lab.wire.retain(
            |m| !matches!(&m.body, Body::AppendEntries(a) if a.entries.iter().any(|e| e.index.0 == 3)),
        );
        lab.deliver(0, 1);
        lab.persist(1);
        lab.deliver(1, 0);
    }
    assert_eq!(lab.last(1), 2, "index 2 is on a majority");
    assert_eq!(lab.commit(0), 0);
    lab.wait_ms(1_100);
    lab.heal();
}

#[test]
fn bug_02_a_vote_is_durable_before_it_is_given_and_goes_with_its_term() {
    let mut lab = quiet(3);
    request(&mut lab, 0, 1, VoteKind::Real, 1, (0, 0), false);
    assert!(replies(&lab, 0).is_empty(), "the vote is not on disk");
    let written = lab.nodes[1].disk.pending[0].hard_state.clone();
    assert_eq!((written.term, written.voted_for), (Term(1), Some(name(0))));
    lab.persist(1);
    assert_eq!(replies(&lab, 0), [true]);
    // A restart remembers it.
    lab.restart(1);
    request(&mut lab, 2, 1, VoteKind::Real, 1, (0, 0), false);
    lab.persist(1);
    assert_eq!(replies(&lab, 2), [false]);
    // A higher term clears it, in one write.
    request(&mut lab, 2, 1, VoteKind::Real, 2, (0, 0), false);
    let pending = &lab.nodes[1].disk.pending;
    assert_eq!(pending.len(), 1);
    assert_eq!(
        (pending[0].hard_state.term, pending[0].hard_state.voted_for.clone()),
        (Term(2), Some(name(2)))
    );
}

#[test]
fn bug_04_a_longer_log_of_an_older_term_gets_no_vote() {
    let mut lab = Lab::new(3, 0);
    lab.preset(1, &[1, 3], 3);
    lab.start_all();
    request(&mut lab, 0, 1, VoteKind::Real, 4, (2, 9), false);
    request(&mut lab, 2, 1, VoteKind::Real, 4, (3, 2), false);
    lab.persist(1);
    assert_eq!((replies(&lab, 0), replies(&lab, 2)), (vec![false], vec![true]));
    // And a shorter one of a later term gets it.
    request(&mut lab, 0, 1, VoteKind::Real, 5, (4, 1), false);
    lab.persist(1);
    assert_eq!(replies(&lab, 0), [false, true]);
}

#[test]
fn bug_05_a_higher_term_in_a_reply_brings_no_vote_and_no_leader() {
    let mut lab = quiet(3);
    lab.campaign(0);
    lab.wire.clear();
    let body = Body::VoteReply(VoteReply {
        kind: VoteKind::Pre,
        campaign: Term(1),
        granted: false,
        leads_better: false,
        recovering: false,
        no_voter: false,
    });
    lab.common(
        0,
        RoleEvent::Message(Message { from: name(1), to: name(0), boot: Boot(1), term: Term(9), body }),
    );
    let Role::Follower(follower) = lab.replica(0).role() else { panic!("it follows the term") };
    assert_eq!(follower.leader(), None);
    assert_eq!((lab.term(0), lab.state(0).hard_state().voted_for.clone()), (9, None));
}

#[test]
fn bug_06_two_replies_of_one_voter_are_one_vote() {
    let mut lab = quiet(5);
    lab.campaign(0);
    lab.deliver(0, 1);
    lab.duplicate(Link::between(1, 0));
    let Role::Candidate(candidate) = lab.replica(0).role() else { panic!("it stands") };
    assert_eq!(candidate.phase(), quorate_core::Phase::PreVote, "n1 alone, twice, is no majority of five");
}

#[test]
fn bug_08_every_election_timeout_is_a_new_draw() {
    let mut lab = quiet(3);
    lab.isolate(0);
    let mut spans = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let before = lab.now;
        lab.tick_due(0);
        spans.insert(lab.now.since(before));
    }
    assert!(spans.len() >= 7, "{spans:?}");
    let base = lab.config.election_timeout;
    assert!(spans.iter().all(|span| *span >= base && *span < base * 2), "{spans:?}");
    // A follower that hears its leader draws as well.
    let mut lab = Lab::elected(3);
    let mut spans = std::collections::BTreeSet::new();
    for _ in 0..8 {
        lab.heartbeat(0);
        spans.insert(lab.replica(1).deadline().expect("it has one").since(lab.now));
    }
    assert!(spans.len() >= 7, "{spans:?}");
    assert!(spans.iter().all(|span| *span >= base && *span < base * 2), "{spans:?}");
}

#[test]
fn bug_09_a_rejected_vote_or_a_pre_vote_does_not_put_off_the_own_election() {
    let mut lab = Lab::new(3, 0);
    lab.preset(1, &[1], 1);
    lab.start_all();
    let due = lab.replica(1).deadline();
    lab.wait_ms(500);
    request(&mut lab, 0, 1, VoteKind::Pre, 2, (1, 1), false);
    request(&mut lab, 0, 1, VoteKind::Real, 2, (0, 0), false);
    assert_eq!(lab.replica(1).deadline(), due, "nothing was granted that binds");
    lab.persist(1);
    assert_eq!(lab.term(1), 2);
    let body = heartbeat(&lab);
    lab.common(
        1,
        RoleEvent::Message(Message { from: name(2), to: name(1), boot: Boot(1), term: Term(1), body }),
    );
    assert_eq!(lab.replica(1).deadline(), due, "nor is a leader of an older term one");
    request(&mut lab, 2, 1, VoteKind::Real, 3, (1, 1), false);
    assert!(lab.replica(1).deadline() > due, "a vote was");
}

#[test]
fn bug_10_a_pre_vote_changes_nothing() {
    let mut lab = quiet(3);
    let before = lab.replica(1).clone();
    request(&mut lab, 0, 1, VoteKind::Pre, 8, (0, 0), false);
    assert_eq!(replies(&lab, 0), [true]);
    assert_eq!(*lab.replica(1), before);
    assert!(lab.nodes[1].disk.pending.is_empty());
    // The same if it follows a leader.
    let mut lab = Lab::elected(3);
    let before = lab.replica(1).clone();
    request(&mut lab, 2, 1, VoteKind::Pre, 8, (9, 9), false);
    assert_eq!(replies(&lab, 2), [false]);
    assert_eq!(*lab.replica(1), before);
    assert!(lab.nodes[1].disk.pending.is_empty());
}

#[test]
fn bug_11_a_late_pre_vote_reply_starts_no_campaign() {
    let mut lab = quiet(5);
    lab.campaign(0);
    lab.deliver_on(Link { from: Some(0), to: None });
    lab.stash(Link::between(4, 0));
    lab.settle();
    assert!(lab.leads(0));
    let term = lab.term(0);
    lab.unstash();
    lab.settle();
    assert!(lab.leads(0));
    assert_eq!(lab.term(0), term);
}

#[test]
fn bug_12_candidates_answer_pre_votes() {
    let mut lab = quiet(2);
    lab.campaign(0);
    lab.campaign(1);
    // Both campaign at once and answer each other's pre-vote: one of them goes on.
    lab.settle();
    assert!(lab.leads(0) || lab.leads(1) || lab.term(0) > 0, "neither was let through");
    for at in [0, 1, 0, 1] {
        if !lab.leads(0) && !lab.leads(1) {
            lab.tick_due(at);
            lab.settle();
        }
    }
    assert!(lab.leads(0) || lab.leads(1));
}

#[test]
fn bug_13_a_higher_term_with_a_shorter_log_does_not_stall_the_group() {
    let mut lab = Lab::new(3, 0);
    lab.preset(0, &[1], 9);
    lab.preset(1, &[1, 2], 2);
    lab.start_all();
    lab.isolate(2);
    for _ in 0..4 {
        if !lab.leads(1) {
            lab.tick_due(1);
            lab.settle();
        }
    }
    assert!(lab.leads(1), "{}", lab.describe(1));
    assert!(lab.term(1) > 9);
}

#[test]
fn bug_14_who_heard_no_leader_for_a_timeout_votes() {
    let mut lab = Lab::elected(3);
    lab.isolate(0);
    lab.campaign(1);
    lab.settle();
    assert!(lab.leads(1), "stickiness ends with the leader");
}

#[test]
fn bug_15_a_transfer_passes_pre_vote_and_stickiness() {
    let mut lab = Lab::elected(3);
    lab.transfer(0, Some(2));
    lab.settle();
    assert!(lab.leads(2));
    assert_eq!(lab.term(2), 2);
}

#[test]
fn bug_16_a_learner_never_stands() {
    let mut lab = Lab::new(2, 1);
    lab.start_all();
    lab.elect(0);
    let body = Body::TimeoutNow;
    let term = lab.state(0).term();
    let begins = |lab: &mut Lab, when: &str| {
        assert!(lab.follows(2), "{when}");
        let asks = lab.wire.iter().any(|m| m.from == name(2) && matches!(m.body, Body::VoteRequest(_)));
        // It may campaign and give up within one step: then its term has grown.
        let stood = asks || Term(lab.term(2)) != term || !lab.nodes[2].disk.pending.is_empty();
        assert!(!stood, "it stood {when}: {}", lab.describe(2));
    };
    lab.common(2, RoleEvent::Message(Message { from: name(0), to: name(2), boot: Boot(1), term, body }));
    begins(&mut lab, "when it was told to");
    for _ in 0..3 {
        lab.tick_due(2);
        begins(&mut lab, "when it heard no leader");
    }
}

#[test]
fn bug_17_a_learner_votes_when_asked() {
    let mut lab = Lab::new(2, 1);
    lab.start_all();
    request(&mut lab, 0, 2, VoteKind::Real, 1, (0, 0), false);
    lab.persist(2);
    assert_eq!(replies(&lab, 0), [true]);
}

#[test]
fn bug_07_a_learners_vote_and_acknowledgement_do_not_count() {
    let mut lab = Lab::new(3, 2);
    lab.start_all();
    lab.elect(0);
    lab.isolate(1);
    lab.isolate(2);
    let before = lab.commit(0);
    lab.propose(0, "on the learners alone");
    lab.settle();
    assert_eq!((lab.last(3), lab.commit(0)), (before + 1, before));
    lab.read(0, 1);
    lab.settle();
    assert!(lab.nodes[0].reads.is_empty(), "learners confirm no leadership");
}

#[test]
fn bug_18_a_node_that_was_cut_off_does_not_depose() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    for beat in 0..80 {
        lab.heartbeat(0);
        lab.tick(2);
        if beat == 60 {
            lab.heal();
        }
    }
    assert!(lab.leads(0) && lab.follows(2));
    assert_eq!((lab.term(0), lab.term(2)), (1, 1));
}

#[test]
fn bug_19_a_leader_that_is_heard_and_hears_no_peer_falls_silent() {
    let mut lab = Lab::elected(3);
    lab.cut.extend([(1, 0), (2, 0)]);
    for _ in 0..11 {
        lab.heartbeat(0);
    }
    assert!(lab.follows(0), "it heard no quorum for an election timeout");
    lab.campaign(1);
    lab.settle();
    assert!(lab.leads(1));
}

#[test]
fn bug_20_a_leader_with_a_stalled_disk_gives_way() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "stuck");
    for _ in 0..31 {
        lab.wait_ms(100);
        lab.tick(0);
        lab.deliver_on(Link { from: Some(0), to: None });
        lab.persist(1);
        lab.persist(2);
        lab.deliver_on(Link { from: None, to: Some(0) });
    }
    assert!(lab.nodes[0].notices.contains(&Notice::DiskStalled));
    assert!(lab.follows(0));
    lab.settle();
    assert!(lab.leads(1) || lab.leads(2));
}

#[test]
fn bug_22_a_candidate_follows_a_leader_of_its_term_or_a_later_one() {
    let mut lab = Lab::elected(3);
    lab.wait_ms(50);
    lab.isolate(2);
    lab.campaign(2);
    lab.heal();
    lab.read(0, 1);
    lab.settle();
    let Role::Follower(follower) = lab.replica(2).role() else { panic!("it stands beside a leader") };
    assert_eq!(follower.leader().map(NodeId::as_str), Some("n0"));
    lab.isolate(2);
    lab.campaign(2);
    let term = Term(lab.term(2) + 2);
    let body = heartbeat(&lab);
    lab.common(2, RoleEvent::Message(Message { from: name(1), to: name(2), boot: Boot(1), term, body }));
    let Role::Follower(follower) = lab.replica(2).role() else { panic!("it stands beside a later leader") };
    assert_eq!(follower.leader().map(NodeId::as_str), Some("n1"));
    assert_eq!(Term(lab.term(2)), term);
}

#[test]
fn bug_23_a_transfer_that_fails_is_over() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    lab.propose(0, "n2 lacks this");
    lab.settle();
    lab.transfer(0, Some(2));
    for _ in 0..10 {
        lab.heartbeat(0);
    }
    lab.tick(0);
    assert!(lab.nodes[0].notices.contains(&Notice::TransferFailed { to: name(2) }));
    let before = lab.commit(0);
    lab.propose(0, "taken again");
    lab.settle();
    assert_eq!(lab.commit(0), before + 1);
}

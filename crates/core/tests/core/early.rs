//! Elections before the election timeout has run, because the leader's process closed its connections (`safety.md` 17).

use std::time::Duration;

use crate::alone::{LAST, TERM, becomes, configured, message, node, said};
use quorate_core::{
    AppendEntries, Body, Candidate, CandidateEvent, Config, Effect, Follower, FollowerEvent, Index, NextRole,
    PeerLink, ReplicationSession, RoleEvent, Round, Term, Time, VoteKind, VoteReply, VoteRequest,
};

const NEXT: Term = Term(4);

fn timeout() -> u64 {
    Config::default().election_timeout.as_micros() as u64
}

/// n0, which has just heard n1.
fn follower_of(config: Config) -> Follower {
    let mut follower = Follower::start(configured(None, config), Time(0)).0;
    hear(&mut follower, 1);
    follower
}

fn follower() -> Follower {
    follower_of(Config::default())
}

fn hear(follower: &mut Follower, at: u64) {
    let heartbeat = AppendEntries {
        session: ReplicationSession(1),
        prev: LAST,
        entries: Vec::new().into(),
        commit: Index(1),
        round: Round::ZERO,
        sent_at: Time(at),
        snapshot: None,
    };
    follower.step(Time(at), FollowerEvent::Role(message(1, TERM, Body::AppendEntries(heartbeat))));
    assert_eq!(follower.leader(), Some(&node(1)));
}

fn link(follower: &mut Follower, at: u64, peer: usize, link: PeerLink) {
    follower.step(Time(at), FollowerEvent::Role(RoleEvent::Link { peer: node(peer), link }));
}

/// Whether n2 is granted a pre-vote, and then the vote.
fn grants(follower: &Follower, at: u64) -> (bool, bool) {
    let ask = |kind, term| {
        let request = VoteRequest { kind, campaign: NEXT, last: LAST, forced: false, applied: None };
        let mut follower = follower.clone();
        let mut effects =
            follower.step(Time(at), FollowerEvent::Role(message(2, term, Body::VoteRequest(request))));
        for sequence in 1..3 {
            let done = RoleEvent::Persisted(quorate_core::Sequence(sequence));
            effects.extend(follower.step(Time(at), FollowerEvent::Role(done)));
        }
        said(&effects).iter().any(|body| matches!(body, Body::VoteReply(VoteReply { granted: true, .. })))
    };
    (ask(VoteKind::Pre, TERM), ask(VoteKind::Real, NEXT))
}

#[test]
fn rule_17_who_hears_the_leader_grants_nothing_and_whose_connection_it_closed_grants_both() {
    let mut follower = follower();
    assert_eq!(grants(&follower, 2), (false, false), "the leader is heard");
    link(&mut follower, 2, 1, PeerLink::Down);
    assert_eq!(grants(&follower, 3), (false, false), "a link that is silent or that this node closed");
    link(&mut follower, 3, 2, PeerLink::Closed);
    assert_eq!(grants(&follower, 4), (false, false), "another node's connection");
    link(&mut follower, 4, 1, PeerLink::Closed);
    assert_eq!(grants(&follower, 5), (true, true));
}

#[test]
fn rule_17_a_leader_that_is_heard_again_or_linked_again_is_no_closed_one() {
    for is_heard in [true, false] {
        let mut follower = follower();
        let patience = follower.deadline();
        link(&mut follower, 2, 1, PeerLink::Closed);
        assert!(follower.deadline() < patience);
        if is_heard {
            hear(&mut follower, 3);
        } else {
            link(&mut follower, 3, 1, PeerLink::Up);
            assert_eq!(follower.deadline(), patience, "its patience is the same as before");
        }
        assert_eq!(grants(&follower, 4), (false, false), "heard: {is_heard}");
        let effects = follower.step(Time(timeout() / 10), FollowerEvent::Role(RoleEvent::Tick));
        assert_eq!(becomes(&effects), None, "heard: {is_heard}");
    }
}

#[test]
fn rule_17_where_leases_are_relied_on_nothing_is_early() {
    let config = Config { clock_drift_max: Some(Duration::from_millis(1)), ..Config::default() };
    let mut follower = follower_of(config);
    let patience = follower.deadline();
    link(&mut follower, 2, 1, PeerLink::Closed);
    assert_eq!(follower.deadline(), patience);
    assert_eq!(grants(&follower, 3), (false, false));
    assert_eq!(grants(&follower, timeout()), (false, false), "a moment before the lease has run out");
    assert_eq!(grants(&follower, timeout() + 1), (true, true));
}

#[test]
fn a_follower_whose_connection_the_leader_closed_stands_within_a_small_part_of_a_timeout() {
    let mut follower = follower();
    link(&mut follower, 2, 1, PeerLink::Closed);
    let due = follower.deadline().expect("it has patience");
    let pause = due.0 - 2;
    assert!((timeout() / 200..=timeout() / 20).contains(&pause), "{pause}");
    let effects = follower.step(Time(due.0 - 1), FollowerEvent::Role(RoleEvent::Tick));
    assert_eq!(becomes(&effects), None);
    let effects = follower.step(due, FollowerEvent::Role(RoleEvent::Tick));
    assert_eq!(becomes(&effects), Some(NextRole::Candidate { forced: false }), "with pre-votes");
}

/// Both would win their pre-votes and then have one vote each.
#[test]
fn who_grants_a_pre_vote_early_lets_the_other_stand_first() {
    let mut follower = follower();
    link(&mut follower, 2, 1, PeerLink::Closed);
    let due = follower.deadline().expect("it has patience");
    let request =
        VoteRequest { kind: VoteKind::Pre, campaign: NEXT, last: LAST, forced: false, applied: None };
    let asked = message(2, TERM, Body::VoteRequest(request));
    follower.step(Time(due.0 - 1), FollowerEvent::Role(asked));
    let later = follower.deadline().expect("it has patience");
    assert!(later.0 >= due.0 - 1 + timeout() / 200, "{later:?} after {due:?}");
    let effects = follower.step(due, FollowerEvent::Role(RoleEvent::Tick));
    assert_eq!(becomes(&effects), None);
    let effects = follower.step(later, FollowerEvent::Role(RoleEvent::Tick));
    assert!(becomes(&effects).is_some(), "should the other one not win");
}

#[test]
fn who_may_not_campaign_does_not_stand_early_either() {
    let mut follower = follower();
    link(&mut follower, 2, 1, PeerLink::Closed);
    follower.step(Time(3), FollowerEvent::Role(RoleEvent::StoreAway));
    let due = follower.deadline().expect("it has patience");
    let effects = follower.step(due, FollowerEvent::Role(RoleEvent::Tick));
    assert_eq!(becomes(&effects), None);
    assert!(follower.deadline() > Some(due), "it is not asked again and again");
}

/// Votes that were split cost a fraction of a timeout once, and then a timeout as ever: a network that is slow must not be asked for
/// more and more elections.
#[test]
fn an_early_candidate_tries_twice_before_it_waits_as_ever() {
    let mut follower = follower();
    link(&mut follower, 2, 1, PeerLink::Closed);
    let mut at = follower.deadline().expect("it has patience");
    follower.step(at, FollowerEvent::Role(RoleEvent::Tick));
    let (mut candidate, _) = Candidate::start(follower.into_state(), at, false);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let due = candidate.deadline().expect("it has patience");
        waits.push(due.0 - at.0);
        at = due;
        let effects = candidate.step(at, CandidateEvent::Role(RoleEvent::Tick));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(_))), "it asks again");
    }
    let early = timeout() / 10..=timeout() / 5;
    assert!(early.contains(&waits[0]) && early.contains(&waits[1]), "{waits:?}");
    assert!(waits[2] >= timeout(), "{waits:?}");
}

/// What it knew belongs to the leader that it followed then.
#[test]
fn a_candidate_that_lost_waits_as_ever() {
    let mut follower = follower();
    link(&mut follower, 2, 1, PeerLink::Closed);
    let at = follower.deadline().expect("it has patience");
    follower.step(at, FollowerEvent::Role(RoleEvent::Tick));
    let (candidate, _) = Candidate::start(follower.into_state(), at, false);
    let (follower, _) = Follower::start(candidate.into_state(), at);
    assert!(follower.deadline().is_some_and(|due| due.0 - at.0 >= timeout()));
    let (candidate, _) = Candidate::start(follower.into_state(), at, false);
    assert!(candidate.deadline().is_some_and(|due| due.0 - at.0 >= timeout()));
}

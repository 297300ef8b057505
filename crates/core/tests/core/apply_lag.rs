//! Machines that are behind: who stands, who hands leadership over, and to whom (`docs/decisions/0025-apply-threads.md`).

use std::time::Duration;

use bytes::Bytes;

use crate::alone::{LAST, TERM, becomes, configured, message, node, said, state};
use quorate_core::{
    AppendReply, AppendResult, Body, Candidate, CandidateEvent, Config, Effect, Effects, Follower,
    FollowerEvent, Index, Leader, LeaderEvent, LogId, MachineProgress, NextRole, Notice, PeerLink, Phase,
    Proposal, ReplicationSession, RoleEvent, Round, Sequence, Term, Time, TransferRefusal, VoteKind,
    VoteReply, VoteRequest,
};

fn ms(ms: u64) -> Time {
    Time(0) + Duration::from_millis(ms)
}

/// Leads in term 3 since `Time(0)`; its no-op is entry 3 and is on its disk.
fn leader() -> Leader {
    let mut leader = Leader::start(state(Some(0)), Time(0), 1_000).0;
    leader.step(ms(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    leader
}

/// What `from` answers to what was sent at `at`, having matched everything.
fn reply(from: usize, at: Time, applied: u64) -> AppendReply {
    AppendReply {
        session: ReplicationSession(from as u64),
        round: Round::ZERO,
        sent_at: at,
        result: AppendResult::Matched { index: Index(3) },
        disk_full: false,
        recovering: false,
        machine_down: false,
        applied: Some(Index(applied)),
    }
}

fn hears(leader: &mut Leader, at: Time, from: usize, reply: AppendReply) -> Effects {
    leader.step(at, LeaderEvent::Role(message(from, TERM, Body::AppendReply(reply))))
}

fn is_told_to_stand(effects: &Effects) -> bool {
    said(effects).iter().any(|body| matches!(body, Body::TimeoutNow))
}

/// Lets the leader live for ten seconds; its own machine has applied up to `own`, those of its peers up to `theirs`. The time
/// at which it first handed leadership over, in milliseconds.
fn gives_way_at(own: u64, theirs: u64) -> Option<u64> {
    let mut leader = leader();
    leader.step(ms(1), LeaderEvent::Role(RoleEvent::Applied(Index(own))));
    for at in (100..10_000).step_by(100) {
        let now = ms(at);
        for from in [1, 2] {
            hears(&mut leader, now, from, reply(from, now, theirs));
        }
        if leader.deadline().is_some_and(|due| due <= now) {
            let effects = leader.step(now, LeaderEvent::Role(RoleEvent::Tick));
            assert!(becomes(&effects).is_none(), "{effects:?}");
            if is_told_to_stand(&effects) {
                let told = |effect: &Effect| matches!(effect, Effect::Notice(Notice::ApplyLag { .. }));
                assert!(effects.iter().any(told), "{effects:?}");
                return Some(at);
            }
        }
    }
    None
}

#[test]
fn a_leader_whose_machine_is_stuck_gives_way_to_a_voter_whose_machine_is_not() {
    assert_eq!(gives_way_at(1, 3), Some(3_100), "three election timeouts after entry 2 was committed");
    assert_eq!(gives_way_at(3, 3), None, "nothing waits");
    assert_eq!(gives_way_at(3, 1), None, "the others are behind");
}

/// The same command takes as long on every node: leadership would go round.
#[test]
fn a_machine_that_is_as_slow_everywhere_keeps_its_leader() {
    assert_eq!(gives_way_at(1, 1), None);
}

/// A window full of bytes is an ordinary moment of a leader that commits large commands; of its peers it knows entries alone.
/// Found by core simulation seeds 15 and 126: leadership went round among machines that were equally quick.
#[test]
fn a_window_full_of_bytes_is_no_machine_that_is_behind() {
    let config = Config { apply_window_bytes_max: 1, ..Config::default() };
    let mut leader = Leader::start(configured(Some(0), config), Time(0), 1_000).0;
    leader.step(ms(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    for at in (500..20_000).step_by(500) {
        let now = ms(at);
        let proposals = vec![Proposal::new(Bytes::from_static(b"x"))];
        for effect in leader.step(now, LeaderEvent::Propose { wall_ms: 1_000, proposals }) {
            if let Effect::Persist(persist) = effect {
                leader.step(now, LeaderEvent::Role(RoleEvent::Persisted(persist.sequence)));
            }
        }
        let (last, applied) = (leader.state().tail().last().index, leader.state().applied());
        for from in [1, 2] {
            let result = AppendResult::Matched { index: last };
            hears(&mut leader, now, from, AppendReply { result, ..reply(from, now, applied.0) });
        }
        assert_eq!(leader.state().commit(), last);
        // It is committed and not applied yet, here as well as there.
        let effects = leader.step(now, LeaderEvent::Role(RoleEvent::Tick));
        assert!(!is_told_to_stand(&effects), "at {at} ms it gives way: {effects:?}");
        leader.step(ms(at + 1), LeaderEvent::Role(RoleEvent::Applied(last)));
    }
}

#[test]
fn a_transfer_for_lag_that_fails_is_not_tried_again_at_once() {
    let mut leader = leader();
    let mut told = Vec::new();
    for at in (100..12_000).step_by(100) {
        let now = ms(at);
        for from in [1, 2] {
            hears(&mut leader, now, from, reply(from, now, 3));
        }
        let before = leader.transferring_to().is_some();
        leader.step(now, LeaderEvent::Role(RoleEvent::Tick));
        if !before && leader.transferring_to().is_some() {
            told.push(at);
        }
    }
    assert_eq!(told, [3_000, 7_000, 11_000], "it lasts one election timeout, and the next is three later");
}

#[test]
fn peers_are_reported_with_what_their_machines_lack() {
    let mut leader = leader();
    hears(&mut leader, ms(2), 1, reply(1, ms(1), 3));
    hears(&mut leader, ms(3), 2, reply(2, ms(1), 1));
    let lag: Vec<_> = leader.peers(ms(4)).iter().map(|peer| (peer.applied, peer.apply_lag)).collect();
    assert_eq!(lag, [(Some(Index(3)), Some(0)), (Some(Index(1)), Some(2)), (None, None)]);
    assert_eq!(leader.state().apply_lag().0, 3, "its own");
}

/// A leader for which every voter could lead, and why `to` is refused once `what` has happened to it.
fn refusal(to: usize, what: impl Fn(&mut Leader, Time)) -> Option<TransferRefusal> {
    let (mut leader, now) = (leader(), ms(5_000));
    for from in [1, 2] {
        hears(&mut leader, now, from, reply(from, now, 3));
    }
    what(&mut leader, now);
    let effects = leader.step(now, LeaderEvent::Transfer { to: Some(node(to)) });
    let answer = effects.iter().find_map(|effect| match effect {
        Effect::TransferBegun { .. } => Some(None),
        Effect::TransferRefused(refusal) => Some(Some(refusal.clone())),
        _ => None,
    });
    let answer = answer.expect("every order is answered");
    assert_eq!(answer.is_none(), is_told_to_stand(&effects), "{effects:?}");
    answer
}

#[test]
fn leadership_is_handed_to_no_voter_that_cannot_lead() {
    let one = || node(1);
    let says = |change: fn(&mut AppendReply)| {
        move |leader: &mut Leader, now| {
            let mut reply = reply(1, now, 3);
            change(&mut reply);
            hears(leader, now, 1, reply);
        }
    };
    assert_eq!(refusal(1, |_, _| ()), None);
    assert_eq!(refusal(3, |_, _| ()), Some(TransferRefusal::NotVoter { node: node(3) }), "a learner");
    assert_eq!(refusal(7, |_, _| ()), Some(TransferRefusal::NotVoter { node: node(7) }), "a stranger");
    let down = RoleEvent::Link { peer: one(), link: PeerLink::Down };
    let link = |leader: &mut Leader, _| drop(leader.step(ms(5_000), LeaderEvent::Role(down.clone())));
    assert_eq!(refusal(1, link), Some(TransferRefusal::NotConnected { node: one() }));
    let faulted = says(|reply| reply.machine_down = true);
    assert_eq!(refusal(1, faulted), Some(TransferRefusal::Faulted { node: one() }));
    let recovering = says(|reply| reply.recovering = true);
    assert_eq!(refusal(1, recovering), Some(TransferRefusal::Recovering { node: one() }));
    assert_eq!(
        refusal(1, says(|reply| reply.disk_full = true)),
        Some(TransferRefusal::NoRoom { node: one() })
    );
    let behind = says(|reply| reply.applied = Some(Index(0)));
    assert_eq!(refusal(1, behind), Some(TransferRefusal::FarBehind { node: one(), entries: 3 }));
    let under_way =
        |leader: &mut Leader, now| drop(leader.step(now, LeaderEvent::Transfer { to: Some(node(2)) }));
    assert_eq!(refusal(1, under_way), Some(TransferRefusal::UnderWay { to: node(2) }));
}

#[test]
fn a_transfer_to_anyone_that_fails_is_tried_with_another_voter() {
    let mut leader = leader();
    let now = ms(5_000);
    hears(&mut leader, now, 1, reply(1, now, 3));
    hears(&mut leader, now, 2, reply(2, now, 0));
    leader.step(now, LeaderEvent::Transfer { to: None });
    assert_eq!(leader.transferring_to(), Some(&node(1)), "the machine of n2 is behind");
    for from in [1, 2] {
        hears(&mut leader, ms(5_900), from, reply(from, ms(5_900), 3));
    }
    let effects = leader.step(ms(6_000), LeaderEvent::Role(RoleEvent::Tick));
    assert_eq!(leader.transferring_to(), Some(&node(2)), "{effects:?}");
    assert!(is_told_to_stand(&effects));
    hears(&mut leader, ms(6_900), 1, reply(1, ms(6_900), 3));
    leader.step(ms(7_000), LeaderEvent::Role(RoleEvent::Tick));
    assert_eq!(leader.transferring_to(), None, "one second try");
}

/// A window of one entry, so that two are far.
fn narrow() -> Config {
    Config { apply_window_entries_max: 1, ..Config::default() }
}

fn follower(applied: u64) -> Follower {
    let mut follower = Follower::start(configured(None, narrow()), Time(0)).0;
    follower.step(ms(1), FollowerEvent::Role(RoleEvent::Applied(Index(applied))));
    follower
}

fn asks(applied: Option<MachineProgress>, last: LogId) -> RoleEvent {
    let request = VoteRequest { kind: VoteKind::Pre, campaign: Term(4), last, forced: false, applied };
    message(1, TERM, Body::VoteRequest(request))
}

fn answer(effects: &Effects) -> (bool, bool) {
    match said(effects)[..] {
        [Body::VoteReply(reply)] => (reply.granted, reply.leads_better),
        ref other => panic!("one reply: {other:?}"),
    }
}

#[test]
fn a_voter_that_could_lead_with_a_machine_far_ahead_refuses_the_pre_vote() {
    let at = |index, stuck| Some(MachineProgress { index: Index(index), stuck });
    let newer = LogId { term: TERM, index: Index(3) };
    for (applied, last, granted, why) in [
        (at(0, false), LAST, false, "two entries behind"),
        (at(1, false), LAST, true, "within a window"),
        (at(1, true), LAST, false, "stuck in an entry that this machine has applied"),
        (at(2, true), LAST, true, "stuck where this machine is, too"),
        (None, LAST, true, "it insists"),
        (at(0, false), newer, true, "this log would not win"),
    ] {
        let effects = follower(2).step(ms(2), FollowerEvent::Role(asks(applied, last)));
        assert_eq!(answer(&effects), (granted, !granted), "{why}");
        let (mut candidate, _) = Candidate::start(configured(None, narrow()), Time(0), false);
        candidate.step(ms(1), CandidateEvent::Role(RoleEvent::Applied(Index(2))));
        let effects = candidate.step(ms(2), CandidateEvent::Role(asks(applied, last)));
        assert_eq!(answer(&effects), (granted, !granted), "a candidate: {why}");
    }
    let mut full = follower(2);
    full.step(ms(1), FollowerEvent::Role(RoleEvent::DiskFull(true)));
    let effects = full.step(ms(2), FollowerEvent::Role(asks(at(0, false), LAST)));
    assert_eq!(answer(&effects), (true, false), "this disk has no room");
}

/// Two entries are not applied.
fn candidate_behind() -> Candidate {
    Candidate::start(configured(None, narrow()), Time(0), false).0
}

fn answers(candidate: &mut Candidate, at: Time, from: usize, granted: bool, leads_better: bool) -> Effects {
    let reply = VoteReply {
        kind: VoteKind::Pre,
        campaign: Term(4),
        granted,
        leads_better,
        recovering: false,
        no_voter: false,
    };
    candidate.step(at, CandidateEvent::Role(message(from, TERM, Body::VoteReply(reply))))
}

#[test]
fn a_candidate_that_may_be_behind_hears_every_voter_or_waits_for_them() {
    let mut candidate = candidate_behind();
    answers(&mut candidate, ms(1), 1, true, false);
    assert_eq!(candidate.phase(), Phase::PreVote, "n2 may lead better");
    let effects = answers(&mut candidate, ms(2), 2, false, true);
    assert_eq!(becomes(&effects), Some(NextRole::Follower), "it does");

    let mut candidate = candidate_behind();
    answers(&mut candidate, ms(1), 1, true, false);
    answers(&mut candidate, ms(2), 2, false, false);
    assert_eq!(candidate.phase(), Phase::Vote, "all have answered");

    let mut candidate = candidate_behind();
    answers(&mut candidate, ms(1), 1, true, false);
    assert_eq!(candidate.deadline(), Some(ms(200)), "two heartbeat intervals");
    candidate.step(ms(200), CandidateEvent::Role(RoleEvent::Tick));
    assert_eq!(candidate.phase(), Phase::Vote, "n2 is silent");
}

#[test]
fn a_candidate_that_is_always_refused_for_its_machine_insists_at_last() {
    let mut candidate = candidate_behind();
    let (mut yielded, mut insists) = (1, false);
    // A tick may only end the wait for answers.
    for _ in 0..20 {
        let due = candidate.deadline().expect("a candidate waits").max(ms(200));
        let effects = candidate.step(due, CandidateEvent::Role(RoleEvent::Tick));
        let asked = said(&effects).into_iter().find_map(|body| match body {
            Body::VoteRequest(request) => Some(request.applied),
            _ => None,
        });
        match asked {
            Some(Some(_)) => yielded += 1,
            Some(None) => {
                insists = true;
                break;
            }
            None => {}
        }
    }
    assert!(insists, "it yielded {yielded} times, and does not insist");
    assert_eq!(yielded, 4);
    answers(&mut candidate, Time(u64::MAX / 2), 1, true, false);
    assert_eq!(candidate.phase(), Phase::Vote, "and waits for no one");
}

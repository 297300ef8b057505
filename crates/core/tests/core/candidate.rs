//! What a candidate answers and which votes count for it: one message at a time.

use crate::alone::{LAST, TERM, becomes, message, node, said, state};
use quorate_core::{
    AppendEntries, AppendReply, AppendResult, Body, Candidate, CandidateEvent, Effect, Effects, Index, LogId,
    NextRole, Phase, ReplicationSession, RoleEvent, Round, Sequence, Term, Time, VoteKind, VoteReply,
    VoteRequest,
};

fn candidate(voted_for: Option<usize>, forced: bool) -> (Candidate, Effects) {
    Candidate::start(state(voted_for), Time(0), forced)
}

fn hears(candidate: &mut Candidate, from: usize, term: Term, body: Body) -> Effects {
    candidate.step(Time(1), CandidateEvent::Role(message(from, term, body)))
}

/// Asked for a vote of this kind: yes, no.
fn grants(voted_for: Option<usize>, from: usize, kind: VoteKind, campaign: Term, last: LogId) -> bool {
    let (mut candidate, _) = candidate(voted_for, false);
    let request = Body::VoteRequest(VoteRequest { kind, campaign, last, forced: false, applied: None });
    let term = if kind == VoteKind::Pre { TERM } else { campaign.min(TERM) };
    let effects = hears(&mut candidate, from, term, request);
    assert_eq!(candidate.phase(), Phase::PreVote, "a request changes nothing");
    match said(&effects)[..] {
        [Body::VoteReply(reply)] => {
            assert_eq!((reply.kind, reply.campaign), (kind, campaign), "a reply names its request");
            reply.granted
        }
        ref other => panic!("one reply: {other:?}"),
    }
}

#[test]
fn bug_12_a_candidate_answers_pre_votes_by_campaign_and_log() {
    let older = LogId { term: Term(1), index: Index(9) };
    assert!(grants(None, 1, VoteKind::Pre, Term(4), LAST));
    assert!(!grants(None, 1, VoteKind::Pre, TERM, LAST), "a campaign for a term that is not new");
    assert!(!grants(None, 1, VoteKind::Pre, Term(4), older), "an older log");
}

#[test]
fn bug_02_a_candidate_votes_again_only_for_whom_it_voted() {
    assert!(grants(Some(1), 1, VoteKind::Real, TERM, LAST), "asked twice, answered twice");
    assert!(!grants(Some(1), 2, VoteKind::Real, TERM, LAST), "the vote of this term is given");
    assert!(!grants(None, 1, VoteKind::Real, TERM, LAST), "its own vote is not given away while it stands");
    assert!(!grants(Some(1), 1, VoteKind::Real, Term(2), LAST), "a campaign of another term");
}

fn reply(kind: VoteKind, campaign: Term, granted: bool) -> Body {
    Body::VoteReply(VoteReply {
        kind,
        campaign,
        granted,
        leads_better: false,
        recovering: false,
        no_voter: false,
    })
}

#[test]
fn bug_11_in_a_pre_vote_only_replies_to_it_count() {
    for (from, body) in [
        (1, reply(VoteKind::Real, Term(4), true)),
        (1, reply(VoteKind::Pre, TERM, true)),
        (1, reply(VoteKind::Pre, Term(5), true)),
        (3, reply(VoteKind::Pre, Term(4), true)),
        (0, reply(VoteKind::Pre, Term(4), true)),
    ] {
        let (mut candidate, _) = candidate(None, false);
        hears(&mut candidate, from, TERM, body.clone());
        assert_eq!(candidate.phase(), Phase::PreVote, "{body:?} from n{from} is no vote");
    }
    let (mut candidate, _) = candidate(None, false);
    hears(&mut candidate, 1, TERM, reply(VoteKind::Pre, Term(4), true));
    assert_eq!((candidate.phase(), candidate.state().term()), (Phase::Vote, Term(4)));
    assert_eq!(candidate.state().hard_state().voted_for, Some(node(0)));
}

#[test]
fn bug_06_in_a_vote_only_replies_to_it_count_and_each_once() {
    let standing = || {
        let (mut candidate, _) = candidate(None, true);
        let effects = candidate.step(Time(1), CandidateEvent::Role(RoleEvent::Persisted(Sequence(1))));
        assert_eq!(becomes(&effects), None, "one of three");
        candidate
    };
    for body in [
        reply(VoteKind::Pre, Term(4), true),
        reply(VoteKind::Real, TERM, true),
        reply(VoteKind::Pre, Term(5), true),
    ] {
        let effects = hears(&mut standing(), 1, Term(4), body.clone());
        assert_eq!(becomes(&effects), None, "{body:?} is no vote");
    }
    let won = hears(&mut standing(), 1, Term(4), reply(VoteKind::Real, Term(4), true));
    assert_eq!(becomes(&won), Some(NextRole::Leader));
    let mut candidate = standing();
    for _ in 0..2 {
        let effects = hears(&mut candidate, 1, Term(4), reply(VoteKind::Real, Term(4), false));
        assert_eq!(becomes(&effects), None, "one no, however often it comes");
    }
    let lost = hears(&mut candidate, 2, Term(4), reply(VoteKind::Real, Term(4), false));
    assert_eq!(becomes(&lost), Some(NextRole::Follower), "two of three said no");
}

/// n0 has asked for votes in term 4, and none came in time: it asks for pre-votes again.
fn asks_again() -> Candidate {
    let (mut candidate, _) = candidate(None, true);
    candidate.step(Time(1), CandidateEvent::Role(RoleEvent::Persisted(Sequence(1))));
    let due = candidate.deadline().expect("it has patience");
    candidate.step(due, CandidateEvent::Role(RoleEvent::Tick));
    assert_eq!((candidate.phase(), candidate.state().term()), (Phase::PreVote, Term(4)));
    candidate
}

#[test]
fn a_vote_that_took_longer_than_the_patience_of_its_candidate_still_elects_it() {
    // The voter's disk was slow. Its answer to the next pre-vote waited for the same write, and comes behind the vote.
    let won = hears(&mut asks_again(), 1, Term(4), reply(VoteKind::Real, Term(4), true));
    assert_eq!(becomes(&won), Some(NextRole::Leader));
    for (from, body) in [
        (1, reply(VoteKind::Real, TERM, true)),
        (1, reply(VoteKind::Real, Term(5), true)),
        (1, reply(VoteKind::Real, Term(4), false)),
        (3, reply(VoteKind::Real, Term(4), true)),
    ] {
        let mut candidate = asks_again();
        let effects = hears(&mut candidate, from, Term(4), body.clone());
        assert_eq!((becomes(&effects), candidate.phase()), (None, Phase::PreVote), "{body:?} from n{from}");
    }
}

#[test]
fn a_late_vote_counts_for_its_own_term_alone() {
    let mut candidate = asks_again();
    hears(&mut candidate, 1, Term(4), reply(VoteKind::Pre, Term(5), true));
    assert_eq!((candidate.phase(), candidate.state().term()), (Phase::Vote, Term(5)));
    candidate.step(Time(1), CandidateEvent::Role(RoleEvent::Persisted(Sequence(2))));
    let effects = hears(&mut candidate, 1, Term(4), reply(VoteKind::Real, Term(4), true));
    assert_eq!(becomes(&effects), None, "a vote of the term before");
}

#[test]
fn a_leader_of_this_term_ends_a_campaign_and_one_of_an_older_term_is_told() {
    let append = Body::AppendEntries(AppendEntries {
        session: ReplicationSession(1),
        prev: LAST,
        entries: Vec::new().into(),
        commit: Index(1),
        round: Round::ZERO,
        sent_at: Time(0),
        snapshot: None,
    });
    let (mut candidate_of_3, _) = candidate(None, false);
    let effects = hears(&mut candidate_of_3, 1, TERM, append.clone());
    match effects.last() {
        Some(Effect::Become(become_role)) => {
            assert_eq!(become_role.role, NextRole::Follower);
            assert!(become_role.redeliver.is_some(), "the follower hears it, too");
        }
        other => panic!("it follows: {other:?}"),
    }
    let (mut candidate_of_3, _) = candidate(None, false);
    let effects = hears(&mut candidate_of_3, 1, Term(2), append);
    assert_eq!(becomes(&effects), None);
    let refused = matches!(
        said(&effects)[..],
        [Body::AppendReply(AppendReply { result: AppendResult::Conflict { .. }, .. })]
    );
    assert!(refused, "it is told the term by a refusal: {effects:?}");
}

#[test]
fn bug_20_a_vote_that_its_disk_does_not_keep_ends_a_campaign_and_a_fresh_one_does_not() {
    let (mut stalled, _) = candidate(None, true);
    let due = stalled.deadline().expect("it has patience");
    let early = Time(due.0 - 1);
    assert_eq!(stalled.step(early, CandidateEvent::Role(RoleEvent::Tick)), Effects::new(), "not due");
    let effects = stalled.step(due, CandidateEvent::Role(RoleEvent::Tick));
    assert_eq!(becomes(&effects), Some(NextRole::Follower), "its vote is under way since the beginning");

    let (mut fresh, _) = candidate(None, false);
    let due = fresh.deadline().expect("it has patience");
    // Its vote is issued just before its patience ends.
    let yes = message(1, TERM, reply(VoteKind::Pre, Term(4), true));
    fresh.step(Time(due.0 - 1), CandidateEvent::Role(yes));
    let effects = fresh.step(due, CandidateEvent::Role(RoleEvent::Tick));
    assert_eq!(becomes(&effects), None, "it asks again");
    assert_eq!(fresh.phase(), Phase::PreVote);
}

#[test]
fn a_candidate_goes_on_handing_what_is_committed_to_its_applier() {
    let applied = |effects: &Effects| {
        let entries = effects.iter().find_map(|effect| match effect {
            Effect::Apply { entries } => Some(entries.len()),
            _ => None,
        });
        entries.unwrap_or_default()
    };
    let (mut candidate, effects) = candidate(None, false);
    assert_eq!(applied(&effects), 1, "one of its two entries is committed");
    let again = candidate.step(Time(1), CandidateEvent::Role(RoleEvent::ApplierRestarted(Index::ZERO)));
    assert_eq!(applied(&again), 1, "an applier that was restarted gets it again");
}

/// As a follower's: granted with the slow write of its own vote, it would release the other candidate at that moment.
#[test]
fn while_its_own_vote_is_written_a_candidate_grants_no_pre_vote() {
    let (mut candidate, _) = candidate(None, false);
    hears(&mut candidate, 1, TERM, reply(VoteKind::Pre, Term(4), true));
    assert_eq!(candidate.phase(), Phase::Vote);
    let request =
        VoteRequest { kind: VoteKind::Pre, campaign: Term(5), last: LAST, forced: false, applied: None };
    hears(&mut candidate, 2, Term(4), Body::VoteRequest(request));
    let written = candidate.step(Time(2), CandidateEvent::Role(RoleEvent::Persisted(Sequence(1))));
    let answers: Vec<_> = said(&written)
        .into_iter()
        .filter_map(|body| match body {
            Body::VoteReply(reply) => Some((reply.kind, reply.granted)),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [(VoteKind::Pre, false)]);
}

//! What a follower answers, and when it stands: one message at a time.

mod alone;

use alone::{LAST, TERM, becomes, booted, message, node, said, state};
use quorate_core::{
    Append, Body, Boot, Common, Config, Follower, FollowerEvent, Index, LogId, NextRole, ReadId,
    ReplicationSession, Round, Sequence, Term, Time, VoteKind, VoteRequest,
};

fn follower() -> Follower {
    Follower::start(state(None), Time(0)).0
}

fn request(kind: VoteKind, campaign: Term, last: LogId) -> Body {
    Body::VoteRequest(VoteRequest { kind, campaign, last, forced: false })
}

/// A node that cannot keep a vote for itself only disturbs: its write has waited for an election timeout by then.
#[test]
fn bug_20_a_follower_whose_disk_stalls_does_not_stand_and_one_whose_disk_is_slow_does() {
    let timeout = Config::default().election_timeout.as_micros() as u64;
    let older = LogId { term: Term(1), index: Index(9) };
    for (waited, stands) in [(timeout - 1, true), (timeout, false)] {
        let mut follower = follower();
        let due = follower.deadline().expect("it has patience");
        // It takes over the term and gives no vote, so that its patience goes on.
        let asked = message(1, Term(4), request(VoteKind::Real, Term(4), older));
        follower.step(Time(due.0 - waited), FollowerEvent::Common(asked));
        assert_eq!((follower.state().term(), follower.deadline()), (Term(4), Some(due)));
        let effects = follower.step(due, FollowerEvent::Common(Common::Tick));
        let becomes_candidate = matches!(becomes(&effects), Some(NextRole::Candidate { forced: false }));
        assert_eq!(becomes_candidate, stands, "its write waited {waited} us");
    }
    let mut follower = follower();
    let due = follower.deadline().expect("it has patience");
    let asked = message(1, Term(4), request(VoteKind::Real, Term(4), older));
    follower.step(Time(due.0 - timeout), FollowerEvent::Common(asked));
    follower.step(Time(due.0 - 1), FollowerEvent::Common(Common::Persisted(Sequence(1))));
    let effects = follower.step(due, FollowerEvent::Common(Common::Tick));
    assert!(matches!(becomes(&effects), Some(NextRole::Candidate { .. })), "its disk has caught up");
}

#[test]
fn bug_10_a_pre_vote_is_granted_for_a_new_term_alone_and_changes_nothing() {
    for (campaign, granted) in [(Term(4), true), (TERM, false), (Term(2), false)] {
        let mut follower = follower();
        let before = (follower.state().hard_state().clone(), follower.deadline());
        let asked = message(1, TERM, request(VoteKind::Pre, campaign, LAST));
        let effects = follower.step(Time(1), FollowerEvent::Common(asked));
        let yes = matches!(said(&effects)[..], [Body::VoteReply(reply)] if reply.granted);
        assert_eq!(yes, granted, "campaign {campaign:?} in term {TERM:?}");
        assert_eq!((follower.state().hard_state().clone(), follower.deadline()), before);
    }
}

/// An answer to an earlier request must not be taken for one to this: neither in this process nor after a restart.
#[test]
fn bug_55_each_read_is_asked_for_with_a_number_of_its_own() {
    let append = Append {
        session: ReplicationSession(1),
        prev: LAST,
        entries: Vec::new(),
        commit: Index(2),
        round: Round::ZERO,
        sent_at: Time(1),
    };
    let mut ids = Vec::new();
    for boot in [1, 2] {
        let (mut follower, _) = Follower::start(booted(None, Boot(boot)), Time(0));
        follower.step(Time(1), FollowerEvent::Common(message(1, TERM, Body::Append(append.clone()))));
        assert_eq!(follower.leader(), Some(&node(1)));
        // Twice at one moment, then later; after the restart the clock begins anew.
        for (read, at) in [(1, 5), (2, 5), (3, 9)] {
            let effects = follower.step(Time(at), FollowerEvent::Read(vec![ReadId(read)]));
            match said(&effects)[..] {
                [Body::ReadIndexRequest(request)] => ids.push(request.id),
                ref other => panic!("one request: {other:?}"),
            }
        }
    }
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert_eq!(ids.len(), 6);
}

#[test]
fn what_the_applier_reports_is_what_is_told() {
    let mut follower = follower();
    assert_eq!(follower.state().applied(), Index::ZERO);
    follower.step(Time(1), FollowerEvent::Common(Common::Applied(Index(1))));
    assert_eq!(follower.state().applied(), Index(1));
    follower.step(Time(1), FollowerEvent::Common(Common::ApplierRestarted(Index::ZERO)));
    assert_eq!(follower.state().applied(), Index::ZERO);
}

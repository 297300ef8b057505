//! What a follower answers and when it campaigns: one message at a time.

use crate::alone::{
    LAST, TERM, alone, becomes, booted, entry, message, node, recovering_if, said, state, state_of,
};
use bytes::Bytes;
use quorate_core::{
    AppendEntries, AppendReply, AppendResult, Body, Boot, Config, Effect, Entry, EntryKind, Follower,
    FollowerEvent, Hash, Index, LogId, NextRole, Notice, Position, ReadId, Reader, ReplicationSession,
    RoleEvent, Round, Sequence, Tail, Term, Terms, Time, VoteKind, VoteRequest,
};

fn follower() -> Follower {
    Follower::start(state(None), Time(0)).0
}

fn request(kind: VoteKind, campaign: Term, last: LogId) -> Body {
    Body::VoteRequest(VoteRequest { kind, campaign, last, forced: false, applied: None })
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
        follower.step(Time(due.0 - waited), FollowerEvent::Role(asked));
        assert_eq!((follower.state().term(), follower.deadline()), (Term(4), Some(due)));
        let effects = follower.step(due, FollowerEvent::Role(RoleEvent::Tick));
        let becomes_candidate = matches!(becomes(&effects), Some(NextRole::Candidate { forced: false }));
        assert_eq!(becomes_candidate, stands, "its write waited {waited} us");
    }
    let mut follower = follower();
    let due = follower.deadline().expect("it has patience");
    let asked = message(1, Term(4), request(VoteKind::Real, Term(4), older));
    follower.step(Time(due.0 - timeout), FollowerEvent::Role(asked));
    follower.step(Time(due.0 - 1), FollowerEvent::Role(RoleEvent::Persisted(Sequence(1))));
    let effects = follower.step(due, FollowerEvent::Role(RoleEvent::Tick));
    assert!(matches!(becomes(&effects), Some(NextRole::Candidate { .. })), "its disk has caught up");
}

#[test]
fn a_lone_voter_stands_at_once() {
    let mut follower = Follower::start(alone(), Time(7)).0;
    assert_eq!(follower.deadline(), Some(Time(7)));
    let effects = follower.step(Time(7), FollowerEvent::Role(RoleEvent::Tick));
    assert!(matches!(becomes(&effects), Some(NextRole::Candidate { forced: false })), "{effects:?}");
}

/// One message of the last term there is: every later election would have panicked, on every node.
#[test]
fn a_term_that_no_elections_can_have_led_to_is_not_taken_over() {
    for (term, taken_over) in [(Term(4), true), (Term(1 << 32), true), (Term(u64::MAX), false)] {
        let mut follower = follower();
        let append = AppendEntries {
            session: ReplicationSession(1),
            prev: LAST,
            entries: Vec::new().into(),
            commit: Index(1),
            round: Round::ZERO,
            sent_at: Time(1),
            snapshot: None,
        };
        let effects =
            follower.step(Time(1), FollowerEvent::Role(message(1, term, Body::AppendEntries(append))));
        assert_eq!(follower.state().term() == term, taken_over, "{term:?}");
        let noticed = |effect: &Effect| matches!(effect, Effect::Notice(Notice::TermJump { .. }));
        assert_eq!(effects.iter().any(noticed), !taken_over, "{term:?}: {effects:?}");
    }
}

#[test]
fn bug_10_a_pre_vote_is_granted_for_a_new_term_alone_and_changes_nothing() {
    for (campaign, granted) in [(Term(4), true), (TERM, false), (Term(2), false)] {
        let mut follower = follower();
        let before = (follower.state().hard_state().clone(), follower.deadline());
        let asked = message(1, TERM, request(VoteKind::Pre, campaign, LAST));
        let effects = follower.step(Time(1), FollowerEvent::Role(asked));
        let yes = matches!(said(&effects)[..], [Body::VoteReply(reply)] if reply.granted);
        assert_eq!(yes, granted, "campaign {campaign:?} in term {TERM:?}");
        assert_eq!((follower.state().hard_state().clone(), follower.deadline()), before);
    }
}

/// Granted with one slow write, at one moment, to all who asked meanwhile, they would split the next vote.
#[test]
fn while_a_vote_is_written_no_pre_vote_is_granted() {
    let mut follower = follower();
    let mut hears = |at, event| {
        let effects = follower.step(Time(at), FollowerEvent::Role(event));
        let reply = |body: &Body| match body {
            Body::VoteReply(reply) => (reply.kind, reply.granted),
            other => panic!("no vote: {other:?}"),
        };
        said(&effects).into_iter().map(reply).collect::<Vec<_>>()
    };
    assert_eq!(hears(1, message(1, Term(4), request(VoteKind::Real, Term(4), LAST))), []);
    for from in [2, 1] {
        let asked = message(from, Term(4), request(VoteKind::Pre, Term(5), LAST));
        assert_eq!(hears(2, asked), [], "n{from} waits for the write");
    }
    let written = hears(3, RoleEvent::Persisted(Sequence(1)));
    assert_eq!(written, [(VoteKind::Real, true), (VoteKind::Pre, false)], "to n1 its vote alone, to n2 no");
    for from in [2, 1] {
        let asked = message(from, Term(4), request(VoteKind::Pre, Term(5), LAST));
        assert_eq!(hears(4, asked), [(VoteKind::Pre, true)], "n{from} may win the next term");
    }
}

/// An answer to an earlier request must not be taken for one to this: neither in this process nor after a restart.
#[test]
fn bug_55_each_read_is_asked_for_with_a_number_of_its_own() {
    let append = AppendEntries {
        session: ReplicationSession(1),
        prev: LAST,
        entries: Vec::new().into(),
        commit: Index(2),
        round: Round::ZERO,
        sent_at: Time(1),
        snapshot: None,
    };
    let mut ids = Vec::new();
    for boot in [1, 2] {
        let (mut follower, _) = Follower::start(booted(None, Boot(boot)), Time(0));
        follower.step(Time(1), FollowerEvent::Role(message(1, TERM, Body::AppendEntries(append.clone()))));
        assert_eq!(follower.leader(), Some(&node(1)));
        // Twice at one moment, then later; after the restart the clock begins at the same value.
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
    follower.step(Time(1), FollowerEvent::Role(RoleEvent::Applied(Index(1))));
    assert_eq!(follower.state().applied(), Index(1));
    follower.step(Time(1), FollowerEvent::Role(RoleEvent::ApplierRestarted(Index::ZERO)));
    assert_eq!(follower.state().applied(), Index::ZERO);
}

#[test]
fn bug_23_only_the_leader_of_this_term_hands_over_and_only_to_a_voter() {
    let heartbeat = AppendEntries {
        session: ReplicationSession(1),
        prev: LAST,
        entries: Vec::new().into(),
        commit: Index(1),
        round: Round::ZERO,
        sent_at: Time(1),
        snapshot: None,
    };
    for (recovering, from, term, stands) in
        [(false, 1, TERM, true), (false, 2, TERM, false), (false, 1, Term(2), false), (true, 1, TERM, false)]
    {
        let (mut follower, _) = Follower::start(recovering_if(recovering), Time(0));
        follower.step(Time(1), FollowerEvent::Role(message(1, TERM, Body::AppendEntries(heartbeat.clone()))));
        let effects = follower.step(Time(2), FollowerEvent::Role(message(from, term, Body::TimeoutNow)));
        let forced = matches!(becomes(&effects), Some(NextRole::Candidate { forced: true }));
        assert_eq!(forced, stands, "from n{from} in {term:?}, recovering: {recovering}");
    }
}

/// Who looks for the reason why there is no leader learns it so.
#[test]
fn a_follower_that_recovers_says_so_where_it_refuses_a_vote() {
    for recovering in [false, true] {
        let (mut follower, _) = Follower::start(recovering_if(recovering), Time(0));
        let asked = message(1, TERM, request(VoteKind::Pre, TERM.next(), LAST));
        let effects = follower.step(Time(1), FollowerEvent::Role(asked));
        let [Body::VoteReply(reply)] = said(&effects)[..] else { panic!("one reply: {effects:?}") };
        assert_eq!((reply.granted, reply.recovering), (!recovering, recovering));
        let Some(Effect::Send(sent)) = effects.iter().find(|effect| matches!(effect, Effect::Send(_))) else {
            panic!("it is sent: {effects:?}")
        };
        assert_eq!(sent.says_recovering(), Some(recovering));
    }
}

/// The chain hash before a conflict may be on disk alone: it is read, and only what was asked for is taken.
#[test]
fn a_conflict_below_memory_takes_the_place_that_was_read() {
    let (mut whole, mut terms, mut place) =
        (Vec::new(), Terms::new(Position::ORIGIN.log_id()), Position::ORIGIN);
    for _ in 0..6 {
        let next = entry(place, "x");
        terms.push(next.log_id());
        place = next.position();
        whole.push(next);
    }
    let kept = whole.split_off(4);
    let tail = Tail::loaded(whole[3].position(), kept, terms);
    let (mut follower, _) = Follower::start(state_of(None, tail), Time(0));
    let at_2 = whole[1].position();
    let payload = Bytes::from("other");
    let other = Entry::follow(at_2, TERM, 5, EntryKind::Command, payload.clone(), Hash::of(&payload));
    let append = AppendEntries {
        session: ReplicationSession(1),
        prev: at_2.log_id(),
        entries: vec![other].into(),
        commit: Index(1),
        round: Round::ZERO,
        sent_at: Time(1),
        snapshot: None,
    };
    let mut hears = |located: Option<Position>| {
        if let Some(located) = located {
            follower.step(Time(1), FollowerEvent::Role(RoleEvent::Located(located)));
        }
        let effects = follower
            .step(Time(1), FollowerEvent::Role(message(1, TERM, Body::AppendEntries(append.clone()))));
        let asks = effects.iter().any(|effect| {
            matches!(effect, Effect::ReadLog { reader: Reader::Role, from: Index(2), through: Index(2), .. })
        });
        let cuts = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Persist(write) if write.truncate_from == Some(Index(3))));
        (asks, cuts)
    };
    assert_eq!(hears(None), (true, false));
    assert_eq!(hears(Some(whole[2].position())), (true, false), "the place of another entry");
    assert_eq!(hears(Some(Position { term: Term(1), ..at_2 })), (true, false), "of another log");
    assert_eq!(hears(Some(at_2)), (false, true));
}

/// A fault of its sender: it is told here, nothing is written, and nothing is acknowledged.
#[test]
fn an_append_that_no_leader_sends_changes_nothing() {
    let at_2 = follower().state().tail().last().log_id();
    assert_eq!(at_2, LAST);
    let place = entry(entry(Position::ORIGIN, "a").position(), "b").position();
    let after = |term: Term| {
        let payload = Bytes::from("c");
        Entry::follow(place, term, 5, EntryKind::Command, payload.clone(), Hash::of(&payload))
    };
    let skips = Entry { index: Index(4), ..after(TERM) };
    let cases = [
        ("it follows", vec![after(TERM)], true),
        ("a place is left out", vec![skips], false),
        ("of an earlier term than the one before", vec![Entry { term: Term(1), ..after(TERM) }], false),
        ("of a later term than its leader's", vec![after(Term(4))], false),
    ];
    for (what, entries, counts) in cases {
        let mut follower = follower();
        let append = AppendEntries {
            session: ReplicationSession(1),
            prev: LAST,
            entries: entries.into(),
            commit: Index(1),
            round: Round::ZERO,
            sent_at: Time(1),
            snapshot: None,
        };
        let asked = message(1, TERM, Body::AppendEntries(append));
        let mut effects = follower.step(Time(1), FollowerEvent::Role(asked));
        effects.extend(follower.step(Time(2), FollowerEvent::Role(RoleEvent::Persisted(Sequence(1)))));
        let is_bad = |effect: &Effect| matches!(effect, Effect::Notice(Notice::BadEntries { from, .. }) if *from == node(1));
        let writes = |effect: &Effect| matches!(effect, Effect::Persist(write) if !write.entries.is_empty());
        assert_eq!(effects.iter().any(is_bad), !counts, "{what}");
        assert_eq!(effects.iter().any(writes), counts, "{what}");
        assert_eq!(follower.state().tail().last().index, Index(if counts { 3 } else { 2 }), "{what}");
        let [Body::AppendReply(AppendReply { result, .. })] = said(&effects)[..] else {
            panic!("{what}: one answer: {effects:?}")
        };
        let is_refused = matches!(result, AppendResult::Refused { .. });
        assert_eq!(is_refused, !counts, "{what}: {result:?}");
    }
}

/// The same entries came ten times a second, each time with a line of log, and the leader was told nothing.
#[test]
fn entries_that_do_not_fit_are_refused_each_time_and_said_once() {
    let (mut follower, _) = Follower::start(state(None), Time(0));
    let append = |prev: Position, word| {
        let entries = vec![entry(prev, word)];
        let (session, round) = (ReplicationSession(1), Round::ZERO);
        let prev = prev.log_id();
        Body::AppendEntries(AppendEntries {
            session,
            prev,
            entries: entries.into(),
            commit: Index(1),
            round,
            sent_at: Time(1),
            snapshot: None,
        })
    };
    let last = follower.state().tail().last();
    let torn = Position { chain: Hash::default(), ..last };
    let mut refusals = |body: &Body| {
        let mut effects = follower.step(Time(1), FollowerEvent::Role(message(1, TERM, body.clone())));
        for sequence in 1..9 {
            let done = RoleEvent::Persisted(Sequence(sequence));
            effects.extend(follower.step(Time(1), FollowerEvent::Role(done)));
        }
        let refused = |body: &&Body| {
            matches!(
                body,
                Body::AppendReply(AppendReply { result: AppendResult::Refused { at: Index(3) }, .. })
            )
        };
        let notices =
            effects.iter().filter(|effect| matches!(effect, Effect::Notice(Notice::BadEntries { .. })));
        (said(&effects).iter().filter(|body| refused(body)).count(), notices.count())
    };
    assert_eq!(refusals(&append(torn, "x")), (1, 1));
    assert_eq!(refusals(&append(torn, "x")), (1, 0), "it is known");
    assert_eq!(refusals(&append(last, "x")), (0, 0), "what fits is taken");
}

/// The same path for what cannot be the leader's log: other bytes under a term that is here, and a membership that no build wrote.
#[test]
fn a_log_that_differs_is_refused_each_time_and_said_once() {
    let first = entry(Position::ORIGIN, "a").position();
    let last = entry(first, "b").position();
    let payload = Bytes::from("no membership");
    let leaf = Hash::of(&payload);
    let unread = Entry::follow(last, TERM, 5, EntryKind::Membership, payload, leaf);
    for (prev, entries, at) in [(first, vec![entry(first, "c")], Index(2)), (last, vec![unread], Index(3))] {
        let mut follower = follower();
        let append = AppendEntries {
            session: ReplicationSession(1),
            prev: prev.log_id(),
            entries: entries.into(),
            commit: Index(1),
            round: Round::ZERO,
            sent_at: Time(1),
            snapshot: None,
        };
        for notices in [1, 0] {
            let asked = message(1, TERM, Body::AppendEntries(append.clone()));
            let effects = follower.step(Time(1), FollowerEvent::Role(asked));
            let diverged = Effect::Notice(Notice::Diverged { from: node(1), at });
            assert_eq!(effects.iter().filter(|effect| **effect == diverged).count(), notices, "{effects:?}");
            let [Body::AppendReply(reply)] = said(&effects)[..] else { panic!("one answer: {effects:?}") };
            assert_eq!(reply.result, AppendResult::Refused { at });
            assert_eq!(follower.state().tail().last(), last, "nothing is cut or written");
        }
    }
}

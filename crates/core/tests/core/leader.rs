//! What a leader answers and when its deadlines are: one message at a time.

use std::time::Duration;

use bytes::Bytes;

use crate::alone::{LAST, TERM, becomes, configured, entry, message, node, said, state, state_of};
use quorate_core::{
    AppendEntries, AppendReply, AppendResult, Body, Boot, Config, Effect, Effects, HEADER_BYTES, Index,
    Leader, LeaderEvent, Message, NextRole, Notice, PAYLOAD_BYTES_MAX, Position, Proposal, ReadId,
    ReadIndexRequest, Reader, Refusal, ReplicationSession, ReplicatorEvent, RoleEvent, Round, Sequence, Tail,
    Term, Terms, Time, VoteKind, VoteRequest,
};

/// Leads in term 3 since `Time(0)`; its no-op is entry 3. Its replicators are sessions 1, 2 and 3.
fn leader() -> Leader {
    Leader::start(state(Some(0)), Time(0), 1_000).0
}

fn hears(leader: &mut Leader, at: Time, from: usize, term: Term, body: Body) -> Effects {
    leader.step(at, LeaderEvent::Role(message(from, term, body)))
}

/// The peer `from` has everything, and says so of what was sent at `sent_at`.
fn level(leader: &mut Leader, at: Time, from: usize, sent_at: Time, round: Round) -> Effects {
    let result = AppendResult::Matched { index: Index(3) };
    let reply = AppendReply {
        session: ReplicationSession(from as u64),
        round,
        sent_at,
        result,
        disk_full: false,
        recovering: false,
        machine_down: false,
        applied: None,
    };
    hears(leader, at, from, TERM, Body::AppendReply(reply))
}

#[test]
fn bug_20_a_leader_gives_way_only_to_who_was_told_to_stand() {
    for (kind, forced, term, gives_way) in [
        (VoteKind::Real, false, Term(9), false),
        (VoteKind::Pre, false, Term(9), false),
        (VoteKind::Pre, true, Term(9), false),
        (VoteKind::Real, true, TERM, false),
        (VoteKind::Real, true, Term(4), true),
    ] {
        let mut leader = leader();
        let request = VoteRequest { kind, campaign: term, last: LAST, forced, applied: None };
        let effects = hears(&mut leader, Time(1), 1, term, Body::VoteRequest(request));
        let what = format!("{kind:?} forced={forced} in {term:?}");
        assert_eq!(matches!(becomes(&effects), Some(NextRole::Follower)), gives_way, "{what}");
        match said(&effects)[..] {
            [] => assert!(gives_way, "{what} has no answer"),
            [Body::VoteReply(reply)] => {
                assert!(!gives_way, "{what}: the follower it becomes answers");
                assert_eq!((reply.kind, reply.campaign, reply.granted), (kind, term, false), "{what}");
            }
            ref other => panic!("{what}: {other:?}"),
        }
        assert_eq!(leader.state().term(), TERM, "a term is the next role's matter");
    }
}

#[test]
fn rule_11_a_leader_wakes_when_it_would_lose_its_quorum_its_disk_or_its_patience() {
    let ms = |ms: u64| Time(0) + Duration::from_millis(ms);
    let config = Config::default();
    assert_eq!(
        (config.election_timeout, config.persist_stall_max),
        (ms(1_000).since(Time(0)), ms(3_000).since(Time(0)))
    );
    let mut leader = leader();
    assert_eq!(leader.deadline(), Some(ms(1_000)), "everyone has an election timeout to answer");
    level(&mut leader, ms(600), 2, ms(500), Round::ZERO);
    assert_eq!(leader.deadline(), Some(ms(1_500)), "what counts is when it sent what was answered");
    level(&mut leader, ms(2_500), 1, ms(2_400), Round::ZERO);
    assert_eq!(leader.deadline(), Some(ms(3_000)), "its own disk stalls");
    leader.step(ms(2_600), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    assert_eq!(leader.deadline(), Some(ms(3_000)), "its machine has not applied what is committed");
    leader.step(ms(2_600), LeaderEvent::Role(RoleEvent::Applied(Index(3))));
    assert_eq!(leader.deadline(), Some(ms(3_400)));
    // n1 has matched everything and is told at once.
    let effects = leader.step(ms(2_700), LeaderEvent::Transfer { to: None });
    assert!(matches!(said(&effects)[..], [Body::TimeoutNow]), "{effects:?}");
    assert_eq!(leader.transferring_to(), Some(&node(1)));
    level(&mut leader, ms(2_900), 2, ms(2_800), Round::ZERO);
    assert_eq!(leader.deadline(), Some(ms(2_700) + config.election_timeout / 3), "the order may be lost");
    let effects = leader.step(ms(3_100), LeaderEvent::Role(RoleEvent::Tick));
    assert!(matches!(said(&effects)[..], [Body::TimeoutNow]), "it is given again: {effects:?}");
    level(&mut leader, ms(3_400), 1, ms(3_300), Round::ZERO);
    leader.step(ms(3_500), LeaderEvent::Role(RoleEvent::Tick));
    level(&mut leader, ms(3_600), 2, ms(3_550), Round::ZERO);
    assert_eq!(leader.deadline(), Some(ms(3_700)), "the transfer has an election timeout, too");
}

#[test]
fn bug_01_another_leader_of_the_same_term_is_told_and_not_obeyed() {
    let append = |term| AppendEntries {
        session: ReplicationSession(1),
        prev: LAST,
        entries: Vec::new().into(),
        commit: Index(2),
        round: Round::ZERO,
        sent_at: Time(term),
        snapshot: None,
    };
    let mut leader = leader();
    let effects = hears(&mut leader, Time(1), 1, TERM, Body::AppendEntries(append(1)));
    let told = |effect: &Effect| matches!(effect, Effect::Notice(Notice::TwoLeaders { term: TERM, known, other }) if *known == node(0) && *other == node(1));
    assert!(
        effects.iter().any(told) && said(&effects).is_empty() && becomes(&effects).is_none(),
        "{effects:?}"
    );
    // An older one is told the term, so that it gives way.
    let effects = hears(&mut leader, Time(1), 1, Term(2), Body::AppendEntries(append(1)));
    assert!(matches!(said(&effects)[..], [Body::AppendReply(_)]), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Notice(_))));
}

#[test]
fn bug_55_each_gathering_of_reads_has_a_round_of_its_own() {
    let mut leader = leader();
    leader.step(Time(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    level(&mut leader, Time(2), 1, Time(0), Round::ZERO);
    assert!(leader.has_committed_in_term() && leader.round() == Round::ZERO);
    for round in 1..4 {
        let effects = leader.step(Time(3), LeaderEvent::Read(vec![ReadId(round)]));
        assert_eq!(leader.round(), Round(round));
        let confirm = ReplicatorEvent::Confirm(Round(round));
        let told = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::ToReplicator { event, .. } if *event == confirm));
        assert_eq!(told.count(), 3, "every peer is asked: {effects:?}");
        let effects = level(&mut leader, Time(4), 1, Time(3), Round(round));
        let ready = |effect: &Effect| matches!(effect, Effect::ReadReady { reads, index: Index(3) } if *reads == [ReadId(round)]);
        assert!(effects.iter().any(ready), "{effects:?}");
    }
}

/// What is in memory is given at once; what is not is read from disk, in messages of the same length.
#[test]
fn a_replicator_gets_entries_from_memory_and_from_disk() {
    let (mut whole, mut terms, mut place) =
        (Vec::new(), Terms::new(Position::ORIGIN.log_id()), Position::ORIGIN);
    let entries_max = Config::default().append_entries_max as u64;
    for _ in 0..3 * entries_max {
        let next = entry(place, "x");
        terms.push(next.log_id());
        place = next.position();
        whole.push(next);
    }
    let base = 2 * entries_max + 10;
    let kept = whole.split_off(base as usize);
    let tail = Tail::loaded(whole.last().expect("many").position(), kept, terms);
    let (mut leader, _) = Leader::start(state_of(Some(0), tail), Time(0), 1_000);
    let mut fetch = |session, from| {
        let session = ReplicationSession(session);
        leader.step(
            Time(1),
            LeaderEvent::Fetch { peer: node(1), session, from: Index(from), bytes_max: usize::MAX },
        )
    };
    for (from, through) in [(1, entries_max), (7, entries_max + 6), (base - 3, base), (base, base)] {
        let effects = fetch(1, from);
        let [Effect::ReadLog { reader, from: first, through: last, .. }] = &effects[..] else {
            panic!("entries from {from} on are on disk: {effects:?}")
        };
        assert_eq!((first, last), (&Index(from), &Index(through)));
        assert_eq!(*reader, Reader::Replicator { peer: node(1), session: ReplicationSession(1) });
    }
    let effects = fetch(1, base + 1);
    let [Effect::ToReplicator { event: ReplicatorEvent::Fetched { prev, entries, .. }, .. }] = &effects[..]
    else {
        panic!("entries from {base} on are in memory: {effects:?}")
    };
    assert_eq!((prev.index, entries[0].index), (Index(base), Index(base + 1)));
    assert_eq!(entries.len() as u64, entries_max - 9, "all there is, with the no-op");
    assert!(fetch(9, 1).is_empty(), "another session's replicator has ended");
}

fn propose(leader: &mut Leader, wall_ms: u64, lengths: &[usize]) -> Effects {
    let proposals = lengths.iter().map(|length| Proposal::new(Bytes::from(vec![1; *length]))).collect();
    leader.step(Time(5), LeaderEvent::Propose { wall_ms, proposals })
}

fn answers(effects: &[Effect]) -> Vec<(usize, Option<Refusal>)> {
    let answer = |effect: &Effect| match effect {
        Effect::Accepted { count, .. } => Some((*count, None)),
        Effect::Refused { count, reason } => Some((*count, Some(*reason))),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

#[test]
fn bug_32_what_is_not_committed_is_bounded_by_bytes() {
    let of_100 = Proposal::new(Bytes::from(vec![1; 100])).encoded_bytes();
    assert_eq!(of_100, HEADER_BYTES + 100);
    // The log has an entry that is not committed, and the no-op; then there is room for two, the second beyond the limit.
    let (before, noop) = (HEADER_BYTES + 1, HEADER_BYTES);
    let config = Config { uncommitted_bytes_max: before + noop + of_100 + 1, ..Config::default() };
    let mut leader = Leader::start(configured(Some(0), config), Time(0), 1_000).0;
    let effects = propose(&mut leader, 1_000, &[100, 100, 100, 100]);
    assert_eq!(
        answers(&effects),
        [(2, None), (1, Some(Refusal::Uncommitted)), (1, Some(Refusal::Uncommitted))]
    );
    // One of the two is committed: the other one still counts.
    leader.step(Time(6), LeaderEvent::Role(RoleEvent::Persisted(Sequence(2))));
    let matched = |index| AppendReply {
        session: ReplicationSession(1),
        round: Round::ZERO,
        sent_at: Time(1),
        result: AppendResult::Matched { index: Index(index) },
        disk_full: false,
        recovering: false,
        machine_down: false,
        applied: None,
    };
    hears(&mut leader, Time(7), 1, TERM, Body::AppendReply(matched(4)));
    assert_eq!(leader.state().commit(), Index(4));
    let busy = (1, Some(Refusal::Uncommitted));
    assert_eq!(answers(&propose(&mut leader, 1_000, &[100; 3])), [(1, None), busy, busy]);
    leader.step(Time(8), LeaderEvent::Role(RoleEvent::Persisted(Sequence(3))));
    hears(&mut leader, Time(9), 1, TERM, Body::AppendReply(matched(6)));
    assert_eq!(leader.state().commit(), Index(6), "all there was");
    assert_eq!(answers(&propose(&mut leader, 1_000, &[100; 3])), [(2, None), busy]);
}

/// A machine that is slow must not take commands in that no one will see applied: they are refused, and not *unknown*.
#[test]
fn what_is_committed_and_not_applied_is_bounded_in_entries_and_in_bytes() {
    for (name, config) in [
        ("entries", Config { apply_window_entries_max: 2, ..Config::default() }),
        ("bytes", Config { apply_window_bytes_max: 2 * HEADER_BYTES, ..Config::default() }),
    ] {
        let mut leader = Leader::start(configured(Some(0), config), Time(0), 1_000).0;
        let heard = |leader: &mut Leader, at, event| {
            let entries = |effect: &Effect| match effect {
                Effect::Apply { entries } => entries.len(),
                _ => 0,
            };
            leader.step(Time(at), event).iter().map(entries).sum::<usize>()
        };
        assert_eq!(answers(&propose(&mut leader, 1_000, &[100; 3])), [(3, None)], "{name}");
        let mut handed = heard(&mut leader, 6, LeaderEvent::Role(RoleEvent::Persisted(Sequence(2))));
        let result = AppendResult::Matched { index: Index(6) };
        let session = ReplicationSession(1);
        let reply = AppendReply {
            session,
            round: Round::ZERO,
            sent_at: Time(1),
            result,
            disk_full: false,
            recovering: false,
            machine_down: false,
            applied: None,
        };
        handed += heard(&mut leader, 7, LeaderEvent::Role(message(1, TERM, Body::AppendReply(reply))));
        assert_eq!(leader.state().commit(), Index(6), "{name}");
        assert!(handed < 6, "{name}: {handed} entries were handed over");
        assert_eq!(answers(&propose(&mut leader, 1_000, &[1])), [(1, Some(Refusal::Unapplied))], "{name}");
        heard(&mut leader, 8, LeaderEvent::Role(RoleEvent::Applied(Index(6))));
        assert_eq!(answers(&propose(&mut leader, 1_000, &[1])), [(1, None)], "{name}");
    }
}

/// After a role was loaded again, its applier may report entries that this role did not know to be committed. Found by core
/// simulation seed 474.
#[test]
fn what_the_applier_reports_counts_as_committed() {
    let mut leader = leader();
    let bytes = |leader: &Leader, index| {
        let entry = leader.state().tail().get(Index(index)).expect("in memory");
        entry.encoded_bytes()
    };
    assert_eq!(leader.uncommitted_bytes(), bytes(&leader, 2) + bytes(&leader, 3));
    leader.step(Time(5), LeaderEvent::Role(RoleEvent::Applied(Index(2))));
    assert_eq!(leader.state().commit(), Index(2));
    assert_eq!(leader.uncommitted_bytes(), bytes(&leader, 3), "the no-op alone");
}

#[test]
fn a_command_has_a_longest_length() {
    for (bytes, taken) in [(PAYLOAD_BYTES_MAX, true), (PAYLOAD_BYTES_MAX + 1, false)] {
        let effects = propose(&mut leader(), 1_000, &[bytes]);
        let refusal = Refusal::TooLarge { bytes, bytes_max: PAYLOAD_BYTES_MAX };
        assert_eq!(answers(&effects), [(1, (!taken).then_some(refusal))]);
    }
}

#[test]
fn a_clock_that_jumps_is_told() {
    const HOUR: u64 = 3_600_000;
    // The no-op stands at 1,000 ms.
    for (wall_ms, told) in [
        (1_000 + HOUR, None),
        (1_001 + HOUR, Some(HOUR + 1)),
        (500, None),
        (9 * HOUR, Some(9 * HOUR - 1_000)),
    ] {
        let effects = propose(&mut leader(), wall_ms, &[1]);
        let jump = effects.iter().find_map(|effect| match effect {
            Effect::Notice(Notice::TimeJump { ahead_ms }) => Some(*ahead_ms),
            _ => None,
        });
        assert_eq!(jump, told, "at {wall_ms}");
    }
}

#[test]
fn rule_05_what_an_earlier_boot_of_a_peer_says_counts_for_nothing() {
    let mut leader = leader();
    let reply = |index| AppendReply {
        session: ReplicationSession(1),
        round: Round::ZERO,
        sent_at: Time(1),
        result: AppendResult::Matched { index: Index(index) },
        disk_full: false,
        recovering: false,
        machine_down: false,
        applied: None,
    };
    let mut from_boot = |boot, index| {
        let body = Body::AppendReply(reply(index));
        let told = Message { from: node(1), to: node(0), boot: Boot(boot), term: TERM, body };
        leader.step(Time(2), LeaderEvent::Role(RoleEvent::Message(told)));
        let status = leader.peers(Time(1_001));
        assert_eq!(
            status.iter().map(|peer| peer.peer.clone()).collect::<Vec<_>>(),
            [node(1), node(2), node(3)]
        );
        (status[0].matched, status[0].contact_age_us, status[0].rolled_back)
    };
    assert_eq!(from_boot(4, 2), (Index(2), 1_000, false));
    assert_eq!(from_boot(3, 3), (Index(2), 1_000, false), "late, from before its restart");
    assert_eq!(from_boot(5, 3), (Index::ZERO, 1_000, false), "its session ended with its boot");
}

#[test]
fn bug_27_a_log_that_went_back_is_told_from_a_late_rejection() {
    for (sent_at, rolled_back) in [(4, false), (5, false), (6, true)] {
        let mut leader = leader();
        level(&mut leader, Time(5), 1, Time(3), Round::ZERO);
        let result = AppendResult::Conflict { hint: LAST, last: Index(2) };
        let reply = AppendReply {
            session: ReplicationSession(1),
            round: Round::ZERO,
            sent_at: Time(sent_at),
            result,
            disk_full: false,
            recovering: false,
            machine_down: false,
            applied: None,
        };
        // The same acknowledgement once more does not make it later.
        level(&mut leader, Time(8), 1, Time(3), Round::ZERO);
        hears(&mut leader, Time(9), 1, TERM, Body::AppendReply(reply));
        assert_eq!(leader.peers(Time(9))[0].rolled_back, rolled_back, "sent at {sent_at}");
    }
}

#[test]
fn reads_of_peers_are_forgotten_after_an_election_timeout() {
    let timeout = Config::default().election_timeout;
    let mut leader = leader();
    let request = ReadIndexRequest { id: 9, recovering: false };
    hears(&mut leader, Time(10), 1, TERM, Body::ReadIndexRequest(request));
    assert_eq!(leader.gathering_reads(), 1, "nothing of this term is committed");
    // It is in touch with its quorum all the while.
    level(&mut leader, Time(20), 2, Time(15), Round::ZERO);
    let due = Time(10) + timeout;
    leader.step(Time(due.0 - 1), LeaderEvent::Role(RoleEvent::Tick));
    assert_eq!(leader.gathering_reads(), 1);
    leader.step(due, LeaderEvent::Role(RoleEvent::Tick));
    assert_eq!(leader.gathering_reads(), 0);
}

/// What the voter `from` answers about its disk, having matched everything that was sent at `at`.
fn answers_about_room(leader: &mut Leader, at: Time, from: usize, disk_full: bool) -> Effects {
    let result = AppendResult::Matched { index: Index(3) };
    let session = ReplicationSession(from as u64);
    let reply = AppendReply {
        session,
        round: Round::ZERO,
        sent_at: at,
        result,
        disk_full,
        recovering: false,
        machine_down: false,
        applied: None,
    };
    hears(leader, at, from, TERM, Body::AppendReply(reply))
}

fn is_told_to_stand(effects: &Effects) -> bool {
    said(effects).iter().any(|body| matches!(body, Body::TimeoutNow))
}

/// Equal disks fill at the same time: leadership went round at every tick, each turn with synced votes on full disks.
#[test]
fn rule_16_a_leader_without_room_stays_while_no_peer_says_that_it_has_room() {
    let ms = |ms: u64| Time(0) + Duration::from_millis(ms);
    let mut leader = leader();
    leader.step(ms(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    for at in 1..50 {
        let now = ms(at * 100);
        let full = leader.step(now, LeaderEvent::Role(RoleEvent::DiskFull(true)));
        let (one, two) =
            (answers_about_room(&mut leader, now, 1, true), answers_about_room(&mut leader, now, 2, true));
        let ticked = leader.step(now, LeaderEvent::Role(RoleEvent::Tick));
        for effects in [full, one, two, ticked] {
            assert!(!is_told_to_stand(&effects) && becomes(&effects).is_none(), "at {now:?}: {effects:?}");
        }
    }
    answers_about_room(&mut leader, ms(5_000), 2, false);
    let effects = leader.step(ms(5_000), LeaderEvent::Role(RoleEvent::Tick));
    assert!(is_told_to_stand(&effects), "one of them has room again");
    assert_eq!(leader.transferring_to(), Some(&node(2)));
}

#[test]
fn rule_16_a_leader_hands_nothing_over_for_room_as_soon_as_it_is_elected_or_before_it_knows() {
    let ms = |ms: u64| Time(0) + Duration::from_millis(ms);
    for (at, knows, hands_over) in [(2_900, true, false), (3_000, true, true), (3_000, false, false)] {
        let mut leader = leader();
        leader.step(ms(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
        let now = ms(at);
        answers_about_room(&mut leader, now, 1, false);
        // Another voter keeps the quorum in contact, and has no room.
        answers_about_room(&mut leader, now, 2, true);
        if !knows {
            // It starts again, and has not said yet what its disk is like now.
            let body = Body::ReadIndexRequest(ReadIndexRequest { id: 1, recovering: false });
            let asks = Message { from: node(1), to: node(0), boot: Boot(1), term: TERM, body };
            leader.step(now, LeaderEvent::Role(RoleEvent::Message(asks)));
        }
        leader.step(now, LeaderEvent::Role(RoleEvent::DiskFull(true)));
        let handed = leader.transferring_to().is_some();
        assert_eq!(handed, hands_over, "after {at} ms, known: {knows}");
    }
}

#[test]
fn leadership_is_not_handed_to_who_is_silent() {
    let ms = |ms: u64| Time(0) + Duration::from_millis(ms);
    let mut leader = leader();
    leader.step(ms(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    // Both have matched everything; one has not answered for longer than an election timeout.
    answers_about_room(&mut leader, ms(100), 1, false);
    answers_about_room(&mut leader, ms(1_900), 2, false);
    let effects = leader.step(ms(2_000), LeaderEvent::Transfer { to: None });
    assert!(is_told_to_stand(&effects));
    assert_eq!(leader.transferring_to(), Some(&node(2)));
}

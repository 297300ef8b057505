//! One executor, and pairs of them that must agree.

mod fault;
mod replay;

use bytes::Bytes;
use quorate_core::{EntryKind, Index, Position, Term};

use super::*;
use crate::machine::testing::{Log, replied};
use crate::machine::{
    Add, ClientId, CommandKey, Counter, IdempotencyKey, Kv, KvCommand, Lookup, SessionKey, SnapshotReader,
    Total,
};
use crate::machine::{ApplyContext, StateMachine};

fn counter() -> Executor<Counter> {
    Executor::new(Counter::default()).expect("captures")
}

fn key(client: u128, sequence: u64) -> SessionKey {
    SessionKey::new(ClientId(client), sequence)
}

fn bytes_of<M: StateMachine>(executor: &Executor<M>) -> Bytes {
    executor.snapshot().expect("captures").1.into_bytes().expect("writes")
}

fn restored<M: StateMachine>(zero: SnapshotZero, bytes: &Bytes) -> Executor<M> {
    let mut source = &bytes[..];
    Executor::restore(zero, Some(SnapshotReader::new(&mut source, bytes.len() as u64))).expect("restores")
}

#[test]
fn entries_are_taken_once_and_in_order() {
    let (mut log, mut counter) = (Log::default(), counter());
    let noop = log.entry(EntryKind::Noop, "");
    let add = log.command(&Add(5), None);
    let member = log.entry(EntryKind::Membership, "not looked at");
    let before = counter.applied();
    assert!(matches!(counter.apply(&add), Err(ApplyError::Gap { .. })), "the noop is missing");
    assert_eq!(counter.applied(), before);
    assert_eq!(counter.apply(&noop).expect("applies").outcome, Execution::NotCommand);
    assert_eq!(replied(counter.apply(&add)), 5);
    assert!(matches!(counter.apply(&add), Err(ApplyError::Again { .. })));
    assert!(matches!(counter.apply(&noop), Err(ApplyError::Again { .. })));
    assert_eq!(counter.apply(&member).expect("applies").outcome, Execution::NotCommand);
    assert_eq!(counter.applied(), member.position());
    log.term = Term(0);
    let falling = log.entry(EntryKind::Noop, "");
    assert!(matches!(counter.apply(&falling), Err(ApplyError::Gap { .. })), "a term that falls");
    assert_eq!(counter.query(Total.into()), Ok(5));
}

/// A node whose events no one takes has the same machine as one whose events are taken.
#[test]
fn events_that_no_one_takes_are_not_made_and_change_nothing() {
    let executor = || Executor::new(Kv::default()).expect("captures");
    let (mut heard, mut unheard, mut log) = (executor(), executor().unheard(), Log::default());
    for command in
        [KvCommand::set("a", "1"), KvCommand::set("a", "2"), KvCommand::delete("a"), KvCommand::delete("b")]
    {
        let entry = log.command(&command, None);
        let (with, without) =
            (heard.apply(&entry).expect("applies"), unheard.apply(&entry).expect("applies"));
        let deletes_nothing = command == KvCommand::delete("b");
        assert_eq!((with.events.is_empty(), without.events.len()), (deletes_nothing, 0), "{command:?}");
        assert_eq!((with.outcome, with.events_left_out), (without.outcome, without.events_left_out));
        assert_eq!(bytes_of(&heard), bytes_of(&unheard));
    }
}

#[test]
fn bug_75_a_command_retried_after_unknown_takes_effect_once() {
    let (mut log, mut counter) = (Log::default(), counter());
    let session = Some(key(1, 1));
    assert_eq!(replied(counter.apply(&log.command(&Add(5), session))), 5);
    assert_eq!(replied(counter.apply(&log.command(&Add(1), None))), 6);
    log.term = Term(2);
    let again = counter.apply(&log.command(&Add(5), session)).expect("applies");
    let Execution::Found(Lookup::Repeated { index, reply }) = again.outcome else { panic!("{again:?}") };
    assert_eq!(index, Index(1));
    assert_eq!(reply.expect("it was kept"), 5, "what it was answered then, not what it would be now");
    assert_eq!(counter.query(Total.into()), Ok(6));
    assert_eq!(replied(counter.apply(&log.command(&Add(2), Some(key(1, 3))))), 8);
    let late = counter.apply(&log.command(&Add(100), Some(key(1, 2)))).expect("applies");
    assert_eq!(late.outcome, Execution::Found(Lookup::Stale { last: 3, index: Index(4) }));
    assert_eq!(counter.query(Total.into()), Ok(8));
}

#[test]
fn another_command_under_a_key_that_was_used_is_not_applied_and_gets_no_reply_of_the_first() {
    let (mut log, mut counter) = (Log::default(), counter());
    for key in [CommandKey::from(key(1, 1)), IdempotencyKey::of_text("8e03978e").into()] {
        let total = replied(counter.apply(&log.keyed(&Add(5), Some(key)))).total();
        let first = log.last.index;
        for _ in 0..2 {
            let other = counter.apply(&log.keyed(&Add(7), Some(key))).expect("applies");
            assert_eq!(other.outcome, Execution::Found(Lookup::Mismatch { index: first }));
        }
        let again = counter.apply(&log.keyed(&Add(5), Some(key))).expect("applies");
        let Execution::Found(Lookup::Repeated { index, reply }) = again.outcome else { panic!("{again:?}") };
        assert_eq!(
            (index, reply.expect("it was kept").total()),
            (first, total),
            "the first one's retry is still known"
        );
        assert_eq!(counter.query(Total.into()), Ok(total));
        counter = restored::<Counter>(counter.zero(), &bytes_of(&counter));
        let other = counter.apply(&log.keyed(&Add(7), Some(key))).expect("applies");
        assert_eq!(
            other.outcome,
            Execution::Found(Lookup::Mismatch { index: first }),
            "and so it is in a snapshot"
        );
    }
}

/// What a build before accepted stays as its clients were told: it is in the log, and replayed.
#[test]
fn a_sequence_that_is_not_accepted_any_more_counts_in_a_log_as_it_did() {
    let (mut log, mut counter) = (Log::default(), counter());
    for (sequence, total) in [(1, 1), (u64::MAX, 2)] {
        let added = counter.apply(&log.command(&Add(1), Some(key(1, sequence))));
        assert_eq!(replied(added), total, "{sequence}");
    }
    let late = counter.apply(&log.command(&Add(1), Some(key(1, 5)))).expect("applies");
    assert_eq!(late.outcome, Execution::Found(Lookup::Stale { last: u64::MAX, index: Index(2) }));
}

#[test]
fn bug_76_the_session_table_travels_with_the_snapshot() {
    let (mut log, mut counter) = (Log::default(), counter());
    let session = Some(key(1, 1));
    let first = log.command(&Add(5), session);
    assert_eq!(replied(counter.apply(&first)), 5);
    let mut back = restored::<Counter>(counter.zero(), &bytes_of(&counter));
    assert_eq!((back.sessions(), back.applied()), (1, first.position()));
    let retry = log.command(&Add(5), session);
    for executor in [&mut counter, &mut back] {
        let outcome = executor.apply(&retry).expect("applies").outcome;
        assert!(matches!(outcome, Execution::Found(Lookup::Repeated { index: Index(1), .. })));
        assert_eq!(executor.query(Total.into()), Ok(5));
    }
    assert_eq!(bytes_of(&counter), bytes_of(&back));
}

#[test]
fn bug_76_a_forgotten_client_is_told_and_not_applied_twice() {
    let (mut log, mut counter) = (Log::default(), counter());
    let mine = Some(key(0, 1).since(Index(0)));
    assert_eq!(replied(counter.apply(&log.command(&Add(1), mine))), 1);
    for other in 1..=crate::machine::CLIENTS_MAX as u128 {
        let since = log.last.index;
        let _ = replied(counter.apply(&log.command(&Add(0), Some(key(other, 1).since(since)))));
    }
    let retry = counter.apply(&log.command(&Add(1), mine)).expect("applies");
    assert_eq!(retry.outcome, Execution::Found(Lookup::Expired { forgotten_through: Index(1) }));
    assert_eq!(counter.query(Total.into()), Ok(1));
}

#[test]
fn what_does_not_decode_is_refused_by_all_alike() {
    let (mut log, mut counter) = (Log::default(), counter());
    let zero = counter.zero();
    let mut other = Executor::<Counter>::restore(zero, None).expect("restores");
    let payloads: [&'static [u8]; 7] = [
        b"",
        b"\x01",
        b"\x01\x80\x05",
        b"\x01\x01short",
        b"\x01\x00\xc1",
        b"\x01\x00\xa1x",
        b"\x01\x00\x05\x05",
    ];
    for payload in payloads {
        let entry = log.entry(EntryKind::Command, payload);
        let refused = counter.apply(&entry).expect("takes it");
        assert!(matches!(refused.outcome, Execution::Unreadable { .. }), "{refused:?}");
        assert_eq!(other.apply(&entry), Ok(refused));
    }
    assert_eq!(counter.unreadable(), payloads.len() as u64);
    assert_eq!(replied(counter.apply(&log.command(&Add(5), Some(key(1, 1))))), 5, "and life goes on");
    let back = restored::<Counter>(counter.zero(), &bytes_of(&counter));
    assert_eq!(back.unreadable(), counter.unreadable());
}

#[test]
fn told_to_halt_it_stops_before_what_it_cannot_read() {
    let mut log = Log::default();
    let mut counter = counter().on_unreadable(OnUnreadable::Halt);
    let entry = log.command(&"a newer command", Some(key(1, 1)));
    for _ in 0..2 {
        assert!(matches!(counter.apply(&entry), Err(ApplyError::Unreadable { index: Index(1), .. })));
        assert_eq!((counter.applied().index, counter.sessions(), counter.unreadable()), (Index(0), 0, 0));
    }
    assert_eq!(counter.query(Total.into()), Ok(0), "reads go on");
}

#[test]
fn a_newer_envelope_is_never_skipped() {
    let (mut log, mut counter) = (Log::default(), counter());
    let entry = log.entry(EntryKind::Command, &b"\x03future"[..]);
    assert_eq!(counter.apply(&entry), Err(ApplyError::Newer { index: Index(1), version: 3 }));
    assert_eq!(counter.applied().index, Index(0));
}

#[test]
fn a_machine_is_not_restored_from_anothers_snapshot() {
    let bytes = bytes_of(&Executor::new(Kv::default()).expect("captures"));
    let mut source = &bytes[..];
    let reader = SnapshotReader::new(&mut source, bytes.len() as u64);
    assert!(Executor::<Counter>::restore(counter().zero(), Some(reader)).is_err());
}

//! The checker on small histories of which a person can say what they are.

use quorate_testkit::history::{
    Budget, Call, Checked, Ended, History, NotLinearizable, Operation, Reply, Value, check,
};

/// What a client did, each in one line: `write(0, 2, 7)` is a write of 7 from moment 0 to moment 2.
fn operation(start: u64, call: Call, ended: Ended) -> Operation {
    Operation { client: 0, key: "k".to_owned(), call, start, ended }
}

fn replied(start: u64, at: u64, call: Call, reply: Reply) -> Operation {
    operation(start, call, Ended::Replied { at, reply })
}

fn write(start: u64, end: u64, value: Value) -> Operation {
    replied(start, end, Call::Write(value), Reply::Written)
}

fn read(start: u64, end: u64, value: impl Into<Option<Value>>) -> Operation {
    replied(start, end, Call::Read, Reply::Value(value.into()))
}

fn swapped(start: u64, end: u64, expected: impl Into<Option<Value>>, value: Value) -> Operation {
    replied(start, end, Call::CompareAndSet { expected: expected.into(), value }, Reply::Swapped)
}

fn kept(start: u64, end: u64, expected: Value, current: impl Into<Option<Value>>) -> Operation {
    let call = Call::CompareAndSet { expected: Some(expected), value: 999 };
    replied(start, end, call, Reply::Kept { current: current.into() })
}

fn deleted(start: u64, end: u64, existed: bool) -> Operation {
    replied(start, end, Call::Delete, Reply::Deleted { existed })
}

fn unknown(start: u64, call: Call) -> Operation {
    operation(start, call, Ended::Unknown)
}

fn refused(start: u64, call: Call) -> Operation {
    operation(start, call, Ended::Refused)
}

fn checked(operations: Vec<Operation>) -> Result<Checked, NotLinearizable> {
    check(&History { operations }, Budget::default())
}

#[track_caller]
fn good(operations: Vec<Operation>) {
    if let Err(why) = checked(operations) {
        panic!("it is linearizable, but: {why}");
    }
}

/// Bad, and what is printed holds the words.
#[track_caller]
fn bad(operations: Vec<Operation>, printed: &str) {
    match checked(operations) {
        Ok(_) => panic!("it is not linearizable"),
        Err(why) => {
            assert!(matches!(why, NotLinearizable::NoOrder { .. }), "{why}");
            assert!(why.to_string().contains(printed), "{printed:?} is not in:\n{why}");
        }
    }
}

#[test]
fn nothing_and_one_after_another_are_good() {
    good(vec![]);
    good(vec![read(0, 1, None)]);
    good(vec![write(0, 1, 1), read(2, 3, 1), deleted(4, 5, true), read(6, 7, None), deleted(8, 9, false)]);
    good(vec![swapped(0, 1, None, 1), swapped(2, 3, 1, 2), kept(4, 5, 1, 2), read(6, 7, 2)]);
}

#[test]
fn a_stale_read_is_bad() {
    bad(vec![write(0, 1, 1), write(2, 3, 2), read(4, 5, 1)], "> [     4      5] client  0: read: it holds 1");
    bad(vec![write(0, 1, 1), read(2, 3, None)], "read: it holds nothing");
    good(vec![write(0, 1, 1), write(2, 5, 2), read(3, 4, 1)]);
}

#[test]
fn reads_that_go_back_are_bad() {
    bad(vec![write(0, 1, 1), write(2, 9, 2), read(3, 4, 2), read(5, 6, 1)], "it holds 1");
    good(vec![write(0, 1, 1), write(2, 9, 2), read(3, 4, 1), read(5, 6, 2)]);
    // Two at once may see the two in either order.
    good(vec![write(0, 1, 1), write(2, 9, 2), read(3, 6, 2), read(4, 7, 1)]);
}

#[test]
fn a_lost_update_is_bad() {
    // Acknowledged, and gone after the crash.
    bad(vec![write(0, 1, 1), write(2, 3, 2), read(9, 10, 1)], "write 2: written");
    bad(vec![write(0, 1, 1), swapped(2, 5, 1, 2), swapped(3, 6, 1, 3)], "cas 1");
    bad(vec![write(0, 1, 1), deleted(2, 3, true), read(4, 5, 1)], "it holds 1");
}

#[test]
fn a_value_never_written_is_bad() {
    bad(vec![write(0, 1, 1), read(2, 3, 7)], "it holds 7");
    bad(vec![kept(0, 1, 1, 2)], "it holds 2");
    bad(vec![read(0, 1, 1), write(2, 3, 1)], "it holds 1");
    bad(vec![deleted(0, 1, true)], "delete: deleted");
}

#[test]
fn a_compare_and_set_that_succeeded_twice_is_bad() {
    bad(vec![write(0, 1, 1), swapped(2, 3, 1, 2), swapped(4, 5, 1, 2)], "cas 1 to 2: swapped");
    bad(vec![swapped(0, 2, None, 1), swapped(1, 3, None, 2)], "cas nothing");
    bad(vec![write(0, 1, 1), kept(2, 3, 1, 1)], "cas 1 to 999: it holds 1");
    good(vec![write(0, 1, 1), swapped(2, 3, 1, 2), write(4, 5, 1), swapped(6, 7, 1, 2)]);
}

#[test]
fn an_unknown_write_may_be_seen_late_or_never() {
    let lost = || unknown(0, Call::Write(1));
    good(vec![lost(), read(1, 2, None)]);
    good(vec![lost(), read(1, 2, None), write(3, 4, 2), read(5, 6, 2), read(90, 91, 1)]);
    good(vec![lost(), read(1, 2, 1)]);
    // It happens once at most.
    bad(vec![lost(), read(1, 2, 1), write(3, 4, 2), read(5, 6, 1)], "write 1: unknown");
    // Not before it began.
    bad(vec![read(0, 1, 1), unknown(2, Call::Write(1))], "it holds 1");
}

#[test]
fn an_unknown_compare_and_set_or_delete_may_have_done_it() {
    let swap = || unknown(2, Call::CompareAndSet { expected: Some(1), value: 2 });
    good(vec![write(0, 1, 1), swap(), read(3, 4, 1), read(5, 6, 2)]);
    good(vec![write(0, 1, 1), swap(), read(3, 4, 1)]);
    bad(vec![write(0, 1, 3), swap(), read(3, 4, 2)], "it holds 2");
    good(vec![write(0, 1, 1), unknown(2, Call::Delete), read(3, 4, 1), deleted(5, 6, false)]);
    bad(vec![unknown(0, Call::Delete), write(1, 2, 1), read(3, 4, None), read(5, 6, 1)], "it holds 1");
    // One unknown that needs another.
    let first = unknown(0, Call::CompareAndSet { expected: None, value: 1 });
    let second = unknown(1, Call::CompareAndSet { expected: Some(1), value: 2 });
    good(vec![first, second, read(5, 6, 2)]);
    good(vec![unknown(0, Call::Write(5)), deleted(1, 2, true)]);
}

#[test]
fn what_was_refused_never_happened() {
    good(vec![refused(0, Call::Write(1)), read(1, 2, None)]);
    bad(vec![refused(0, Call::Write(1)), read(1, 2, 1)], "write 1: refused");
    bad(vec![write(0, 1, 1), refused(2, Call::Delete), read(3, 4, None)], "it holds nothing");
}

#[test]
fn a_reply_to_another_call_is_bad() {
    bad(vec![replied(0, 1, Call::Write(1), Reply::Swapped)], "write 1: swapped");
}

#[test]
fn each_key_is_a_register_of_its_own() {
    let other = Operation { key: "other".to_owned(), ..write(0, 1, 1) };
    good(vec![other.clone(), read(2, 3, None)]);
    let Err(NotLinearizable::NoOrder { key, .. }) = checked(vec![
        write(2, 3, 2),
        read(4, 5, 2),
        other,
        Operation { key: "other".into(), ..read(6, 7, 2) },
    ]) else {
        panic!("the other key never held 2")
    };
    assert_eq!(key, "other");
}

#[test]
fn running_out_of_steps_is_a_failure() {
    let history = History { operations: (0..100).map(|at| write(2 * at, 2 * at + 1, at)).collect() };
    let checked = check(&history, Budget { steps_max: 100 }).expect("one step each");
    assert_eq!((checked.keys, checked.operations, checked.steps), (1, 100, 100));
    let why = check(&history, Budget { steps_max: 98 }).expect_err("it is not enough");
    assert!(matches!(why, NotLinearizable::OutOfSteps { .. }), "{why}");
    // The budget is one for all keys.
    let mut two = history.clone();
    two.operations
        .extend(history.operations.iter().map(|one| Operation { key: "other".into(), ..one.clone() }));
    assert!(check(&two, Budget { steps_max: 150 }).is_err());
    assert!(check(&two, Budget { steps_max: 200 }).is_ok());
}

#[test]
fn an_end_before_the_start_is_a_mistake_of_the_recording() {
    let why = checked(vec![write(3, 3, 1)]).expect_err("no time passed");
    assert!(matches!(why, NotLinearizable::Backwards { .. }), "{why}");
}

#[test]
fn many_unknown_writes_that_nobody_saw_cost_nothing() {
    let mut operations: Vec<_> = (0..200).map(|at| unknown(at, Call::Write(10_000 + at))).collect();
    operations.extend((0..2_000).map(|at| write(1_000 + 2 * at, 1_001 + 2 * at, at)));
    operations.push(read(9_000, 9_001, 1_999));
    let checked = checked(operations).expect("they may never have happened");
    assert_eq!(checked.steps, 2_001);
}

#[test]
fn the_window_shows_where_it_breaks_in_a_long_history() {
    let mut operations: Vec<_> =
        (0..1_000).flat_map(|at| [write(4 * at, 4 * at + 1, at), read(4 * at + 2, 4 * at + 3, at)]).collect();
    operations[1_001] = read(2_002, 2_003, 3);
    let why = checked(operations).expect_err("a stale read").to_string();
    assert!(why.contains("now it holds 500"), "{why}");
    assert!(why.contains("> [  2002   2003] client  0: read: it holds 3"), "{why}");
    assert!(why.contains("    [    12     13] client  0: write 3: written"), "{why}");
    assert!(why.lines().count() < 40, "{why}");
}

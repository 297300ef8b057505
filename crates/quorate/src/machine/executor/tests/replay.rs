//! Straight application, and every way to come to the same state.

use std::fmt::Write as _;

use proptest::prelude::*;
use quorate_core::Entry;

use super::*;
use crate::machine::{CommandKey, IdempotencyKey, KvAnswer, KvCommand, KvQuery, KvReply};

/// What a log is made of.
#[derive(Debug, Clone)]
enum Step {
    Noop,
    Command(KvCommand, Option<CommandKey>),
    Garbage(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = (0..3_u128, 0..4_u64, any::<bool>()).prop_map(|(client, sequence, since)| {
        let key = key(client, sequence);
        CommandKey::from(if since { key.since(Index(0)) } else { key })
    });
    let key = prop::option::of(prop_oneof![session, (0..3_u128).prop_map(|id| IdempotencyKey(id).into())]);
    let command = prop_oneof![
        ("[ab]{0,2}", "[xy]{0,2}").prop_map(|(key, value)| KvCommand::set(key, value)),
        "[ab]{1,2}".prop_map(KvCommand::delete),
    ];
    let step = prop_oneof![
        1 => Just(Step::Noop),
        8 => (command, key).prop_map(|(command, key)| Step::Command(command, key)),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|mut bytes| {
            // Not a newer envelope: that one is not taken at all.
            if let Some(version) = bytes.first_mut() { *version = 1; }
            Step::Garbage(bytes)
        }),
    ];
    prop::collection::vec(step, 1..60)
}

fn log_of(steps: Vec<Step>) -> Vec<Entry> {
    let mut log = Log::default();
    let entry = |step| {
        log.time_ms += 1;
        match step {
            Step::Noop => {
                log.term = log.term.next();
                log.entry(EntryKind::Noop, "")
            }
            Step::Command(command, key) => log.keyed(&command, key),
            Step::Garbage(bytes) => log.entry(EntryKind::Command, bytes),
        }
    };
    steps.into_iter().map(entry).collect()
}

fn run(executor: &mut Executor<Kv>, entries: &[Entry]) -> Vec<Execution<KvReply>> {
    entries.iter().map(|entry| executor.apply(entry).expect("applies").outcome).collect()
}

proptest! {
    #[test]
    fn restore_and_replay_is_straight_application(steps in steps(), cut in any::<prop::sample::Index>()) {
        let entries = log_of(steps);
        let cut = cut.index(entries.len());
        let mut straight = Executor::new(Kv::default()).expect("captures");
        let mut outcomes = run(&mut straight, &entries[..cut]);
        let at_cut = bytes_of(&straight);
        outcomes.extend(run(&mut straight, &entries[cut..]));

        let mut from_zero = Executor::<Kv>::restore(straight.zero(), None).expect("restores");
        prop_assert_eq!(run(&mut from_zero, &entries), &outcomes[..]);
        let mut from_cut = restored::<Kv>(straight.zero(), &at_cut);
        prop_assert_eq!(bytes_of(&from_cut), at_cut.clone(), "an image comes back as it was");
        prop_assert_eq!(run(&mut from_cut, &entries[cut..]), &outcomes[cut..]);
        let mut installed = Executor::new(Kv::default()).expect("captures");
        if cut > 0 {
            let mut source = &at_cut[..];
            installed.install(SnapshotReader::new(&mut source, at_cut.len() as u64)).expect("installs");
        }
        run(&mut installed, &entries[cut..]);

        let expected = bytes_of(&straight);
        for other in [from_zero, from_cut, installed] {
            prop_assert_eq!(bytes_of(&other), expected.clone());
            prop_assert_eq!(other.query(KvQuery::Digest), straight.query(KvQuery::Digest));
        }
    }

    #[test]
    fn damaged_images_never_panic(steps in steps(), at in any::<prop::sample::Index>(), bit in 0..8, cut in any::<bool>()) {
        let mut executor = Executor::new(Kv::default()).expect("captures");
        run(&mut executor, &log_of(steps));
        let mut bytes = bytes_of(&executor).to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1_u8 << bit }
        let mut source = &bytes[..];
        let reader = SnapshotReader::new(&mut source, bytes.len() as u64);
        let back = Executor::<Kv>::restore(executor.zero(), Some(reader));
        prop_assert!(!cut || back.is_err());
        let panicked = matches!(back, Err(crate::machine::RestoreError::Panicked { .. }));
        prop_assert!(!panicked);
    }
}

#[test]
fn zero_is_the_machine_as_it_was_given() {
    let mut given = Executor::new(Kv::default()).expect("captures");
    let mut log = Log::default();
    let _ = replied(given.apply(&log.command(&KvCommand::set("preset", "1"), None)));
    let machine = given.machine.expect("it runs");

    let mut log = Log::default();
    let mut executor = Executor::new(machine).expect("captures");
    assert_eq!(executor.applied(), Position::ORIGIN);
    let _ = replied(executor.apply(&log.command(&KvCommand::delete("preset"), None)));
    let back = Executor::<Kv>::restore(executor.zero(), None).expect("restores");
    assert_eq!(back.applied(), Position::ORIGIN);
    assert_eq!(back.query(KvQuery::Count), Ok(KvAnswer::Count(1)));
    assert_eq!(executor.query(KvQuery::Count), Ok(KvAnswer::Count(0)));
}

/// Snapshots on disks must stay readable: if this fails, a version has to change.
#[test]
fn golden_bytes_of_a_snapshot() {
    let mut log = Log { term: Term(2), time_ms: 7, ..Log::default() };
    let mut kv = Executor::new(Kv::default()).expect("captures");
    let mut counter = counter();
    let session = Some(key(0x0102_0304, 9));
    let opaque = Some(IdempotencyKey(0x0506_0708).into());
    let _ = replied(counter.apply(&log.clone().command(&Add(5), session)));
    let _ = replied(kv.apply(&log.command(&KvCommand::set("k", "v"), session)));
    let _ = replied(kv.apply(&log.keyed(&KvCommand::set("k", "w"), opaque)));
    let mut text = String::new();
    for (name, bytes) in [("counter", bytes_of(&counter)), ("kv", bytes_of(&kv))] {
        writeln!(text, "{name}").expect("writes");
        for line in bytes.chunks(32) {
            for byte in line {
                write!(text, "{byte:02x}").expect("writes");
            }
            text.push('\n');
        }
    }
    let golden = include_str!("../../../../tests/golden/snapshots-v2.txt");
    assert_eq!(text, golden, "the bytes of snapshots have changed");
    let back = restored::<Kv>(kv.zero(), &golden_kv(golden));
    assert_eq!(back.query(KvQuery::Digest), kv.query(KvQuery::Digest));
}

/// A snapshot of the first version knows sessions without their commands' hashes, and no opaque keys.
#[test]
fn a_snapshot_of_version_1_is_read() {
    let mut log = Log { term: Term(2), time_ms: 7, ..Log::default() };
    let mut kv = Executor::new(Kv::default()).expect("captures");
    let session = Some(key(0x0102_0304, 9));
    let set = log.command(&KvCommand::set("k", "v"), session);
    let _ = replied(kv.apply(&set));
    let golden = golden_kv(include_str!("../../../../tests/golden/snapshots-v1.txt"));
    let mut back = restored::<Kv>(kv.zero(), &golden);
    assert_eq!((back.applied(), back.sessions()), (set.position(), 1));
    assert_eq!(back.query(KvQuery::Digest), kv.query(KvQuery::Digest));
    // Which command was applied is not known: a retry is taken for one, as before.
    let retry = back.apply(&log.command(&KvCommand::set("k", "v"), session)).expect("applies");
    assert!(matches!(retry.outcome, Execution::Found(Lookup::Repeated { index: Index(1), .. })), "{retry:?}");
}

/// The snapshot of the kv machine in a golden file.
fn golden_kv(golden: &str) -> Bytes {
    let hex = golden.lines().skip_while(|line| *line != "kv").skip(1).collect::<String>();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

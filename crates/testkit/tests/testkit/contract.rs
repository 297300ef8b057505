//! Machines that break their contract are caught, each in its own way; honest ones are not.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use quorate::StateMachine;
use quorate::machine::{
    Add, ApplyContext, Counter, Kv, KvCommand, KvExpected, RestoreError, Snapshot, SnapshotReader,
};
use quorate_testkit::{assert_deterministic, assert_snapshot_roundtrip};
use serde::{Deserialize, Serialize};

/// What it said when it panicked.
fn caught(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("the machine is wrong and must be caught");
    panic.downcast_ref::<String>().cloned().expect("a message")
}

fn words() -> impl Iterator<Item = String> {
    (0..40).map(|n| format!("word{}", n % 9))
}

macro_rules! machine {
    ($machine:ty, |$me:ident, $cx:ident, $word:ident| $apply:expr, |$of:ident| $snapshot:expr, |$value:ident| $restore:expr) => {
        impl StateMachine for $machine {
            type Command = String;
            type Reply = u64;
            type Query = ();
            type Answer = ();
            fn apply(&mut self, cx: &mut ApplyContext<'_>, word: String) -> u64 {
                let ($me, $cx, $word) = (self, cx, word);
                $apply
            }
            fn query(&self, (): ()) {}
            fn snapshot(&self) -> Snapshot {
                let $of = self;
                $snapshot
            }
            fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
                let $value = reader.only_value()?;
                Ok($restore)
            }
        }
    };
}

/// Stamps words with something that is not in the log: as a clock or a random number would.
#[derive(Default)]
struct Clocked(BTreeMap<String, u64>);

/// Changes by itself at every look.
static TICKS: AtomicU64 = AtomicU64::new(0);

machine!(
    Clocked,
    |me, _cx, word| {
        me.0.insert(word, TICKS.fetch_add(1, Ordering::Relaxed));
        0
    },
    |of| Snapshot::from_value(of.0.clone()),
    |value| Self(value)
);

/// Replies with something that is not in the log, though its state is right.
#[derive(Default)]
struct Chatty(u64);

machine!(
    Chatty,
    |me, _cx, _word| {
        me.0 += 1;
        TICKS.fetch_add(1, Ordering::Relaxed)
    },
    |of| Snapshot::from_value(of.0),
    |value| Self(value)
);

/// Keeps a `HashMap`, and writes it out as it iterates.
#[derive(Default)]
struct Unordered(HashMap<String, u64>);

machine!(
    Unordered,
    |me, cx, word| {
        *me.0.entry(word).or_default() += cx.index().0;
        0
    },
    |of| Snapshot::from_value(of.0.clone()),
    |value| Self(value)
);

/// Counts, and forgets the count in its snapshot.
#[derive(Default)]
struct Forgetful {
    words: BTreeMap<String, u64>,
    applied: u64,
}

machine!(
    Forgetful,
    |me, _cx, word| {
        me.applied += 1;
        *me.words.entry(word).or_default() += 1;
        me.applied
    },
    |of| Snapshot::from_value(of.words.clone()),
    |value| Self { words: value, applied: 0 }
);

/// Writes more than it reads.
#[derive(Default)]
struct Trailing(u64);

impl StateMachine for Trailing {
    type Command = String;
    type Reply = u64;
    type Query = ();
    type Answer = ();
    fn apply(&mut self, _: &mut ApplyContext<'_>, _: String) -> u64 {
        self.0 += 1;
        self.0
    }
    fn query(&self, (): ()) {}
    fn snapshot(&self) -> Snapshot {
        Snapshot::from_bytes([self.0.to_be_bytes(), self.0.to_be_bytes()].concat())
    }
    fn restore(mut reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let mut bytes = [0; 8];
        std::io::Read::read_exact(&mut reader, &mut bytes).map_err(|_| RestoreError::invalid("too short"))?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

/// A command that does not come back from MessagePack as it went: `Option<Option<_>>`.
#[derive(Default)]
struct Lossy;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::option_option, reason = "this is the mistake")]
struct Set(Option<Option<u64>>);

impl StateMachine for Lossy {
    type Command = Set;
    type Reply = bool;
    type Query = ();
    type Answer = ();
    fn apply(&mut self, _: &mut ApplyContext<'_>, Set(value): Set) -> bool {
        value.is_some()
    }
    fn query(&self, (): ()) {}
    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(())
    }
    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value::<()>().map(|()| Self)
    }
}

#[test]
fn a_machine_that_looks_at_a_clock_is_caught() {
    let said = caught(|| assert_deterministic(Clocked::default, words()));
    assert!(said.contains("snapshots differ after command 0") && said.contains("a clock"), "{said}");
}

#[test]
fn a_machine_whose_replies_differ_is_caught() {
    let said = caught(|| assert_deterministic(Chatty::default, words()));
    assert!(said.contains("command 0, \"word0\": two machines replied differently"), "{said}");
}

#[test]
fn a_machine_that_iterates_a_hash_map_is_caught() {
    let said = caught(|| assert_deterministic(Unordered::default, words()));
    assert!(said.contains("snapshots differ after command") && said.contains("HashMap"), "{said}");
}

#[test]
fn a_command_that_does_not_survive_its_journey_is_caught() {
    let said =
        caught(|| assert_deterministic(Lossy::default, [Set(None), Set(Some(Some(1))), Set(Some(None))]));
    assert!(
        said.contains("it went into MessagePack as Set(Some(None)) and came back as Set(None)"),
        "{said}"
    );
}

#[test]
fn a_machine_that_forgets_a_field_in_its_snapshot_is_caught() {
    // Two of them behave alike as long as none is restored.
    assert_deterministic(Forgetful::default, words());
    let said = caught(|| assert_snapshot_roundtrip(Forgetful::default, words()));
    assert!(
        said.contains("command 20, \"word2\": a machine made of a snapshot replied differently"),
        "{said}"
    );
}

#[test]
fn a_machine_that_leaves_bytes_unread_is_caught() {
    let said = caught(|| assert_snapshot_roundtrip(Trailing::default, words()));
    assert!(said.contains("snapshot half way cannot be read"), "{said}");
}

#[test]
fn the_reference_machines_keep_the_contract() {
    let adds = || (0..50).map(|n| Add(if n % 9 == 8 { i64::MAX } else { n }));
    assert_deterministic(Counter::default, adds());
    assert_snapshot_roundtrip(Counter::default, adds());
    let commands = || {
        (0..120_u64).map(|n| match n % 4 {
            0 | 1 => KvCommand::set(format!("k{}", n % 11), n.to_be_bytes().to_vec()),
            2 => KvCommand::delete(format!("k{}", n % 7)),
            _ => KvCommand::compare_and_set(
                format!("k{}", n % 5),
                KvExpected::Absent,
                n.to_be_bytes().to_vec(),
            ),
        })
    };
    assert_deterministic(Kv::default, commands());
    assert_snapshot_roundtrip(Kv::default, commands());
}

#[test]
fn no_commands_are_no_mistake() {
    assert_deterministic(Counter::default, []);
    assert_snapshot_roundtrip(Counter::default, []);
}

//! Whether a state machine keeps its contract: the same commands give the same replies and the same bytes, and a snapshot
//! is all there is to know of it.
//!
//! Quorate runs one machine per node, restarts it from a snapshot or from nothing at any time, and replays the log into
//! it. A machine that looks at a clock, draws a number, iterates a `HashMap`, or leaves a field out of its snapshot works
//! well until two replicas differ. These checks find that on one thread, with commands at hand. They find nothing in a
//! machine whose commands never come near the mistake: give them many.
//!
//! They are not: a proof, or a test of what the machine is for.

use std::fmt::Debug;

use bytes::Bytes;
use quorate::StateMachine;
use quorate::machine::{Envelope, Execution, Executor, SnapshotReader, decode, encode};
use quorate_core::{Entry, EntryKind, Hash, Position, Term};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Applies the commands to two new machines, to the second as they come out of MessagePack and back, and compares every
/// reply, encoded, and the bytes of a snapshot after every command. In the log the same commands carry the same times and
/// the same seeds for both.
///
/// ```
/// use quorate::machine::{Add, Counter};
/// quorate_testkit::assert_deterministic(Counter::default, (1..=50).map(Add));
/// ```
///
/// # Panics
///
/// At the first difference, naming the command and what differs; and where the machine itself panics.
#[track_caller]
pub fn assert_deterministic<M>(machine: impl Fn() -> M, commands: impl IntoIterator<Item = M::Command>)
where
    M: StateMachine,
    M::Command: Debug,
    M::Reply: Debug,
{
    let mut log = Log::default();
    let (mut one, mut other) = (Replica::new(machine()), Replica::new(machine()));
    assert_same("before the first command", &one.snapshot(), &other.snapshot());
    for (at, command) in commands.into_iter().enumerate() {
        let what = format!("command {at}, {command:?}");
        let entry = log.entry(&command);
        let reply = one.apply(&entry, &what);
        // What travels is bytes: it must come back as it went.
        let command = back(&command, &what);
        let entry = log.again(&command);
        let again = other.apply(&entry, &what);
        assert!(
            write(&reply, &what) == write(&again, &what),
            "{what}: two machines replied differently\n  one:   {reply:?}\n  other: {again:?}\n{HINT}"
        );
        back(&reply, &what);
        assert_same(&format!("after {what}"), &one.snapshot(), &other.snapshot());
    }
}

/// Applies the first half of the commands to a machine, takes a snapshot and makes a second machine of it; then applies
/// the rest to both and compares every reply and the bytes of a snapshot after every command. Does so again from a
/// snapshot of the second machine at its end.
///
/// ```
/// use quorate::machine::{Kv, KvCommand};
/// let commands = (0..60).map(|n| KvCommand::set(format!("key{}", n % 7), format!("value{n}")));
/// quorate_testkit::assert_snapshot_roundtrip(Kv::default, commands);
/// ```
///
/// # Panics
///
/// At the first difference, naming the command and what differs; if a snapshot cannot be read, or not to its end; and
/// where the machine itself panics.
#[track_caller]
pub fn assert_snapshot_roundtrip<M>(machine: impl Fn() -> M, commands: impl IntoIterator<Item = M::Command>)
where
    M: StateMachine,
    M::Command: Debug,
    M::Reply: Debug,
{
    let mut log = Log::default();
    let entries: Vec<(String, Entry)> = commands
        .into_iter()
        .enumerate()
        .map(|(at, command)| (format!("command {at}, {command:?}"), log.entry(&command)))
        .collect();
    let mut one = Replica::new(machine());
    let (before, after) = entries.split_at(entries.len() / 2);
    for (what, entry) in before {
        one.apply(entry, what);
    }
    let mut other = one.restored("half way");
    for (what, entry) in after {
        let (reply, again) = (one.apply(entry, what), other.apply(entry, what));
        assert!(
            write(&reply, what) == write(&again, what),
            "{what}: a machine made of a snapshot replied differently\n  machine:  {reply:?}\n  restored: {again:?}\n\
             is there a field that the snapshot leaves out?"
        );
        assert_same(
            &format!("of a machine made of a snapshot, after {what}"),
            &one.snapshot(),
            &other.snapshot(),
        );
    }
    other.restored("at the end");
}

const HINT: &str = "does `apply` look at a clock, at chance, at an address, or at the order of a HashMap?";

struct Replica<M>(Executor<M>);

impl<M: StateMachine> Replica<M> {
    fn new(machine: M) -> Self {
        Self(Executor::new(machine).unwrap_or_else(|error| panic!("no snapshot of the new machine: {error}")))
    }

    fn apply(&mut self, entry: &Entry, what: &str) -> M::Reply {
        match self.0.apply(entry) {
            Ok(executed) => match executed.outcome {
                Execution::Replied(reply) => reply,
                Execution::Unreadable { detail } => panic!("{what}: it cannot be read again: {detail}"),
                _ => unreachable!("there are no sessions here, and nothing but commands"),
            },
            Err(error) => panic!("{what}: {error}"),
        }
    }

    fn snapshot(&self) -> Bytes {
        let taken = self.0.snapshot().unwrap_or_else(|error| panic!("no snapshot: {error}"));
        taken.1.into_bytes().unwrap_or_else(|error| panic!("the snapshot does not write itself: {error}"))
    }

    /// A machine made of this one's snapshot, which has the same snapshot.
    fn restored(&self, when: &str) -> Self {
        let bytes = self.snapshot();
        let mut source = &bytes[..];
        let reader = SnapshotReader::new(&mut source, bytes.len() as u64);
        let restored = Executor::restore(self.0.zero(), Some(reader));
        let restored =
            Self(restored.unwrap_or_else(|error| panic!("snapshot {when} cannot be read: {error}")));
        assert_same(&format!("{when}, of a machine made of a snapshot"), &bytes, &restored.snapshot());
        restored
    }
}

#[track_caller]
fn assert_same(when: &str, one: &Bytes, other: &Bytes) {
    let differ = one.iter().zip(other).position(|(a, b)| a != b);
    let differ = differ.or((one.len() != other.len()).then(|| one.len().min(other.len())));
    if let Some(at) = differ {
        panic!(
            "snapshots differ {when}: at byte {at}, of {} and {} bytes; the same state must give the same bytes\n{HINT}",
            one.len(),
            other.len()
        );
    }
}

fn write<T: Serialize>(value: &T, what: &str) -> Bytes {
    encode(value, usize::MAX).unwrap_or_else(|error| panic!("{what}: it cannot be encoded: {error}"))
}

/// Through MessagePack and back: the same, as far as it prints.
#[track_caller]
fn back<T: Serialize + DeserializeOwned + Debug>(value: &T, what: &str) -> T {
    let came = decode(&write(value, what));
    let came: T = came.unwrap_or_else(|error| panic!("{what}: {value:?} cannot be decoded again: {error}"));
    let (went, back) = (format!("{value:?}"), format!("{came:?}"));
    assert!(went == back, "{what}: it went into MessagePack as {went} and came back as {back}");
    came
}

/// The log the commands stand in.
struct Log {
    before: Position,
    last: Position,
    time_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { before: Position::ORIGIN, last: Position::ORIGIN, time_ms: 1_700_000_000_000 }
    }
}

impl Log {
    /// The next entry. Time goes on unevenly, and stands still now and then.
    fn entry<C: Serialize>(&mut self, command: &C) -> Entry {
        self.before = self.last;
        self.time_ms += (self.last.index.0 * 7919) % 5 * 977;
        let entry = self.again(command);
        self.last = entry.position();
        entry
    }

    /// The same place in the log.
    fn again<C: Serialize>(&self, command: &C) -> Entry {
        let payload = Envelope::encode(command, None, usize::MAX)
            .unwrap_or_else(|error| panic!("a command cannot be encoded: {error}"));
        let leaf = Hash::of(&payload);
        Entry::follow(self.before, Term(1), self.time_ms, EntryKind::Command, payload, leaf)
    }
}

//! Clients of a run: some read and write a few registers and are recorded, some add to a counter exactly once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quorate::machine::{
    Add, ClientId, CommandKey, IdempotencyKey, Kv, KvAnswer, KvCommand, KvExpected, KvQuery, KvReply,
    SessionKey, Versioned,
};
use quorate::{Client, ClientOptions, Consistency, Outcome, ProposeError, QueryError, RemoteGroup};
use quorate_testkit::history::{Call, Pending, Recorder, Reply, Value};
use quorate_testkit::sim::{Draw, NotDone};

use super::coverage::Coverage;
use super::groups::{Groups, KV, Kvs, Mixed, NewCommand, OldCommand};
use super::options::{Options, Sabotage};
use super::sessions::Remembered;

/// What the clients of a run have in common.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) cluster: Kvs,
    pub(crate) options: Options,
    pub(crate) recorder: Recorder,
    pub(crate) coverage: Coverage,
    /// Set when clients are to end.
    pub(crate) over: Rc<Cell<bool>>,
    pub(crate) acknowledged: Rc<Cell<u64>>,
    /// One for each counter.
    pub(crate) tallies: Rc<[Tally]>,
    pub(crate) sums: Rc<Sums>,
    pub(crate) remembered: Rc<Remembered>,
}

/// What was added to one counter and acknowledged, all its adders together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) added: Cell<i64>,
    /// What each addition was answered with.
    totals: RefCell<BTreeSet<i64>>,
}

/// What was added to the total of the mixed group.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) acknowledged: Cell<u64>,
    /// Of these it is not known whether they count.
    pub(crate) unknown: Cell<u64>,
}

/// How an operation reaches the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    /// A handle on this node.
    Node(usize),
    /// A client outside, which looks for the leader and retries by itself.
    Client(RemoteGroup<Kv>),
}

impl Via {
    fn name(&self) -> String {
        match self {
            Self::Node(at) => format!("node{at}"),
            Self::Client(_) => "outside".to_owned(),
        }
    }
}

enum End {
    Replied(Reply),
    Refused,
    Unknown,
}

fn number(versioned: Option<&Versioned>) -> Option<Value> {
    versioned.map(|v| {
        let (number, _) =
            v.value.split_first_chunk().expect("every value begins with a number of eight bytes");
        Value::from_be_bytes(*number)
    })
}

/// The number, and behind it as many bytes as follow from it: values of all sizes.
fn bytes(value: Value, bytes_max: usize) -> Bytes {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.resize(8 + Draw::new(value).place(bytes_max + 1), 0);
    bytes.into()
}

fn command(key: &str, call: Call, bytes_max: usize) -> Option<KvCommand> {
    let bytes = |value| bytes(value, bytes_max);
    match call {
        Call::Read => None,
        Call::Write(value) => Some(KvCommand::set(key, bytes(value))),
        Call::CompareAndSet { expected, value } => {
            let expected = expected.map_or(KvExpected::Absent, |value| KvExpected::Value(bytes(value)));
            Some(KvCommand::compare_and_set(key, expected, bytes(value)))
        }
        Call::Delete => Some(KvCommand::delete(key)),
    }
}

/// Kinds of refusals that some runs must meet.
fn count_refusal(error: &ProposeError, coverage: &Coverage) {
    match error {
        ProposeError::Busy { .. } => coverage.note("refused as busy"),
        ProposeError::NoSpace { .. } => coverage.note("refused without space"),
        ProposeError::NotReady { .. } => coverage.note("refused as not ready"),
        _ => {}
    }
}

fn replied(result: Result<Result<KvReply, ProposeError>, NotDone>, coverage: &Coverage) -> End {
    if let Ok(Err(error)) = &result {
        count_refusal(error, coverage);
    }
    let reply = match result {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => match error.outcome() {
            Outcome::Refused | Outcome::Failed => return End::Refused,
            Outcome::Unknown => return End::Unknown,
        },
        Err(NotDone::Down) => return End::Refused,
        Err(NotDone::Ended) => return End::Unknown,
    };
    End::Replied(match reply {
        KvReply::Set { .. } => Reply::Written,
        KvReply::Deleted { previous } => Reply::Deleted { existed: previous.is_some() },
        KvReply::Swapped { .. } => Reply::Swapped,
        KvReply::Kept { current } => Reply::Kept { current: number(current.as_ref()) },
        KvReply::Refused(refusal) => panic!("no limit was broken: {refusal}"),
    })
}

fn answered(result: Result<Result<KvAnswer, QueryError>, NotDone>) -> End {
    match result {
        Ok(Ok(KvAnswer::Value(value))) => End::Replied(Reply::Value(number(value.as_ref()))),
        Ok(Ok(other)) => panic!("asked for a value, answered {other:?}"),
        // A query changes nothing.
        Ok(Err(_)) | Err(_) => End::Refused,
    }
}

impl Load {
    /// One operation, recorded: whether it was answered, and what was read or found, if anything was.
    pub(crate) async fn once(
        &self,
        client: u32,
        via: &Via,
        key: &str,
        call: Call,
    ) -> (bool, Option<Option<Value>>) {
        let pending: Pending = self.recorder.begin(client, key, call);
        let (name, patience) = (key.to_owned(), Duration::from_millis(self.options.call));
        let stale = self.options.sabotage == Some(Sabotage::StaleReads);
        let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
        let end = match (via, command(key, call, self.options.value_bytes)) {
            (Via::Node(at), Some(command)) => {
                let work = move |_, groups: Groups| async move {
                    groups.kv.propose_by(command, patience).await.map(|applied| applied.reply)
                };
                replied(self.cluster.on(*at, work).await, &self.coverage)
            }
            (Via::Node(at), None) => {
                let work = move |_, groups: Groups| async move {
                    groups
                        .kv
                        .query_by(KvQuery::get(name), consistency, patience)
                        .await
                        .map(|answered| answered.answer)
                };
                answered(self.cluster.on(*at, work).await)
            }
            (Via::Client(kv), Some(command)) => {
                replied(Ok(kv.propose(command).await.map(|applied| applied.reply)), &self.coverage)
            }
            (Via::Client(kv), None) => answered(Ok(kv.query(KvQuery::get(name), consistency).await)),
        };
        let by = via.name();
        let note = |end: &str| self.cluster.note(format_args!("c{client} {by} {key} {call:?}: {end}"));
        match end {
            End::Replied(reply) => {
                note(&format!("{reply:?}"));
                self.acknowledged.set(self.acknowledged.get() + 1);
                pending.replied(reply);
                self.coverage.note(format!("replied {}", kind(call)));
                if matches!(via, Via::Client(_)) {
                    self.coverage.note("replied outside");
                }
                let found = match reply {
                    Reply::Value(value) | Reply::Kept { current: value } => Some(value),
                    Reply::Written | Reply::Swapped | Reply::Deleted { .. } => None,
                };
                (true, found)
            }
            End::Refused => {
                note("refused");
                pending.refused();
                self.coverage.note("refused");
                (false, None)
            }
            End::Unknown => {
                note("unknown");
                pending.unknown();
                self.coverage.note("unknown");
                if matches!(via, Via::Client(_)) {
                    self.coverage.note("unknown outside");
                }
                (false, None)
            }
        }
    }

    /// A client of the cluster with connections of its own.
    pub(crate) async fn outside(&self) -> Client {
        let timeout = Duration::from_millis(self.options.call);
        self.cluster.client(ClientOptions { timeout, ..ClientOptions::default() }).await
    }

    /// Reads and writes until it is over.
    pub(crate) async fn client(self, client: u32, mut draw: Draw) {
        let mut written: Value = 0;
        let mut seen: Option<Value> = None;
        let home = draw.place(self.options.nodes);
        let outside = if draw.chance(self.options.outside) { Some(self.outside().await) } else { None };
        while !self.over.get() {
            let at = if draw.chance(700) { home } else { draw.place(self.options.nodes) };
            let via = outside.as_ref().map_or(Via::Node(at), |client| Via::Client(client.group(KV)));
            let key = format!("k{}", draw.below(self.options.keys));
            written += 1;
            let value = Value::from(client) << 32 | written;
            let call = match draw.below(100) {
                0..40 => Call::Read,
                40..70 => Call::Write(value),
                70..92 => Call::CompareAndSet { expected: seen, value },
                _ => Call::Delete,
            };
            if let (_, Some(found)) = self.once(client, &via, &key, call).await {
                seen = found;
            }
            self.cluster.pause(Duration::from_millis(draw.range(0, self.options.think))).await;
        }
        if let Some(client) = outside {
            client.close().await;
        }
    }

    /// Adds one, again and again, each under a key of its own until it is acknowledged; and does not end before.
    pub(crate) async fn adder(self, counter: usize, name: u64, mut draw: Draw) {
        let tally = &self.tallies[counter];
        let client = ClientId::of_name(&format!("adder{name}"));
        let mut sequence = 0;
        while !self.over.get() {
            sequence += 1;
            let key = if name.is_multiple_of(2) {
                CommandKey::from(SessionKey::new(client, sequence))
            } else {
                IdempotencyKey::of_text(&format!("adder{name}-{sequence}")).into()
            };
            let mut tries = 0;
            loop {
                let keyless = self.options.sabotage == Some(Sabotage::KeylessRetries);
                let at = draw.place(self.options.nodes);
                let patience = Duration::from_millis(self.options.call);
                let work = move |_, groups: Groups| async move {
                    let count = &groups.counts[counter];
                    let added = if keyless {
                        count.propose_by(Add(1), patience).await
                    } else {
                        count.propose_once(key, Add(1), patience).await
                    };
                    added.map(|applied| applied.reply)
                };
                let end = self.cluster.on(at, work).await;
                self.cluster.note(format_args!("adder{name} {counter} node{at} {sequence}: {end:?}"));
                if let Ok(Ok(added)) = end {
                    let total = added.total();
                    let is_new = tally.totals.borrow_mut().insert(total);
                    assert!(is_new, "exactly once: two additions were answered with the total {total}");
                    break;
                }
                tries += 1;
                self.cluster.pause(Duration::from_millis(20)).await;
            }
            if tries > 0 {
                self.coverage.note("added after retries");
            }
            tally.added.set(tally.added.get() + 1);
            // Ten groups together do about as much as two.
            let think = if counter == 0 { 2 * self.options.think } else { 20 * self.options.think };
            self.cluster.pause(Duration::from_millis(draw.range(0, think))).await;
        }
    }
}

impl Load {
    /// Adds to the total of the mixed group, by commands that every build knows and by those that only the new one does.
    pub(crate) async fn sums(self, mut draw: Draw) {
        while !self.over.get() {
            let (at, is_new) = (draw.place(self.options.nodes), draw.chance(200));
            let patience = Duration::from_millis(self.options.call);
            let work = move |_, groups: Groups| async move {
                match groups.mixed.expect("it is open") {
                    Mixed::Old(group) => (1, group.propose_by(OldCommand::Add(1), patience).await),
                    Mixed::New(group) if is_new => {
                        (2, group.propose_by(NewCommand::AddTwice(1), patience).await)
                    }
                    Mixed::New(group) => (1, group.propose_by(NewCommand::Add(1), patience).await),
                }
            };
            match self.cluster.on(at, work).await {
                Ok((amount, Ok(_))) => {
                    self.sums.acknowledged.set(self.sums.acknowledged.get() + amount);
                    if amount == 2 {
                        self.coverage.note("replied newer command");
                    }
                }
                Ok((amount, Err(error))) => {
                    if matches!(error, ProposeError::NotReadHere { .. }) {
                        self.coverage.note("newer command refused by an old leader");
                    }
                    if error.outcome() == Outcome::Unknown {
                        self.sums.unknown.set(self.sums.unknown.get() + amount);
                    }
                }
                Err(NotDone::Ended) => self.sums.unknown.set(self.sums.unknown.get() + 2),
                Err(NotDone::Down) => {}
            }
            self.cluster.pause(Duration::from_millis(draw.range(0, 3 * self.options.think))).await;
        }
    }
}

/// A task that panicked fails the run with its own words.
pub(crate) fn joined(end: Result<(), tokio::task::JoinError>) {
    if let Err(error) = end {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn kind(call: Call) -> &'static str {
    match call {
        Call::Read => "read",
        Call::Write(_) => "write",
        Call::CompareAndSet { .. } => "cas",
        Call::Delete => "delete",
    }
}

//! Three nodes with real threads, real sockets and fjall in real directories, while actors are hurt, nodes are killed and links
//! are cut: what clients saw is linearizable.
//!
//! The harm is drawn from a seed, but threads are not: a run cannot be repeated. What the simulations cannot show is shown here:
//! the node's thread, its I/O thread and the threads of machines beside each other.
//!
//! `QUORATE_CHAOS_OPERATIONS=n` asks for a longer run, as `.ci/soak` does, `QUORATE_SEED=n` for other harm.

#![allow(clippy::disallowed_methods, reason = "clients are tasks of their own")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use quorate::machine::{Kv, KvAnswer, KvCommand, KvExpected, KvQuery, KvReply, Versioned};
use quorate::{Consistency, GroupHandle, Injury, Node, Outcome};
use quorate_core::SplitMix64;
use quorate_testkit::history::{Budget, Call, Recorder, Reply, Value, check};
use quorate_tests::cluster::{Cluster, quick, quiet_panics};
use quorate_tests::cuts::Cuts;
use quorate_tests::wait::eventually;

const NODES: usize = 3;
const CLIENTS: u32 = 4;
/// Operations of a run that no one asked to be longer.
const OPERATIONS: u64 = 600;
/// Operations from one act of harm to the next, and to its end.
const HARM_EVERY: u64 = 25;
const PATIENCE_OF_CLIENTS: Duration = Duration::from_millis(500);

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
}

struct Shared {
    /// A node that is down has none.
    groups: Mutex<[Option<GroupHandle<Kv>>; NODES]>,
    recorder: Recorder,
    /// Operations that ended.
    ended: AtomicU64,
    replied: AtomicU64,
    over: AtomicBool,
}

fn bytes(value: Value) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

fn number(found: Option<&Versioned>) -> Option<Value> {
    found.map(|found| Value::from_be_bytes(found.value.as_ref().try_into().expect("eight bytes")))
}

enum Ended {
    Replied(Reply),
    Refused,
    Unknown,
}

async fn propose(group: &GroupHandle<Kv>, command: KvCommand) -> Ended {
    match group.propose_by(command, PATIENCE_OF_CLIENTS).await.map(|applied| applied.reply) {
        Ok(KvReply::Set { .. }) => Ended::Replied(Reply::Written),
        Ok(KvReply::Deleted { previous }) => Ended::Replied(Reply::Deleted { existed: previous.is_some() }),
        Ok(KvReply::Swapped { .. }) => Ended::Replied(Reply::Swapped),
        Ok(KvReply::Kept { current }) => Ended::Replied(Reply::Kept { current: number(current.as_ref()) }),
        Ok(KvReply::Refused(refusal)) => panic!("no limit was broken: {refusal}"),
        Err(error) => match error.outcome() {
            Outcome::Refused | Outcome::Failed => Ended::Refused,
            Outcome::Unknown => Ended::Unknown,
        },
    }
}

impl Shared {
    fn group(&self, at: usize) -> Option<GroupHandle<Kv>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)[at].clone()
    }

    fn set_group(&self, at: usize, group: Option<GroupHandle<Kv>>) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)[at] = group;
    }

    async fn operate(&self, client: u32, at: usize, key: &str, call: Call) -> Option<Reply> {
        let Some(group) = self.group(at) else {
            // The other nodes get on while this one is down.
            tokio::task::yield_now().await;
            return None;
        };
        let pending = self.recorder.begin(client, key, call);
        let end = match call {
            Call::Read => {
                let read = group.query_by(KvQuery::get(key), Consistency::Linearizable, PATIENCE_OF_CLIENTS);
                match read.await.map(|answered| answered.answer) {
                    Ok(KvAnswer::Value(value)) => Ended::Replied(Reply::Value(number(value.as_ref()))),
                    Ok(other) => panic!("asked for a value, answered {other:?}"),
                    Err(_) => Ended::Refused,
                }
            }
            Call::Write(value) => propose(&group, KvCommand::set(key, bytes(value))).await,
            Call::CompareAndSet { expected, value } => {
                let expected =
                    expected.map_or(KvExpected::Absent, |expected| KvExpected::Value(bytes(expected)));
                propose(&group, KvCommand::compare_and_set(key, expected, bytes(value))).await
            }
            Call::Delete => propose(&group, KvCommand::delete(key)).await,
        };
        self.ended.fetch_add(1, Ordering::SeqCst);
        match end {
            Ended::Replied(reply) => {
                self.replied.fetch_add(1, Ordering::SeqCst);
                pending.replied(reply);
                return Some(reply);
            }
            Ended::Refused => pending.refused(),
            Ended::Unknown => pending.unknown(),
        }
        None
    }

    async fn client(self: Arc<Self>, client: u32, mut draw: SplitMix64) {
        let (mut written, mut seen) = (0, None);
        while !self.over.load(Ordering::SeqCst) {
            written += 1;
            let value = Value::from(client) << 32 | written;
            let call = match draw.below(100) {
                0..40 => Call::Read,
                40..70 => Call::Write(value),
                70..92 => Call::CompareAndSet { expected: seen, value },
                _ => Call::Delete,
            };
            let key = format!("k{}", draw.below(2));
            let replied = self.operate(client, draw.place(NODES), &key, call).await;
            if let Some(Reply::Value(found) | Reply::Kept { current: found }) = replied {
                seen = found;
            }
        }
    }

    /// Waits until so many more operations have ended. While nodes are down they end too: refused.
    async fn pass(&self, more: u64) -> Result<()> {
        let goal = self.ended.load(Ordering::SeqCst) + more;
        let passed = async || (self.ended.load(Ordering::SeqCst) >= goal).then_some(());
        eventually("more operations", passed).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    Injure,
    Kill,
    Stop,
    Cut,
    Isolate,
}

const HARMS: [Harm; 6] = [Harm::Injure, Harm::Kill, Harm::Injure, Harm::Cut, Harm::Stop, Harm::Isolate];

struct Nemesis {
    cluster: Cluster,
    cuts: Cuts,
    shared: Arc<Shared>,
    draw: SplitMix64,
    done: BTreeMap<String, u64>,
}

impl Nemesis {
    async fn start(&mut self, at: usize) -> Result<()> {
        let node = self.cluster.start_node_over(at, self.cuts.net(self.cluster.port(at))).await?;
        let group = node.group("kv", Kv::default()).await?;
        self.shared.set_group(at, Some(group));
        Ok(())
    }

    async fn harm(&mut self, harm: Harm) -> Result<()> {
        let (at, other) = (self.draw.place(NODES), self.draw.place(NODES));
        *self.done.entry(format!("{harm:?}")).or_default() += 1;
        match harm {
            Harm::Injure => self.injure(at),
            Harm::Kill | Harm::Stop => {
                self.shared.set_group(at, None);
                if harm == Harm::Kill {
                    self.cluster.kill(at).await;
                } else {
                    self.cluster.stop(at).await;
                }
                self.shared.pass(HARM_EVERY).await?;
                self.start(at).await?;
            }
            Harm::Cut | Harm::Isolate => {
                let others =
                    (0..NODES).filter(|o| *o != at && (harm == Harm::Isolate || *o == (at + 1) % NODES));
                others.for_each(|other| self.cuts.cut(self.cluster.port(at), self.cluster.port(other)));
                self.shared.pass(HARM_EVERY).await?;
                // What else happens meanwhile.
                self.injure(other);
                self.shared.pass(HARM_EVERY).await?;
                self.cuts.heal();
            }
        }
        Ok(())
    }

    fn injure(&mut self, at: usize) {
        let node: &Node = self.cluster.node(at);
        let actors = node.actors();
        let injury = self.draw.pick(&[Injury::Panic, Injury::Stop, Injury::Kill]);
        if !actors.is_empty() {
            let actor = &actors[self.draw.place(actors.len())];
            if node.injure(&actor.name, injury) {
                *self.done.entry(format!("{injury:?}")).or_default() += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_threads_and_disks_under_harm_are_linearizable() -> Result<()> {
    quiet_panics();
    let (operations, seed) =
        (asked("QUORATE_CHAOS_OPERATIONS").unwrap_or(OPERATIONS), asked("QUORATE_SEED").unwrap_or(1));
    let shared = Arc::new(Shared {
        groups: Mutex::default(),
        recorder: Recorder::new(),
        ended: AtomicU64::new(0),
        replied: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let (cluster, draw) = (Cluster::idle(NODES, quick())?, SplitMix64::new(seed));
    let mut nemesis =
        Nemesis { cluster, cuts: Cuts::default(), shared: shared.clone(), draw, done: BTreeMap::new() };
    for at in 0..NODES {
        nemesis.start(at).await?;
    }
    let first = async || (0..NODES).find_map(|at| shared.group(at)?.leader());
    eventually("a leader", first).await?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            tokio::spawn(shared.clone().client(client, SplitMix64::new(seed << 8 | u64::from(client))))
        })
        .collect();
    for harm in HARMS.into_iter().cycle() {
        if shared.ended.load(Ordering::SeqCst) >= operations {
            break;
        }
        shared.pass(HARM_EVERY).await?;
        nemesis.harm(harm).await?;
    }
    shared.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await?;
    }
    for at in 0..NODES {
        let (client, value) = (100 + at as u32, Value::from(100 + at as u32) << 32);
        let key = format!("k{}", at % 2);
        let writes = async || {
            // Each try is a client of its own: what is unknown may still happen.
            shared.operate(client, at, &key, Call::Write(value)).await.map(drop)
        };
        eventually("every node takes a write", writes).await?;
        let reads = async || shared.operate(client, at, &key, Call::Read).await.map(drop);
        eventually("every node answers a read", reads).await?;
    }
    let alike = async || {
        let mut digests = Vec::new();
        for at in 0..NODES {
            digests.push(format!(
                "{:?}",
                shared.group(at)?.query(KvQuery::Digest, Consistency::Stale).await.ok()?
            ));
        }
        digests.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
    };
    eventually("machines are alike", alike).await?;
    let history = shared.recorder.history();
    let checked = check(&history, Budget::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let [replied, unknown, refused] = history.outcomes();
    println!(
        "chaos: seed {seed}, {} operations checked, {replied} replied to, {unknown} unknown, {refused} refused, {:?}",
        checked.operations, nemesis.done
    );
    for harm in HARMS {
        let done = nemesis.done.get(&format!("{harm:?}")).copied().unwrap_or(0);
        ensure!(done > 0, "no {harm:?} was done");
    }
    ensure!(2 * replied as u64 > operations / 2, "only {replied} of {operations} were replied to");
    nemesis.cluster.stop_all().await;
    Ok(())
}

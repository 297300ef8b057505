//! What another group sees while a machine takes its time: the 99th percentile of its commands, printed and not judged here.
//! That no one is elected and no link is lost is.
//!
//! `QUORATE_SLOW_MACHINE=MS,MIB,ENTRIES` asks for another longest command and query, snapshot and log; `.ci/soak` keeps what
//! 10 s, 200 MiB and a million entries give.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, ApplyContext, Counter, RestoreError, Snapshot, SnapshotReader};
use quorate::{Consistency, GroupHandle, StateMachine};
use quorate_tests::cluster::{Cluster, quick, quiet_panics};
use quorate_tests::wait::{PATIENCE, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Commands of the other group in a measurement, at least.
const COMMANDS_MIN: usize = 300;
/// Commands under way while the log is filled.
const AT_A_TIME: usize = 1_000;

/// Waits as long as its command or query says, and is as large as it is made.
struct Heavy {
    bytes: Vec<u8>,
    applied: u64,
}

impl StateMachine for Heavy {
    type Command = u64;
    type Reply = u64;
    type Query = u64;
    type Answer = u64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        self.applied += 1;
        self.applied
    }

    fn query(&self, ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        self.applied
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value((self.applied, serde_bytes::ByteBuf::from(self.bytes.clone())))
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let (applied, bytes): (u64, serde_bytes::ByteBuf) = reader.only_value()?;
        Ok(Self { applied, bytes: bytes.into_vec() })
    }
}

/// The groups of a cluster, and who led them at first.
struct Seen {
    counter: GroupHandle<Counter>,
    heavy: GroupHandle<Heavy>,
    usual: Duration,
}

impl Seen {
    async fn terms(&self) -> [(u64, Option<String>); 2] {
        let (counter, heavy) = (self.counter.status().await, self.heavy.status().await);
        [(counter.term, counter.leader), (heavy.term, heavy.leader)]
    }

    /// Commands of the other group, one after the other, until `work` is done.
    async fn beside<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (before, mut took) = (self.terms().await, Vec::new());
        let mut work = std::pin::pin!(work);
        let mut done = None;
        while done.is_none() || took.len() < COMMANDS_MIN {
            let began = Instant::now();
            let command = self.counter.propose_by(Add(1), PATIENCE);
            tokio::pin!(command);
            loop {
                tokio::select! {
                    biased;
                    result = &mut work, if done.is_none() => done = Some(result?),
                    result = &mut command => {
                        result?.reply.checked()?;
                        break;
                    }
                }
            }
            took.push(began.elapsed());
        }
        took.sort();
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        let ratio = p99.as_secs_f64() / self.usual.max(Duration::from_micros(1)).as_secs_f64();
        let of_usual =
            if self.usual.is_zero() { String::new() } else { format!(", {ratio:.2} of the usual p99") };
        println!(
            "slow machine: {what}: {} commands of another group, p50 {p50:?}, p99 {p99:?}{of_usual}, longest {:?}",
            took.len(),
            took[took.len() - 1]
        );
        assert_eq!(before, self.terms().await, "an election: {what}");
        done.context("it is done")
    }
}

fn asked() -> Result<(u64, usize, usize)> {
    let asked = std::env::var("QUORATE_SLOW_MACHINE").unwrap_or_else(|_| "400,4,3000".to_owned());
    let mut parts = asked.split(',');
    let mut next = || parts.next().context("MS,MIB,ENTRIES");
    Ok((next()?.parse()?, next()?.parse()?, next()?.parse()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_group_goes_on_beside_a_slow_machine() -> Result<()> {
    quiet_panics();
    let (longest_ms, mib, entries) = asked()?;
    let mut cluster = Cluster::start(3, quick()).await?;
    let counters = cluster.group("counter", Counter::default).await?;
    let machine = move || Heavy { bytes: vec![7; mib << 20], applied: 0 };
    let heavies = cluster.group("heavy", machine).await?;
    let other_leader = cluster.leader(&counters).await?;
    let leader = cluster.leader(&heavies).await?;
    let mut seen =
        Seen { counter: counters[leader].clone(), heavy: heavies[leader].clone(), usual: Duration::ZERO };
    let reconnects = |cluster: &Cluster| {
        cluster.nodes().flat_map(|(_, node)| node.links()).map(|link| link.reconnects).sum::<u64>()
    };
    let links = reconnects(&cluster);
    seen.usual = {
        let began = Instant::now();
        let mut took = Vec::new();
        while took.len() < COMMANDS_MIN || began.elapsed() < Duration::from_secs(1) {
            let one = Instant::now();
            seen.counter.propose(Add(1)).await?.checked()?;
            took.push(one.elapsed());
        }
        took.sort();
        println!(
            "slow machine: nothing else: p50 {:?}, p99 {:?}",
            took[took.len() / 2],
            took[took.len() * 99 / 100]
        );
        took[took.len() * 99 / 100]
    };
    for ms in [50, longest_ms] {
        let heavy = &seen.heavy;
        let within = 2 * Duration::from_millis(ms) + PATIENCE;
        seen.beside(&format!("a command of {ms} ms on all nodes"), async {
            Ok(heavy.propose_by(ms, within).await?.reply)
        })
        .await?;
        seen.beside(&format!("a query of {ms} ms on all nodes"), async {
            let asks = heavies.iter().map(|heavy| {
                let heavy = heavy.clone();
                async move { heavy.query_by(ms, Consistency::Stale, within).await }
            });
            for ask in asks.map(tokio::spawn).collect::<Vec<_>>() {
                ask.await??;
            }
            Ok(())
        })
        .await?;
    }
    seen.beside(&format!("{entries} commands of the slow machine's group"), async {
        let (mut under_way, mut left) = (JoinSet::new(), entries);
        while left > 0 || !under_way.is_empty() {
            while left > 0 && under_way.len() < AT_A_TIME {
                let heavy = seen.heavy.clone();
                under_way.spawn(async move { heavy.propose_by(0_u64, PATIENCE).await });
                left -= 1;
            }
            under_way.join_next().await.context("some are under way")???;
        }
        Ok(())
    })
    .await?;
    assert_eq!(links, reconnects(&cluster), "a link was lost");
    let late =
        (0..3).find(|at| *at != leader && *at != other_leader).context("two groups have two leaders")?;
    cluster.kill(late).await;
    let what = format!("a node restores {mib} MiB and replays {entries} entries");
    let applied = entries as u64 + 2;
    seen.beside(&what, async {
        let node = cluster.start_node(late).await?;
        node.group("counter", Counter::default()).await?;
        let heavy = node.group("heavy", machine()).await?;
        eventually("it has replayed", async || {
            let answer = heavy.query(0_u64, Consistency::Stale).await.ok()?;
            (answer >= applied).then_some(())
        })
        .await
    })
    .await?;
    cluster.stop_all().await;
    Ok(())
}

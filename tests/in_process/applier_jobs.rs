//! What waits for what inside an applier: a read for no command that came after it, a caller for no machine that is restarted,
//! another group for no backlog.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use anyhow::Result;
use quorate::machine::{Add, ApplyContext, Counter, RestoreError, Snapshot, SnapshotReader};
use quorate::{Applied, Consistency, GroupHandle, ProposeError, QueryError, StateMachine};
use quorate_tests::cluster::{Cluster, quick, quiet_panics};
use quorate_tests::wait::{PATIENCE, eventually};
use tokio::task::JoinHandle;

/// Holds the machine that comes to it until it is opened, or for so long that the test has failed.
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self { state: Mutex::new((false, false)), changed: Condvar::new() }
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        drop(self.changed.wait_timeout_while(state, PATIENCE, |(_, open)| !*open));
    }

    async fn reached(&self) -> Result<()> {
        let came = || self.state.lock().unwrap_or_else(PoisonError::into_inner).0;
        eventually("the machine is at the gate", async || came().then_some(())).await
    }

    fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }
}

/// The gates of one test.
struct Gates {
    first: Gate,
    second: Gate,
    replay: Gate,
    panicked: AtomicBool,
    applied_before: AtomicBool,
}

impl Gates {
    const fn new() -> Self {
        Self {
            first: Gate::new(),
            second: Gate::new(),
            replay: Gate::new(),
            panicked: AtomicBool::new(false),
            applied_before: AtomicBool::new(false),
        }
    }
}

static GATES: [Gates; 6] = [const { Gates::new() }; 6];

/// What a command does before it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Does {
    Nothing,
    First,
    Second,
    /// Panics the first time that it is applied.
    Panics,
    /// The same, once the first gate is open.
    FirstAndPanics,
    /// Stops at a gate when it is applied again.
    Replay,
    TakesMs(u64),
}

/// Counts commands, with the gates of test `N`.
#[derive(Default)]
struct Gated<const N: usize>(u64);

impl<const N: usize> StateMachine for Gated<N> {
    type Command = Does;
    type Reply = u64;
    /// Milliseconds that it takes.
    type Query = u64;
    type Answer = u64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, does: Does) -> u64 {
        let gates = &GATES[N];
        match does {
            Does::Nothing => {}
            Does::First => gates.first.pass(),
            Does::Second => gates.second.pass(),
            Does::Panics | Does::FirstAndPanics => {
                if !gates.panicked.swap(true, Ordering::SeqCst) {
                    if does == Does::FirstAndPanics {
                        gates.first.pass();
                    }
                    panic!("told to panic");
                }
            }
            Does::Replay => {
                if gates.applied_before.swap(true, Ordering::SeqCst) {
                    gates.replay.pass();
                }
            }
            Does::TakesMs(ms) => std::thread::sleep(Duration::from_millis(ms)),
        }
        self.0 += 1;
        self.0
    }

    fn query(&self, ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        self.0
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(self.0)
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value().map(Self)
    }
}

type Proposed = JoinHandle<Result<Applied<u64>, ProposeError>>;

async fn commit<const N: usize>(group: &GroupHandle<Gated<N>>) -> u64 {
    group.status().await.role.map_or(0, |role| role.commit)
}

/// Proposes, and waits until it is committed.
async fn committed<const N: usize>(group: &GroupHandle<Gated<N>>, does: Does) -> Result<Proposed> {
    let before = commit(group).await;
    let caller = group.clone();
    let proposed = tokio::spawn(async move { caller.propose_by(does, 2 * PATIENCE).await });
    eventually("it is committed", async || (commit(group).await > before).then_some(())).await?;
    Ok(proposed)
}

/// Asks: the question has its place and is on its way when this returns, and waits for its answer.
async fn asks<const N: usize>(
    group: &GroupHandle<Gated<N>>,
    consistency: Consistency,
) -> Pin<Box<impl Future<Output = Result<u64, QueryError>>>> {
    let caller = group.clone();
    let mut asked = Box::pin(async move {
        caller.query_by(0_u64, consistency, PATIENCE).await.map(|answered| answered.answer)
    });
    let waits = std::future::poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "the machine is at a gate");
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_does_not_wait_for_a_slow_command_that_came_after_it() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(1, quick()).await?;
    let (group, gates) = (cluster.group("gated", Gated::<0>::default).await?.remove(0), &GATES[0]);
    group.propose(Does::Nothing).await?;
    let first = committed(&group, Does::First).await?;
    gates.first.reached().await?;
    let quick = committed(&group, Does::Nothing).await?;
    // Its index is that of the quick command, or of the slow one if it is asked too late: the slow one is committed below.
    let asked = asks(&group, Consistency::Linearizable).await;
    let slow = committed(&group, Does::Second).await?;
    gates.first.open();
    assert_eq!(quick.await??.reply, 3);
    assert_eq!(asked.await?, 3, "answered before the slow command is done");
    gates.second.open();
    first.await??;
    slow.await??;
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_panics_once_costs_a_reader_nothing_but_time() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(1, quick()).await?;
    let (group, gates) = (cluster.group("gated", Gated::<1>::default).await?.remove(0), &GATES[1]);
    group.propose(Does::Nothing).await?;
    let panics = committed(&group, Does::FirstAndPanics).await?;
    gates.first.reached().await?;
    let (stale, linearizable) =
        (asks(&group, Consistency::Stale).await, asks(&group, Consistency::Linearizable).await);
    gates.first.open();
    assert_eq!(linearizable.await?, 2, "the next machine has applied it");
    assert!(stale.await? >= 1, "no older than what was applied when it was asked");
    // Its port was lost with the machine.
    drop(panics.await?);
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_after_a_panic_is_not_older_than_what_was_acknowledged() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(1, quick()).await?;
    let (group, gates) = (cluster.group("gated", Gated::<2>::default).await?.remove(0), &GATES[2]);
    group.propose(Does::Nothing).await?;
    let first = committed(&group, Does::First).await?;
    gates.first.reached().await?;
    let last = [committed(&group, Does::Nothing).await?, committed(&group, Does::Replay).await?];
    let panics = committed(&group, Does::Panics).await?;
    gates.first.open();
    first.await??;
    let mut acknowledged = 0;
    for proposed in last {
        acknowledged = proposed.await??.reply;
    }
    gates.replay.reached().await?;
    let asked = asks(&group, Consistency::Stale).await;
    gates.replay.open();
    assert!(asked.await? >= acknowledged);
    drop(panics.await?);
    cluster.stop_all().await;
    Ok(())
}

/// One worker thread, and a group with two seconds of work before it: the other group's command is applied long before the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_one_group_holds_no_other() -> Result<()> {
    const COMMANDS: u64 = 1_000;
    quiet_panics();
    let mut config = quick();
    config.node.apply_threads = 1;
    let cluster = Cluster::start(1, config).await?;
    let busy = cluster.group("busy", Gated::<3>::default).await?.remove(0);
    let counter = cluster.group("counter", Counter::default).await?.remove(0);
    // All of it waits while the machine is at the first command, and not only what the disk has let through so far.
    let first = committed(&busy, Does::First).await?;
    GATES[3].first.reached().await?;
    let backlog: Vec<_> = (0..COMMANDS)
        .map(|_| {
            let busy = busy.clone();
            tokio::spawn(async move { busy.propose_by(Does::TakesMs(2), PATIENCE).await })
        })
        .collect();
    eventually("all are committed", async || (commit(&busy).await > COMMANDS).then_some(())).await?;
    GATES[3].first.open();
    first.await??;
    let applied = async || busy.status().await.role.map_or(0, |role| role.applied);
    eventually("it is at the others", async || (applied().await > 10).then_some(())).await?;
    counter.propose(Add(1)).await?.checked()?;
    let applied = applied().await;
    assert!(applied < COMMANDS, "the other group's command waited for all of them");
    for proposed in backlog {
        proposed.await??;
    }
    cluster.stop_all().await;
    Ok(())
}

/// Callers that give up while one command takes long leave their places to others, although the machine does nothing meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_during_a_long_command_leaves_its_place() -> Result<()> {
    quiet_panics();
    let mut config = quick();
    config.live.queries_max = 4;
    let cluster = Cluster::start(1, config).await?;
    let (group, gates) = (cluster.group("gated", Gated::<4>::default).await?.remove(0), &GATES[4]);
    group.propose(Does::Nothing).await?;
    let first = committed(&group, Does::First).await?;
    gates.first.reached().await?;
    let ask = async || group.query_by(0_u64, Consistency::Linearizable, Duration::from_millis(50)).await;
    for _ in 0..20 {
        let error = ask().await.expect_err("the machine is at it");
        eventually("a place is free", async || {
            (!matches!(ask().await, Err(QueryError::Busy { .. }))).then_some(())
        })
        .await?;
        assert_ne!(error.outcome(), quorate::Outcome::Unknown, "{error}");
    }
    gates.first.open();
    first.await??;
    cluster.stop_all().await;
    Ok(())
}

/// Stale queries are due at once, and as long as some come the machine has one to answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_without_an_end_hold_no_command() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(1, quick()).await?;
    let group = cluster.group("gated", Gated::<5>::default).await?.remove(0);
    group.propose(Does::Nothing).await?;
    let asks = (0..3).map(|_| {
        let group = group.clone();
        tokio::spawn(
            async move { while group.query_by(10_u64, Consistency::Stale, PATIENCE).await.is_ok() {} },
        )
    });
    let asks: Vec<_> = asks.collect();
    for _ in 0..10 {
        group.propose_by(Does::Nothing, PATIENCE / 4).await?;
    }
    asks.iter().for_each(JoinHandle::abort);
    cluster.stop_all().await;
    Ok(())
}

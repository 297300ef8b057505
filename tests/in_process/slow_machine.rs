//! A state machine that does not return for a while costs its own group's answers, and nothing else.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use quorate::machine::{Add, ApplyContext, Counter, RestoreError, Snapshot, SnapshotReader};
use quorate::{Consistency, GroupHandle, Outcome, QueryError, StateMachine};
use quorate_tests::cluster::{Cluster, quick, quiet_panics};
use quorate_tests::wait::{PATIENCE, eventually};
use tokio::time::Instant;

/// Holds every machine that comes to it, until it is opened.
struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self { state: Mutex::new((0, false)), changed: Condvar::new() }
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap_or_else(PoisonError::into_inner));
    }

    fn waiting(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    /// Shut again, and no one has come yet.
    fn close(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (0, false);
    }
}

/// Opened at the end of a test however it ends: a thread that waited for it would keep the process.
struct OpenAtTheEnd(&'static Gate);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

static APPLY: Gate = Gate::new();
static QUERY: Gate = Gate::new();
static RESTORE: Gate = Gate::new();
static FIRST: Gate = Gate::new();
static SECOND: Gate = Gate::new();

/// Where a command stops.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum At {
    Nothing,
    Apply,
    First,
    Second,
}

/// Counts commands; stops at a gate where it is told to.
#[derive(Default)]
struct Slow {
    applied: u64,
    slow_restore: bool,
}

impl StateMachine for Slow {
    type Command = At;
    type Reply = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, at: At) -> u64 {
        match at {
            At::Nothing => {}
            At::Apply => APPLY.pass(),
            At::First => FIRST.pass(),
            At::Second => SECOND.pass(),
        }
        self.applied += 1;
        self.applied
    }

    fn query(&self, (): ()) -> u64 {
        QUERY.pass();
        self.applied
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value((self.applied, self.slow_restore))
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let (applied, slow_restore) = reader.only_value()?;
        if slow_restore {
            RESTORE.pass();
        }
        Ok(Self { applied, slow_restore })
    }
}

/// How often each link was dialled again: none may be lost.
fn links(cluster: &Cluster) -> Vec<u64> {
    cluster.nodes().flat_map(|(_, node)| node.links()).map(|link| link.reconnects).collect()
}

/// For several election timeouts the other group commits on every node, and no one stands for election.
async fn goes_on(cluster: &Cluster, counts: &[GroupHandle<Counter>]) -> Result<()> {
    let (before, ups, began) = (counts[0].status().await, links(cluster), Instant::now());
    while began.elapsed() < 6 * Duration::from_millis(quick().cluster.election_timeout_ms) {
        for count in counts {
            count.propose(Add(1)).await?.checked()?;
        }
    }
    let after = counts[0].status().await;
    assert_eq!((before.term, before.leader), (after.term, after.leader), "an election beside a slow machine");
    assert_eq!(ups, links(cluster), "a link was lost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_takes_long_holds_no_other_group_and_starts_no_election() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let _open = OpenAtTheEnd(&APPLY);
    let slow = cluster.group("slow", Slow::default).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(slow[0].propose(At::Nothing).await?, 1);
    cluster.leader(&counts).await?;
    let leads = slow[0].status().await;
    let waits = tokio::spawn({
        let slow = slow[0].clone();
        async move { slow.propose_by(At::Apply, 2 * PATIENCE).await }
    });
    eventually("every machine is at it", async || (APPLY.waiting() == 3).then_some(())).await?;
    goes_on(&cluster, &counts).await?;
    let still = slow[0].status().await;
    assert_eq!((leads.term, leads.leader), (still.term, still.leader), "an election in the slow group");
    APPLY.open();
    assert_eq!(waits.await??.reply, 2);
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_takes_long_holds_no_other_group_and_starts_no_election() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let _open = OpenAtTheEnd(&QUERY);
    let slow = cluster.group("slow", Slow::default).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(slow[0].propose(At::Nothing).await?, 1);
    cluster.leader(&counts).await?;
    let asks = slow
        .iter()
        .cloned()
        .map(|slow| tokio::spawn(async move { slow.query_by((), Consistency::Stale, 2 * PATIENCE).await }));
    let asks: Vec<_> = asks.collect();
    eventually("every machine is asked", async || (QUERY.waiting() == 3).then_some(())).await?;
    goes_on(&cluster, &counts).await?;
    QUERY.open();
    for ask in asks {
        // A stale answer: this node's machine may not have applied the command yet.
        assert!(ask.await??.answer <= 1);
    }
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_takes_long_holds_no_other_group_and_refuses_callers() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let _open = OpenAtTheEnd(&RESTORE);
    let counts = cluster.group("counter", Counter::default).await?;
    cluster.leader(&counts).await?;
    let slow = cluster.group("slow", || Slow { applied: 0, slow_restore: true }).await?;
    eventually("every machine is restored", async || (RESTORE.waiting() == 3).then_some(())).await?;
    goes_on(&cluster, &counts).await?;
    let refused =
        slow[0].propose_by(At::Nothing, Duration::from_millis(100)).await.expect_err("no machine yet");
    assert_eq!(refused.outcome(), Outcome::Refused, "{refused}");
    RESTORE.open();
    assert_eq!(slow[0].propose_by(At::Nothing, PATIENCE).await?.reply, 1);
    cluster.stop_all().await;
    Ok(())
}

/// Callers that gave up kept their permits until their index was applied, so that a machine that replays answered no one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_was_given_up_frees_its_place_while_the_machine_replays() -> Result<()> {
    quiet_panics();
    let mut config = quick();
    (config.live.queries_max, config.live.proposals_max) = (4, 4_096);
    // Entries come back from disk, a batch of 1,024 at a time.
    config.node.tail_bytes_max = 0;
    let mut cluster = Cluster::start(1, config).await?;
    let _open = (OpenAtTheEnd(&FIRST), OpenAtTheEnd(&SECOND));
    let slow = cluster.group("slow", Slow::default).await?.remove(0);
    FIRST.open();
    SECOND.open();
    for at in [At::First, At::Nothing, At::Second] {
        let last = if matches!(at, At::Nothing) { 3_000 } else { 1 };
        let all = (0..last).map(|_| {
            let slow = slow.clone();
            tokio::spawn(async move { slow.propose_by(at, PATIENCE).await })
        });
        for proposal in all.collect::<Vec<_>>() {
            proposal.await??;
        }
    }
    cluster.stop(0).await;
    FIRST.close();
    SECOND.close();
    cluster.start_node(0).await?;
    let slow = cluster.group("slow", Slow::default).await?.remove(0);
    eventually("the machine is at the first", async || (FIRST.waiting() == 1).then_some(())).await?;
    let ask = async |ms| slow.query_by((), Consistency::Linearizable, Duration::from_millis(ms)).await;
    // A leader confirms them all; then they wait for the machine.
    let waits = |_| {
        let slow = slow.clone();
        tokio::spawn(async move { slow.query_by((), Consistency::Linearizable, PATIENCE).await })
    };
    let held: Vec<_> = (0..4).map(waits).collect();
    let busy = async || matches!(ask(50).await, Err(QueryError::Busy { .. })).then_some(());
    eventually("four queries have been taken", busy).await?;
    held.iter().for_each(tokio::task::JoinHandle::abort);
    FIRST.open();
    eventually("the machine is at the second", async || (SECOND.waiting() == 1).then_some(())).await?;
    let error = ask(50).await.expect_err("the machine is at it");
    assert!(!matches!(error, QueryError::Busy { .. }), "who gave up still holds a place: {error}");
    SECOND.open();
    cluster.stop_all().await;
    Ok(())
}

/// A machine that never returns keeps its node from nothing: it stops in order, within its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_although_its_machine_does_not_return() -> Result<()> {
    static NEVER: Gate = Gate::new();
    #[derive(Default)]
    struct Stuck;
    impl StateMachine for Stuck {
        type Command = ();
        type Reply = ();
        type Query = ();
        type Answer = ();
        fn apply(&mut self, _cx: &mut ApplyContext<'_>, (): ()) {
            NEVER.pass();
        }
        fn query(&self, (): ()) {}
        fn snapshot(&self) -> Snapshot {
            Snapshot::from_value(())
        }
        fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
            reader.only_value::<()>().map(|()| Self)
        }
    }
    quiet_panics();
    let cluster = Cluster::start(1, quick()).await?;
    let _open = OpenAtTheEnd(&NEVER);
    let stuck = cluster.group("stuck", Stuck::default).await?;
    let waits = tokio::spawn({
        let stuck = stuck[0].clone();
        async move { stuck.propose_by((), Duration::from_secs(3)).await }
    });
    eventually("the machine is at it", async || (NEVER.waiting() == 1).then_some(())).await?;
    tokio::time::timeout(PATIENCE, cluster.stop_all()).await?;
    let error = waits.await?.expect_err("it was not answered");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    Ok(())
}

/// Callers on other nodes waited for every command behind theirs that was applied in the same batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reply_to_a_quick_command_does_not_wait_for_a_slow_one_behind_it() -> Result<()> {
    static BEFORE: Gate = Gate::new();
    static BEHIND: Gate = Gate::new();
    #[derive(Default)]
    struct Two;
    impl StateMachine for Two {
        type Command = u8;
        type Reply = u8;
        type Query = ();
        type Answer = ();
        fn apply(&mut self, _cx: &mut ApplyContext<'_>, at: u8) -> u8 {
            match at {
                1 => BEFORE.pass(),
                2 => BEHIND.pass(),
                _ => {}
            }
            at
        }
        fn query(&self, (): ()) {}
        fn snapshot(&self) -> Snapshot {
            Snapshot::from_value(())
        }
        fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
            reader.only_value::<()>().map(|()| Self)
        }
    }
    quiet_panics();
    let mut config = quick();
    // Whatever follows the first is handed over in one batch, once that is applied.
    config.node.tail_bytes_max = 0;
    let cluster = Cluster::start(3, config).await?;
    let _open = (OpenAtTheEnd(&BEFORE), OpenAtTheEnd(&BEHIND));
    let groups = cluster.group("two", Two::default).await?;
    let leader = cluster.leader(&groups).await?;
    let follower = groups[(leader + 1) % 3].clone();
    follower.propose(0).await?;
    let propose = |at: u8| {
        let follower = follower.clone();
        tokio::spawn(async move { follower.propose_by(at, 2 * PATIENCE).await })
    };
    let first = propose(1);
    eventually("every machine is at the first", async || (BEFORE.waiting() == 3).then_some(())).await?;
    let commit = async || groups[leader].status().await.role.map_or(0, |role| role.commit);
    let before = commit().await;
    let quick: Vec<_> = (0..20).map(|_| propose(0)).collect();
    eventually("twenty are committed", async || (commit().await == before + 20).then_some(())).await?;
    let slow = propose(2);
    eventually("and the slow one", async || (commit().await == before + 21).then_some(())).await?;
    BEFORE.open();
    assert_eq!(first.await??.reply, 1);
    eventually("every machine is at the slow one", async || (BEHIND.waiting() == 3).then_some(())).await?;
    for quick in quick {
        tokio::time::timeout(PATIENCE, quick).await???;
    }
    BEHIND.open();
    assert_eq!(slow.await??.reply, 2);
    cluster.stop_all().await;
    Ok(())
}

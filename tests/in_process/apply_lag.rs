//! A state machine that is stuck on one node alone: leadership moves to a node whose machine is not, and the node with the
//! stuck one keeps its replica.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]

use std::cell::Cell;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader};
use quorate::{Injury, StateMachine};
use quorate_tests::cluster::{Cluster, quick, quiet_panics};
use quorate_tests::wait::{PATIENCE, eventually};

/// How many machines wait, and whether they may go on.
static HELD: Mutex<(usize, bool)> = Mutex::new((0, false));
static CHANGED: Condvar = Condvar::new();

fn held() -> usize {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).0
}

/// At the end of a test however it ends: a thread that waited would keep the process.
struct GoOnAtTheEnd;

impl Drop for GoOnAtTheEnd {
    fn drop(&mut self) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        CHANGED.notify_all();
    }
}

/// Counts commands. The command `Some(place)` holds the machine of that node, and takes no time on the others.
struct Holding {
    place: usize,
    applied: u64,
}

impl StateMachine for Holding {
    type Command = Option<usize>;
    type Reply = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, hold: Option<usize>) -> u64 {
        if hold == Some(self.place) {
            let mut state = HELD.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += 1;
            drop(CHANGED.wait_while(state, |(_, go_on)| !*go_on).unwrap_or_else(PoisonError::into_inner));
        }
        self.applied += 1;
        self.applied
    }

    fn query(&self, (): ()) -> u64 {
        self.applied
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value((self.place, self.applied))
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let (place, applied) = reader.only_value()?;
        Ok(Self { place, applied })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_stuck_machine_gives_leadership_away_and_keeps_its_replica() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let _go_on = GoOnAtTheEnd;
    let made = Cell::new(0);
    let groups =
        cluster.group("held", || Holding { place: made.replace(made.get() + 1), applied: 0 }).await?;
    let stuck = cluster.leader(&groups).await?;
    assert_eq!(groups[stuck].propose(None).await?, 1);
    assert_eq!(groups[stuck].status().await.applying_for_ms, None);
    let waits = tokio::spawn({
        let group = groups[stuck].clone();
        async move { group.propose_by(Some(stuck), 2 * PATIENCE).await }
    });
    eventually("its machine is stuck", async || (held() == 1).then_some(())).await?;
    let other = (stuck + 1) % 3;
    let id = cluster.node(stuck).id().clone();
    let moved = async || groups[other].leader().filter(|leader| *leader != id);
    eventually("another node leads", moved).await?;
    eventually("and answers", async || groups[other].propose_by(None, Duration::from_secs(3)).await.ok())
        .await?;
    let lags = async || {
        let status = groups[stuck].status().await;
        let role = status.role?;
        (role.apply_lag > 0 && role.apply_lag_bytes > 0 && status.applying_for_ms? > 0).then_some(())
    };
    eventually("the status says how far it is behind, and for how long it has been at the command", lags)
        .await?;

    let follower = cluster.node(stuck).actors().into_iter().find(|actor| actor.kind == "follower");
    let follower = follower.expect("it follows").name;
    assert!(cluster.node(stuck).injure(&follower, Injury::Panic));
    let again = async || {
        let status = groups[stuck].status().await;
        (status.role_restarts > 0 && status.role.is_some()).then_some(())
    };
    eventually("its role is started again while the machine is still at the command", again).await?;
    assert_eq!(held(), 1);
    drop(GoOnAtTheEnd);
    assert_eq!(waits.await??.reply, 2);
    let level = async || {
        let status = groups[stuck].status().await.role?;
        (status.apply_lag == 0 && status.applied == status.last).then_some(())
    };
    eventually("it applies the rest", level).await?;
    cluster.stop_all().await;
    Ok(())
}

//! Machines that panic and nodes that stop: each ends in a clear, typed answer, and harms nothing else.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "small counts")]

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, ApplyContext, Counter, RestoreError, Snapshot, SnapshotReader, Total};
use quorate::{
    Client, ClientOptions, Consistency, Injury, Outcome, ProposeError, QueryError, StateMachine,
    TransferError, TransferRefusal,
};
use quorate_core::NodeId;
use quorate_tests::cluster::{Cluster, quick, quiet_panics};
use quorate_tests::wait::{PATIENCE, eventually};

/// Counts, and panics on thirteen, unless it was told not to fear it.
#[derive(Default)]
struct Superstitious {
    total: i64,
    fearless: bool,
}

impl StateMachine for Superstitious {
    type Command = i64;
    type Reply = i64;
    type Query = ();
    type Answer = i64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, amount: i64) -> i64 {
        assert!(self.fearless || amount != 13, "told to panic");
        self.total += amount;
        self.total
    }

    fn query(&self, (): ()) -> i64 {
        self.total
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value((self.total, self.fearless))
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value().map(|(total, fearless)| Self { total, fearless })
    }
}

/// A client that waits an hour, so that a test which waits for its deadline never ends.
async fn client_of(ports: impl IntoIterator<Item = u16>) -> Result<Client> {
    let options = ClientOptions { timeout: Duration::from_secs(3_600), ..ClientOptions::default() };
    let addresses = ports.into_iter().map(|port| format!("127.0.0.1:{port}"));
    Ok(Client::connect(addresses, options).await?)
}

#[tokio::test]
async fn rule_11_a_machine_that_panics_stops_its_own_group_only_with_the_index() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let poisoned = cluster.group("poisoned", Superstitious::default).await?;
    let counts = cluster.group("healthy", Counter::default).await?;
    assert_eq!(poisoned[0].propose(1).await?, 1);
    let before = poisoned[0].propose_by(2, PATIENCE).await?;
    let poison = poisoned[1].propose_by(13, PATIENCE).await.expect_err("the machine panics");
    assert_eq!(poison.outcome(), Outcome::Unknown, "{poison}");
    for group in &poisoned {
        let index = eventually("faulted on every node", async || group.status().await.faulted).await?;
        assert!(index > before.index, "{index} is the poisonous entry, after {}", before.index);
        let refused = group.propose(1).await.expect_err("faulted");
        assert_eq!(refused, ProposeError::Faulted { index });
        assert_eq!(refused.outcome(), Outcome::Refused);
        let asked = group.query((), Consistency::Linearizable).await.expect_err("no machine");
        assert_eq!(asked, QueryError::Faulted { index });
    }
    let client = client_of([0, 1, 2].map(|at| cluster.port(at))).await?;
    let asked = client.group::<Superstitious>("poisoned").query((), Consistency::Stale).await;
    assert!(matches!(asked, Err(QueryError::Faulted { .. })), "no node is left to ask: {asked:?}");
    client.close().await;
    for (at, count) in counts.iter().enumerate() {
        assert_eq!(count.propose(Add(1)).await?, at as i64 + 1, "the other group serves");
    }
    cluster.stop_all().await;
    Ok(())
}

/// The one panics whose machine is first made; leadership moves to one whose machine runs, and does not come back.
#[tokio::test]
async fn rule_11_a_leader_without_a_machine_gives_leadership_away_and_gets_it_no_more() -> Result<()> {
    quiet_panics();
    let mut cluster = Cluster::start(3, quick()).await?;
    let made = std::cell::Cell::new(0);
    let groups = cluster
        .group("afraid", || Superstitious { total: 0, fearless: made.replace(made.get() + 1) > 0 })
        .await?;
    assert_eq!(groups[1].propose_by(1, PATIENCE).await?.reply, 1);
    let ids = ["node0", "node1", "node2"].map(|id| NodeId::new(id).expect("a legal name"));
    let hand_over = async |to: usize| {
        let mut answers = Vec::new();
        for group in &groups {
            answers.push(group.transfer(Some(ids[to].clone()), Duration::from_secs(1)).await);
        }
        answers
    };
    eventually("node0 leads", async || hand_over(0).await.contains(&Ok(ids[0].clone())).then_some(()))
        .await?;
    // Unknown: it is led by the one that panics.
    let _ = groups[1].propose_by(13, PATIENCE).await;
    eventually("node0 has no machine", async || groups[0].status().await.fault_here).await?;
    let serves = async |at: usize| groups[at].propose_by(2, Duration::from_secs(3)).await.ok();
    eventually("another leads, and serves", async || serves(1).await).await?;
    let client = client_of([cluster.port(0)]).await?;
    let asked = client.group::<Superstitious>("afraid").query((), Consistency::Linearizable).await;
    assert_eq!(
        asked,
        groups[1].query((), Consistency::Linearizable).await,
        "another node answers its client"
    );
    client.close().await;
    let faulted = Err(TransferError::Refused(TransferRefusal::Faulted { node: ids[0].clone() }));
    eventually("leadership is not handed back", async || hand_over(0).await.contains(&faulted).then_some(()))
        .await?;
    let group = eventually("its group runs", async || {
        cluster.node(0).actors().into_iter().find(|actor| actor.kind == "group").map(|actor| actor.name)
    })
    .await?;
    assert!(cluster.node(0).injure(&group, Injury::Panic));
    eventually("nor after a restart of its group", async || {
        hand_over(0).await.contains(&faulted).then_some(())
    })
    .await?;
    let leader = groups[1].leader().filter(|leader| *leader == ids[2]).map_or(1, |_| 2);
    cluster.kill(leader).await;
    let other = 3 - leader;
    eventually("the other machine that runs leads next", async || serves(other).await).await?;
    assert_eq!(groups[other].leader().as_ref(), Some(&ids[other]));
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn bug_77_stopping_answers_every_waiting_caller() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let leader = cluster.leader(&counts).await?;
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let count = counts[leader].clone();
        waiting.push(tokio::spawn(async move { count.propose(Add(1)).await }));
    }
    cluster.stop(leader).await;
    let (mut done, mut unanswered) = (0, 0);
    for caller in waiting {
        match tokio::time::timeout(PATIENCE, caller).await.context("answered")?? {
            Ok(_) => done += 1,
            Err(error) => {
                assert_ne!(error.outcome(), Outcome::Failed, "{error}");
                unanswered += i64::from(error.outcome() == Outcome::Unknown);
            }
        }
    }
    let total = counts[(leader + 1) % 3].query(Total, Consistency::Linearizable).await?;
    assert!(
        (done..=done + unanswered).contains(&total),
        "{done} answered, {unanswered} unknown, {total} counted"
    );
    cluster.stop_all().await;
    Ok(())
}

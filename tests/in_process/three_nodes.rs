//! Three nodes agree: proposals from every node, restarts, several groups.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "small counts")]

use std::time::Duration;

use anyhow::{Result, ensure};
use quorate::machine::{Add, Counter, Kv, Total};
use quorate::{Consistency, GroupHandle, Injury, Outcome};
use quorate_tests::cluster::{Cluster, quick, quiet_panics, same_digest};
use quorate_tests::wait::{PATIENCE, eventually};

#[tokio::test]
async fn every_node_takes_proposals_and_answers_queries() -> Result<()> {
    let cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let mut total = 0;
    for (round, count) in counts.iter().cycle().take(30).enumerate() {
        total += round as i64;
        assert_eq!(count.propose(Add(round as i64)).await?, total);
    }
    for count in &counts {
        assert_eq!(count.query(Total, Consistency::Linearizable).await?, total);
    }
    same_digest(&counts).await?;
    cluster.stop_all().await;
    Ok(())
}

/// Additions of one: those that were acknowledged, and those of which it is not known whether they happened.
#[derive(Debug, Default)]
struct Additions {
    acknowledged: i64,
    unknown: i64,
}

impl Additions {
    /// One more. A node that was killed takes the answer with it to what was sent to it: the other end may learn of its end later.
    async fn one(&mut self, count: &GroupHandle<Counter>) -> Result<()> {
        match count.propose_by(Add(1), PATIENCE).await {
            Ok(applied) => {
                self.acknowledged += 1;
                self.hold(applied.reply.checked()?)
            }
            Err(error) if error.outcome() == Outcome::Unknown => {
                self.unknown += 1;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing acknowledged is missing, and nothing happened twice.
    fn hold(&self, total: i64) -> Result<()> {
        let possible = self.acknowledged..=self.acknowledged + self.unknown;
        ensure!(possible.contains(&total), "the total is {total}: {self:?}");
        Ok(())
    }

    async fn read_at(&self, count: &GroupHandle<Counter>) -> Result<()> {
        self.hold(count.query_by(Total, Consistency::Linearizable, PATIENCE).await?.answer)
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_killed_nodes() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let mut counts = cluster.group("counter", Counter::default).await?;
    let mut additions = Additions::default();
    for round in 0..6 {
        let leader = cluster.leader(&counts).await?;
        let victim = if round % 2 == 0 { leader } else { (leader + 1) % 3 };
        additions.one(&counts[victim]).await?;
        cluster.kill(victim).await;
        additions.one(&counts[(victim + 1) % 3]).await?;
        let node = cluster.start_node(victim).await?;
        counts[victim] = node.group("counter", Counter::default()).await?;
        additions.read_at(&counts[victim]).await?;
    }
    for at in 0..3 {
        cluster.kill(at).await;
    }
    for (at, count) in counts.iter_mut().enumerate() {
        let node = cluster.start_node(at).await?;
        *count = node.group("counter", Counter::default()).await?;
    }
    additions.read_at(&counts[0]).await?;
    // One a round was sent while no node had ended.
    ensure!(additions.acknowledged >= 6, "{additions:?}");
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn several_groups_share_one_store_and_one_link() -> Result<()> {
    let cluster = Cluster::start(3, quick()).await?;
    let mut groups = Vec::new();
    for name in ["a", "b", "c", "d"] {
        groups.push(cluster.group(name, Counter::default).await?);
    }
    let stores = cluster.group("kv", Kv::default).await?;
    for (n, counts) in groups.iter().enumerate() {
        assert_eq!(counts[n % 3].propose(Add(n as i64)).await?, n as i64);
    }
    eventually("links to both peers, each once", async || {
        let up = |node: &quorate::Node| node.links().iter().filter(|link| link.peer.is_some()).count() == 2;
        cluster.nodes().all(|(_, node)| up(node) && node.links().len() == 2).then_some(())
    })
    .await?;
    drop(stores);
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged_and_nothing_is_refused_that_may_happen() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let leader = cluster.leader(&counts).await?;
    assert_eq!(counts[leader].propose(Add(1)).await?, 1);
    for at in (0..3).filter(|at| *at != leader) {
        cluster.kill(at).await;
    }
    let cut = counts[leader].propose_by(Add(1), Duration::from_millis(100)).await.expect_err("no majority");
    assert_eq!(cut.outcome(), Outcome::Unknown, "{cut}");
    let later = counts[leader].propose_by(Add(1), Duration::from_secs(2)).await.expect_err("no majority");
    assert_ne!(later.outcome(), Outcome::Failed, "{later}");
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn leadership_is_handed_over_without_a_gap() -> Result<()> {
    let cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let leader = cluster.leader(&counts).await?;
    assert_eq!(counts[leader].propose(Add(1)).await?, 1);
    let to = quorate::NodeId::new(&format!("node{}", (leader + 1) % 3))?;
    counts[leader].transfer(Some(to.clone()), Duration::from_secs(5)).await?;
    eventually("the named node leads", async || (counts[leader].leader() == Some(to.clone())).then_some(()))
        .await?;
    assert_eq!(counts[leader].propose(Add(1)).await?, 2);
    cluster.stop_all().await;
    Ok(())
}

/// The index is confirmed, and the machine that answers has been thrown away: it must not answer with what it has.
#[tokio::test]
async fn bug_56_a_read_waits_until_a_restarted_machine_has_come_so_far() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let leader = cluster.leader(&counts).await?;
    let reader = (leader + 1) % 3;
    let mut total = 0;
    for round in 0..20 {
        for _ in 0..20 {
            total += 1;
            let taken = async || counts[leader].propose(Add(1)).await.ok();
            assert_eq!(eventually("it is taken", taken).await?, total);
        }
        // Followers and, every fourth time, the leader itself.
        let at = if round % 4 == 3 { leader } else { reader };
        let node = cluster.node(at);
        let applier = node.actors().into_iter().find(|actor| actor.kind == "applier");
        if let Some(applier) = applier {
            node.injure(&applier.name, Injury::Panic);
        }
        let read = eventually("the read is answered", async || {
            counts[at].query(Total, Consistency::Linearizable).await.ok()
        });
        assert_eq!(read.await?, total, "round {round} on node{at}");
    }
    cluster.stop_all().await;
    Ok(())
}

//! Crashes, one after the other, while additions go on: every kind of actor of the leading node, then a whole node,
//! then all three at once. Nothing acknowledged is lost, and nothing counts twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quorate::machine::{Add, ClientId, Counter, SessionKey, Total};
use quorate::{Consistency, GroupHandle, Injury, Node};
use quorate_examples::{free_addresses, log, quick};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);
/// What runs in a node that leads, each ended in one of the ways in which an actor can end.
const VICTIMS: [(&str, Injury); 7] = [
    ("leader", Injury::Panic),
    ("replicator", Injury::Panic),
    ("applier", Injury::Panic),
    ("group", Injury::Kill),
    ("log-store", Injury::Kill),
    ("bridge", Injury::Stop),
    ("node", Injury::Panic),
];

struct Member {
    node: Node,
    count: GroupHandle<Counter>,
}

async fn start(directory: &Path, addresses: &[String], at: usize) -> Result<Member> {
    let id = format!("node{at}");
    let mut builder = Node::builder(&id, directory.join(&id)).listen(&addresses[at]).config(quick());
    for (peer, address) in addresses.iter().enumerate().filter(|(peer, _)| *peer != at) {
        builder = builder.peer(&format!("node{peer}"), address);
    }
    let node = builder.start().await.with_context(|| format!("{id} does not start"))?;
    let count = node.group("counter", Counter::default()).await?;
    Ok(Member { node, count })
}

/// Adds one, as often as it takes: under its session key it counts once, whatever an earlier try came to.
async fn add(count: &GroupHandle<Counter>, sequence: &mut i64) -> Result<()> {
    *sequence += 1;
    let key = SessionKey::new(ClientId::of_name("example/crash_restart"), u64::try_from(*sequence)?);
    let give_up = Instant::now() + PATIENCE;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    loop {
        pause.tick().await;
        match count.propose_once(key, Add(1), Duration::from_secs(2)).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > give_up => bail!("not added in {PATIENCE:?}: {error}"),
            Err(error) => println!("  tried again after {:?}", error.outcome()),
        }
    }
}

async fn total(count: &GroupHandle<Counter>) -> Result<i64> {
    Ok(count.query_by(Total, Consistency::Linearizable, PATIENCE).await?.answer)
}

#[tokio::main]
async fn main() -> Result<()> {
    log();
    let (directory, addresses) = (tempfile::tempdir()?, free_addresses(3)?);
    let mut members = BTreeMap::new();
    for at in 0..3 {
        members.insert(at, start(directory.path(), &addresses, at).await?);
    }
    let mut added = 0;

    for (kind, injury) in VICTIMS {
        let leader = leader(&members).await?;
        let Member { node, count } = &members[&leader];
        let victim = node.actors().into_iter().find(|actor| actor.kind == kind);
        let victim = victim.with_context(|| format!("a leading node has a {kind}: {:?}", node.actors()))?;
        add(count, &mut added).await?;
        ensure!(node.injure(&victim.name, injury), "{} is there", victim.name);
        add(count, &mut added).await?;
        println!("{} of {}: {injury:?}; total {}", victim.name, node.id(), total(count).await?);
        ensure!(total(count).await? == added, "each addition counts once");
    }

    let killed = leader(&members).await?;
    members.remove(&killed).context("it is one of them")?.node.kill().await;
    let witness = members.values().next().context("two are left")?;
    add(&witness.count, &mut added).await?;
    println!("node{killed}, the leader, killed; total {}", total(&witness.count).await?);
    members.insert(killed, start(directory.path(), &addresses, killed).await?);
    ensure!(total(&members[&killed].count).await? == added, "it has caught up");

    for (_, member) in std::mem::take(&mut members) {
        member.node.kill().await;
    }
    for at in 0..3 {
        members.insert(at, start(directory.path(), &addresses, at).await?);
    }
    let after = total(&members[&0].count).await?;
    println!("all three killed and started again; total {after}");
    ensure!(after == added, "{added} additions were acknowledged, {after} are there");
    for (_, member) in members {
        member.node.stop().await;
    }
    Ok(())
}

/// Who leads now, as the first node that knows says.
async fn leader(members: &BTreeMap<usize, Member>) -> Result<usize> {
    let asked = members.values().next().context("there are nodes")?;
    let leader = asked.count.wait_for_leader(PATIENCE).await.context("a leader is elected")?;
    let at = members.iter().find(|(_, member)| *member.node.id() == leader).map(|(at, _)| *at);
    at.with_context(|| format!("{leader} leads and is not running"))
}

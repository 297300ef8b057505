//! Three nodes in one process, each with a directory, a thread and a port of its own: a write through any of them, and
//! what happens when the leader dies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate::machine::{Add, Counter, Total};
use quorate::{Consistency, GroupHandle, Node};
use quorate_examples::{free_addresses, log, quick};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<()> {
    log();
    let (directory, addresses) = (tempfile::tempdir()?, free_addresses(3)?);
    let mut members: Vec<(Node, GroupHandle<Counter>)> = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        let id = format!("node{at}");
        let mut builder = Node::builder(&id, directory.path().join(&id)).listen(address).config(quick());
        for (peer, address) in addresses.iter().enumerate().filter(|(peer, _)| *peer != at) {
            builder = builder.peer(&format!("node{peer}"), address);
        }
        let node = builder.start().await?;
        let count = node.group("counter", Counter::default()).await?;
        members.push((node, count));
    }

    let leader = members[0].1.wait_for_leader(PATIENCE).await.context("a leader is elected")?;
    println!("{leader} leads");

    // Every node takes proposals: one that does not lead sends them to the leader, one hop.
    for (node, count) in &members {
        let applied = count.propose_by(Add(1), PATIENCE).await?;
        println!(
            "through {}: total {}, entry {} of term {}",
            node.id(),
            applied.reply,
            applied.index,
            applied.term
        );
    }
    // And every node answers linearizable queries, from its own machine.
    for (node, count) in &members {
        let total = count.query_by(Total, Consistency::Linearizable, PATIENCE).await?.answer;
        ensure!(total == 3, "{} answers {total}", node.id());
    }

    // The leader goes without a word, as a killed process would.
    let at =
        members.iter().position(|(node, _)| *node.id() == leader).context("the leader is one of them")?;
    let (dead, _) = members.remove(at);
    let killed_at = Instant::now();
    dead.kill().await;
    let applied = members[0].1.propose_by(Add(1), PATIENCE).await?;
    println!(
        "{leader} killed; {} ms later {} answers: total {}, term {}",
        killed_at.elapsed().as_millis(),
        members[0].0.id(),
        applied.reply,
        applied.term
    );
    ensure!(applied.reply == 4, "nothing that was acknowledged is gone: {}", applied.reply);
    let new_leader = members[0].1.leader().context("there is a leader again")?;
    ensure!(new_leader != leader, "and it is another one");

    for (node, _) in members {
        node.stop().await;
    }
    Ok(())
}

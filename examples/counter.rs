//! A counter that many tasks add to at once: one Raft actor on one node, every acknowledged addition on disk.

use quorate::machine::{Add, Counter, Total};
use quorate::{Consistency, Node};

const TASKS: i64 = 50;
const ADDITIONS: i64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::builder("node0", directory.path()).start().await?;
    let count = node.group("counter", Counter::default()).await?;

    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let count = count.clone();
        tasks.spawn(async move {
            let mut last = 0;
            for _ in 0..ADDITIONS {
                let total = count.propose(Add(1)).await?.checked()?;
                anyhow::ensure!(total > last, "totals come in the order of the log");
                last = total;
            }
            Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }

    let total = count.query(Total, Consistency::Linearizable).await?;
    println!("{TASKS} tasks added {ADDITIONS} times each; the total is {total}");
    anyhow::ensure!(total == TASKS * ADDITIONS, "each was counted once");

    // A refusal of the machine is a reply, and the same on every replica.
    let refused = count.propose(Add(i64::MAX)).await?;
    println!("adding {} more: {refused:?}", i64::MAX);
    anyhow::ensure!(refused.checked().is_err() && refused.total() == total, "refused, and nothing changed");

    node.stop().await;
    Ok(())
}

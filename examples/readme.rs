//! The example of the README, word for word.

use quorate::machine::{Add, Counter, Total};
use quorate::{Consistency, Node};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::builder("node0", directory.path()).start().await?;
    let count = node.group("counter", Counter::default()).await?; // a supervised Raft actor
    let total = count.propose(Add(5)).await?; // on a majority of disks, then applied
    assert_eq!(total, 5);
    let total = count.query(Total, Consistency::Linearizable).await?;
    println!("the total is {total}");
    node.stop().await;
    Ok(())
}

//! A snapshot that a client reads part by part, and what happens on its node meanwhile.

use anyhow::{Context, Result};
use quorate::machine::{Kv, KvCommand};
use quorate::store::inspect_snapshot;
use quorate::{Node, SnapshotBytes};
use quorate_tests::cluster::quick;
use quorate_tests::wait::PATIENCE;

const VALUES: usize = 4;
const VALUE_BYTES: usize = 900_000;

async fn rest(newest: &mut SnapshotBytes, into: &mut Vec<u8>) -> Result<()> {
    while let Some(part) = newest.next().await? {
        into.extend_from_slice(&part);
    }
    Ok(())
}

/// Two backups at once of a node that takes no writes: each is whole, and nothing was written for the second one.
#[tokio::test]
async fn another_snapshot_of_the_same_place_spoils_no_backup_under_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::builder("node0", directory.path().join("data")).config(quick()).start().await?;
    let kv = node.group("kv", Kv::default()).await?;
    for at in 0..VALUES {
        let _ = kv.propose(KvCommand::set(format!("k{at}"), vec![b'v'; VALUE_BYTES])).await?;
    }
    let first = kv.snapshot(PATIENCE).await?;
    let mut newest = kv.newest_snapshot().await?.context("there is one")?;
    let mut bytes = newest.next().await?.context("it has a beginning")?.to_vec();
    assert_eq!(kv.snapshot(PATIENCE).await?, first);
    rest(&mut newest, &mut bytes).await?;
    let saved = directory.path().join("saved");
    std::fs::write(&saved, bytes)?;
    let info = inspect_snapshot(&saved)?;
    let mut again = kv.newest_snapshot().await?.context("there is one")?;
    let mut whole = Vec::new();
    rest(&mut again, &mut whole).await?;
    assert_eq!((info.head.at.index.0, std::fs::read(&saved)?), (first, whole));
    node.stop().await;
    Ok(())
}

//! A new cluster of a snapshot file: the state is there, no index falls, and the old cluster has nothing to do with it.

use anyhow::{Context, Result, ensure};
use quorate::machine::{Counter, Total};
use quorate::{Consistency, GroupHandle, Node, RestoreFailed, Standing};
use quorate_tests::cluster::{Cluster, add, quick, same_digest};
use quorate_tests::wait::{PATIENCE, eventually};

/// The state of thirty commands, and where it ends.
async fn backup(directory: &std::path::Path) -> Result<(std::path::PathBuf, u64)> {
    let node = Node::builder("node0", directory.join("old")).config(quick()).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    add(&count, 30).await?;
    let index = count.snapshot(PATIENCE).await?;
    node.stop().await;
    let taken = std::fs::read_dir(directory.join("old/snapshots"))?.next().context("there is one")??;
    let backup = directory.join("backup");
    std::fs::copy(taken.path(), &backup)?;
    Ok((backup, index))
}

#[tokio::test]
async fn a_cluster_is_made_of_a_backup_and_goes_on_at_its_index() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (backup, index) = backup(directory.path()).await?;
    let mut cluster = Cluster::idle(3, quick())?;
    for at in 0..3 {
        let info = cluster.builder(at).restore(&backup)?.info;
        assert_eq!((info.head.name.as_str(), info.head.at.index.0), ("counter", index));
    }
    for at in 0..3 {
        cluster.start_node(at).await?;
    }
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].query(Total, Consistency::Linearizable).await?, 30);
    assert_eq!(add(&counts[1], 2).await?, 32);
    same_digest(&counts).await?;
    let role = counts[2].status().await.role.context("its role answers")?;
    assert!(role.first == index + 1 && role.applied > index, "{role:?}");
    // It is a cluster as any other: it starts again.
    for at in 0..3 {
        cluster.stop(at).await;
    }
    for at in 0..3 {
        cluster.start_node(at).await?;
    }
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[2].query(Total, Consistency::Linearizable).await?, 32);
    cluster.stop_all().await;
    Ok(())
}

/// The list and the token are the same, and yet it is of another cluster: with it, a majority that knows nothing could elect a leader.
#[tokio::test]
async fn a_node_that_was_not_restored_is_no_node_of_the_restored_cluster() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (backup, _) = backup(directory.path()).await?;
    let mut cluster = Cluster::idle(3, quick())?;
    for at in 0..2 {
        let _ = cluster.builder(at).restore(&backup)?;
    }
    for at in 0..3 {
        cluster.start_node(at).await?;
    }
    let counts = cluster.group("counter", Counter::default).await?;
    eventually("both refuse it", async || {
        let links = cluster.node(2).links();
        (links.len() == 2 && links.iter().all(|link| link.last_error.is_some())).then_some(())
    })
    .await?;
    let role = eventually("its role answers", async || counts[2].status().await.role).await?;
    assert_eq!((role.last, role.applied), (0, 0), "nothing reaches it, and it elects no one");
    waits_for(&counts[0], "node2").await?;
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.data(2))?;
    let _ = cluster.builder(2).restore(&backup)?;
    cluster.start_node(2).await?;
    assert_eq!(add(&counts[0], 1).await?, 31, "it was restored like the others");
    cluster.stop_all().await;
    Ok(())
}

async fn waits_for(count: &GroupHandle<Counter>, node: &str) -> Result<()> {
    eventually("it waits for a node that it has not reached", async || {
        let role = count.status().await.role?;
        (role.standing == Standing::Founding && role.waits_for == [node]).then_some(())
    })
    .await
}

/// Two of three took a write; one of them lost its disk and was restored again, and the third had met neither: those two elected a leader, and
/// the write was gone.
#[tokio::test]
async fn rule_14_a_restored_cluster_takes_nothing_before_each_node_was_reached_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (backup, _) = backup(directory.path()).await?;
    let mut cluster = Cluster::idle(3, quick())?;
    for at in 0..3 {
        let _ = cluster.builder(at).restore(&backup)?;
    }
    cluster.start_node(0).await?;
    cluster.start_node(1).await?;
    let first = cluster.group("counter", Counter::default).await?;
    waits_for(&first[0], "node2").await?;
    let early = first[0].propose_by(quorate::machine::Add(1), std::time::Duration::from_millis(900)).await;
    ensure!(
        early.is_err_and(|error| error.outcome() == quorate::Outcome::Refused),
        "nothing is acknowledged"
    );
    // node1 loses its disk, is restored again, and meets node2 alone.
    cluster.kill(0).await;
    cluster.kill(1).await;
    std::fs::remove_dir_all(cluster.data(1))?;
    let _ = cluster.builder(1).restore(&backup)?;
    cluster.start_node(1).await?;
    cluster.start_node(2).await?;
    let second = cluster.group("counter", Counter::default).await?;
    waits_for(&second[0], "node0").await?;
    waits_for(&second[1], "node0").await?;
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn a_restore_changes_nothing_that_is_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (backup, _) = backup(directory.path()).await?;
    let path = |name: &str| directory.path().join(name);
    let builder = |name: &str| Node::builder("node0", path(name)).config(quick());
    let old = builder("old").restore(&backup);
    ensure!(matches!(&old, Err(RestoreFailed::Exists(place)) if *place == path("old")), "{old:?}");
    let beside = Node::builder("node0", directory.path().join("new/")).config(quick());
    std::fs::create_dir(path("new.restoring"))?;
    std::fs::write(path("new.restoring").join("a note"), "of an operator")?;
    let new = beside.restore(&backup);
    ensure!(matches!(&new, Err(RestoreFailed::Begun(place)) if *place == path("new.restoring")), "{new:?}");
    let mut bytes = std::fs::read(&backup)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path("damaged"), bytes)?;
    let damaged = builder("other").restore(&path("damaged"));
    ensure!(matches!(damaged, Err(RestoreFailed::Snapshot(ref error)) if error.is_damage()), "{damaged:?}");
    ensure!(!path("new").exists() && !path("other").exists());
    std::os::unix::fs::symlink(path("old"), path("link"))?;
    let link = builder("link").restore(&backup);
    ensure!(matches!(&link, Err(RestoreFailed::Symlink(place)) if *place == path("link")), "{link:?}");
    Ok(())
}

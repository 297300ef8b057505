//! Disks that are full, slow, damaged or taken: each ends in a clear, typed answer, and harms nothing else.

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter, Total};
use quorate::store::{Disk, DiskError, SimDisk};
use quorate::{Config, Consistency, Injury, Node, NodeFailure, Outcome, ProposeError, Standing, StartError};
use quorate_tests::cluster::{Cluster, quick, quiet_panics, same_digest};
use quorate_tests::files::{flip, journals};
use quorate_tests::wait::{PATIENCE, eventually};

/// With so many bytes that must stay free on the disk.
fn keeps(disk_reserve_bytes: u64) -> Config {
    let mut config = quick();
    config.node.disk_reserve_bytes = disk_reserve_bytes;
    config
}

#[tokio::test]
async fn a_second_process_on_one_data_directory_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let first = Node::builder("node0", directory.path()).start().await?;
    let second = Node::builder("node0", directory.path()).start().await.expect_err("in use");
    assert!(matches!(second, StartError::Disk(DiskError::Locked { .. })), "{second}");
    let place = directory.path().display().to_string();
    assert!(second.to_string().contains(&place), "it names the directory: {second}");
    first.stop().await;
    Node::builder("node0", directory.path()).start().await?.stop().await;
    let other = Node::builder("node1", directory.path()).start().await.expect_err("another's data");
    assert!(other.to_string().contains("node0"), "{other}");
    Ok(())
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_and_an_address_in_use_are_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    std::fs::write(&file, b"not a directory")?;
    let refused = Node::builder("node0", file.join("data")).start().await.expect_err("below a file");
    assert!(refused.to_string().contains("file/data"), "{refused}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let refused = Node::builder("node0", directory.path().join("data")).listen(&address).start().await;
    let said = refused.expect_err("in use").to_string();
    assert!(said.contains(&address), "{said}");
    Ok(())
}

#[tokio::test]
async fn rule_06_a_damaged_log_is_repaired_from_the_peers_and_the_node_votes_again() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let mut counts = cluster.group("counter", Counter::default).await?;
    for n in 1..=50 {
        assert_eq!(counts[0].propose(Add(1)).await?, n);
    }
    same_digest(&counts).await?;
    cluster.stop(2).await;
    flip(journals(&cluster.data(2))?.first().context("fjall has a journal")?)?;

    let node = cluster.start_node(2).await?;
    counts[2] = node.group("counter", Counter::default()).await?;
    eventually("it caught up and votes again", async || {
        let role = counts[2].status().await.role?;
        (role.standing == Standing::Voter && role.applied >= 50).then_some(())
    })
    .await?;
    same_digest(&counts).await?;
    let aside = std::fs::read_dir(cluster.data(2))?.count();
    assert!(aside > 3, "the damaged database was set aside, not deleted");
    assert_eq!(counts[2].query(Total, Consistency::Linearizable).await?, 50);
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn bug_72_a_failed_sync_stops_the_node_and_says_unknown() -> Result<()> {
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused").disk(Box::new(disk.clone())).config(quick()).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.propose(Add(1)).await?, 1);
    disk.fail_sync_in(0);
    let lost = count.propose(Add(1)).await.expect_err("the disk failed");
    assert_eq!(lost.outcome(), Outcome::Unknown, "{lost}");
    let failure = node.failed().await.context("it stops")?;
    assert!(matches!(failure, NodeFailure::Store { .. }), "{failure}");
    let after = count.propose(Add(1)).await.expect_err("stopped");
    assert!(matches!(after, ProposeError::Stopped { .. }), "{after}");
    Ok(())
}

/// Commands that wait for a compaction with an unknown end are refused instead.
#[tokio::test]
async fn a_leader_whose_disk_is_behind_with_its_work_refuses_commands() -> Result<()> {
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused").disk(Box::new(disk.clone())).config(quick()).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.propose(Add(1)).await?, 1);
    disk.backlog().set_waiting(true);
    let refused = count.propose(Add(1)).await.expect_err("the disk is behind");
    assert!(matches!(refused, ProposeError::Busy { in_flight: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("compactions"), "{refused}");
    disk.backlog().set_waiting(false);
    assert_eq!(count.propose(Add(1)).await?, 2);
    node.stop().await;
    Ok(())
}

/// The thread that writes hangs, and who watched it has been stopped: the node never ended.
#[tokio::test]
async fn a_node_stops_although_its_disk_hangs_and_says_that_it_failed() -> Result<()> {
    // Both at once: each waits for its disk.
    let (killed, stopped) = tokio::join!(ends_on_a_hanging_disk(false), ends_on_a_hanging_disk(true));
    killed.and(stopped)
}

async fn ends_on_a_hanging_disk(in_order: bool) -> Result<()> {
    let mut config = quick();
    // In order, the callers that it waits for first get no answer, for two seconds.
    config.node.store_silence_ms_max = if in_order { 6_000 } else { 2_000 };
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused").disk(Box::new(disk.clone())).config(config).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.propose(Add(1)).await?, 1);
    disk.stall(true);
    let under_way = count.propose_by(Add(1), Duration::from_millis(50)).await.expect_err("the disk hangs");
    assert_eq!(under_way.outcome(), Outcome::Unknown, "{under_way}");
    // Before the disk has been silent for long, so that no actor is left that notices it.
    let end = async { if in_order { node.stop().await } else { node.kill().await } };
    tokio::time::timeout(PATIENCE, end).await?;
    let failure = node.failed().await.context("it is said")?;
    assert!(matches!(failure, NodeFailure::Store { .. }), "{failure}");
    disk.stall(false);
    Ok(())
}

#[tokio::test]
async fn rule_16_a_full_disk_refuses_proposals_and_goes_on_reading() -> Result<()> {
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused")
        .disk(Box::new(disk.clone()))
        .config(keeps(256 << 20))
        .start()
        .await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.propose(Add(1)).await?, 1);
    // Below the reserve, and far from really full.
    disk.set_capacity(200 << 20);
    let full = eventually("proposals are refused", async || count.propose(Add(0)).await.err()).await?;
    assert_eq!(full.outcome(), Outcome::Refused);
    assert!(matches!(full, ProposeError::NoSpace { .. }), "{full}");
    let said = full.to_string();
    assert!(said.contains("node0 has 135 MiB free") && said.contains("256 MiB must stay free"), "{said}");
    assert_eq!(count.query(Total, Consistency::Linearizable).await?, 1);
    disk.set_capacity(u64::MAX);
    let _total = eventually("space is back", async || count.propose(Add(1)).await.ok()).await?;
    node.stop().await;
    Ok(())
}

/// No file could be made although bytes were free: the database failed in its own thread, and the node ended.
#[tokio::test]
async fn rule_16_a_disk_without_inodes_refuses_proposals_and_names_them() -> Result<()> {
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused").disk(Box::new(disk.clone())).config(quick()).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.propose(Add(1)).await?, 1);
    disk.set_free_files(12);
    let full = eventually("proposals are refused", async || count.propose(Add(0)).await.err()).await?;
    assert!(matches!(full, ProposeError::NoSpace { .. }), "{full}");
    let said = full.to_string();
    assert!(
        said.contains("node0 has 12 inodes free") && said.contains("again with 136 inodes free"),
        "{said}"
    );
    assert_eq!(count.query(Total, Consistency::Linearizable).await?, 1);
    disk.set_free_files(128);
    let space =
        eventually("it is measured", async || Some(node.space()).filter(|space| space.free_files == 128))
            .await?;
    assert!(!space.is_full() && node.is_disk_full(), "it is full until there are a few more");
    disk.set_free_files(136);
    let _total = eventually("there are some again", async || count.propose(Add(1)).await.ok()).await?;
    node.stop().await;
    Ok(())
}

/// Volumes below 256 MiB took no write at all, and said nothing about it until the first one was refused.
#[tokio::test]
async fn rule_16_small_volumes_have_small_reserves() -> Result<()> {
    let mut cluster = Cluster::idle(3, quick())?;
    let disks = [(); 3].map(|()| SimDisk::new());
    for (at, disk) in disks.iter().enumerate() {
        disk.set_capacity(200 << 20);
        cluster.start_node_on(at, disk.clone()).await?;
    }
    let counts = cluster.group("counter", Counter::default).await?;
    let leader = cluster.leader(&counts).await?;
    assert_eq!(counts[leader].propose(Add(1)).await?, 1);
    for (_, node) in cluster.nodes() {
        let space = node.space();
        assert_eq!((space.reserve_bytes, space.total_bytes), (50 << 20, 200 << 20));
        assert!(!node.is_disk_full());
    }
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_16_a_reserve_that_the_volume_can_never_have_is_refused_at_the_start() {
    let disk = SimDisk::new();
    disk.set_capacity(200 << 20);
    let builder = Node::builder("node0", "unused").disk(Box::new(disk)).config(keeps(256 << 20));
    let said = builder.start().await.expect_err("refused").to_string();
    assert!(said.contains("has 200 MiB, and 256 MiB must stay free on it (disk_reserve_bytes)"), "{said}");
}

/// A disk that was full when the role was loaded, and is not any more when the next one is.
#[tokio::test]
async fn rule_16_a_role_that_is_loaded_again_knows_that_space_is_back() -> Result<()> {
    quiet_panics();
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused")
        .disk(Box::new(disk.clone()))
        .config(keeps(256 << 20))
        .start()
        .await?;
    disk.set_capacity(200 << 20);
    let count = node.group("counter", Counter::default()).await?;
    let full = eventually("proposals are refused", async || match count.propose(Add(0)).await {
        Err(ProposeError::NoSpace { .. }) => Some(()),
        _ => None,
    });
    full.await?;
    disk.set_capacity(u64::MAX);
    let _total = eventually("space is back", async || count.propose(Add(1)).await.ok()).await?;
    let role = eventually("it leads", async || {
        node.actors().into_iter().find(|actor| actor.kind == "leader").map(|actor| actor.name)
    })
    .await?;
    assert!(node.injure(&role, Injury::Panic));
    let _total = eventually("a later role knows it, too", async || count.propose(Add(1)).await.ok()).await?;
    node.stop().await;
    Ok(())
}

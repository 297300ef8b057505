//! Snapshots: a log that forgets its beginning, nodes that start from a snapshot and fetch it from each other, and files of
//! snapshots that are gone or damaged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate::machine::{Counter, Kv, KvAnswer, KvCommand, KvQuery, KvReply, Total};
use quorate::{Config, Consistency, GroupHandle, Injury, Node, RoleStatus};
use quorate_tests::cluster::{Cluster, add, quick, quiet_panics, same_digest};
use quorate_tests::wait::{PATIENCE, eventually};

/// What is not needed is forgotten at once: nothing stays in memory.
fn forgets() -> Config {
    let mut config = quick();
    config.node.tail_bytes_max = 0;
    config
}

/// Snapshots every so many entries.
fn every(entries: u64) -> Config {
    let mut config = forgets();
    config.node.snapshot_log_entries = entries;
    config
}

async fn role(count: &GroupHandle<Counter>) -> Result<RoleStatus> {
    count.status().await.role.context("its role answers")
}

/// The log of a node no longer begins with the first entry.
async fn forgot(count: &GroupHandle<Counter>) -> Result<RoleStatus> {
    eventually("the log forgets its beginning", async || {
        count.status().await.role.filter(|role| role.first > 1)
    })
    .await
}

/// Three nodes with two snapshots each, whose logs have forgotten their beginning.
async fn three_that_forgot() -> Result<(Cluster, Vec<GroupHandle<Counter>>)> {
    let cluster = Cluster::start(3, forgets()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    for _ in 0..2 {
        add(&counts[0], 20).await?;
        same_digest(&counts).await?;
        for count in &counts {
            count.snapshot(PATIENCE).await?;
        }
    }
    for count in &counts {
        forgot(count).await?;
    }
    Ok((cluster, counts))
}

fn snapshots(data: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(data.join("snapshots"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "snap"));
    files.sort();
    Ok(files)
}

#[tokio::test]
async fn a_log_goes_for_two_snapshots_and_a_start_begins_with_the_newest() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = || Node::builder("node0", directory.path()).config(forgets()).start();
    let node = start().await?;
    let count = node.group("counter", Counter::default()).await?;
    add(&count, 30).await?;
    let first = count.snapshot(PATIENCE).await?;
    assert_eq!(role(&count).await?.first, 1, "one snapshot may be lost, so the log stays");
    add(&count, 30).await?;
    let second = count.snapshot(PATIENCE).await?;
    assert!(second >= first + 30);
    let said = forgot(&count).await?;
    assert_eq!((said.first, said.snapshot), (first + 1, second));
    add(&count, 5).await?;
    node.stop().await;
    assert_eq!(snapshots(directory.path())?.len(), 2);

    let node = start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.query(Total, Consistency::Linearizable).await?, 65);
    assert_eq!(add(&count, 1).await?, 66);
    assert!(role(&count).await?.first > first);
    let third = count.snapshot(PATIENCE).await?;
    eventually("the oldest goes", async || count.status().await.role.filter(|role| role.first == second + 1))
        .await?;
    assert!(third > second);
    assert_eq!(snapshots(directory.path())?.len(), 2);
    node.stop().await;
    Ok(())
}

#[tokio::test]
async fn snapshots_are_taken_by_themselves_and_the_log_stays_short() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::builder("node0", directory.path()).config(every(50)).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    add(&count, 400).await?;
    let said =
        eventually("the log is short", async || count.status().await.role.filter(|role| role.first > 200))
            .await?;
    assert!(said.snapshot > said.first);
    node.stop().await;
    Ok(())
}

/// The newest cannot be read: the one before it and the log give the same state. Neither can: a node alone does not start its machine.
#[tokio::test]
async fn a_damaged_snapshot_is_passed_over_for_the_one_before_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = || Node::builder("node0", directory.path()).config(forgets()).start();
    let node = start().await?;
    let count = node.group("counter", Counter::default()).await?;
    for _ in 0..2 {
        add(&count, 20).await?;
        count.snapshot(PATIENCE).await?;
    }
    forgot(&count).await?;
    add(&count, 2).await?;
    node.stop().await;
    let files = snapshots(directory.path())?;
    let newest = files.last().context("there are two")?;
    let mut bytes = std::fs::read(newest)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(newest, bytes)?;
    let node = start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.query(Total, Consistency::Linearizable).await?, 42);
    assert_eq!(add(&count, 1).await?, 43);
    node.stop().await;
    Ok(())
}

fn damage(file: &Path, at: impl Fn(usize) -> usize) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    Ok(std::fs::write(file, bytes)?)
}

/// The damage is far behind the first chunk: a machine that reads up to there has an error of its own, which says nothing of the
/// machine. The file is set aside, and does not count any more.
#[tokio::test]
async fn a_snapshot_that_is_damaged_in_its_last_chunk_is_set_aside() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = || Node::builder("node0", directory.path()).config(forgets()).start();
    let node = start().await?;
    let kv = node.group("kv", Kv::default()).await?;
    for round in 0..2_u8 {
        for key in 0..30 {
            let reply = kv.propose(KvCommand::set(format!("k{key}"), vec![round; 40_000])).await?;
            assert!(matches!(reply, KvReply::Set { .. }), "{reply:?}");
        }
        kv.snapshot(PATIENCE).await?;
    }
    node.stop().await;
    let files = snapshots(directory.path())?;
    let newest = files.last().context("there are two")?.clone();
    damage(&newest, |bytes| bytes - 5_000)?;
    let node = start().await?;
    let kv = node.group("kv", Kv::default()).await?;
    let answer = kv.query(KvQuery::get("k29"), Consistency::Linearizable).await?;
    assert!(matches!(&answer, KvAnswer::Value(Some(found)) if found.value.len() == 40_000), "{answer:?}");
    assert_eq!(snapshots(directory.path())?, files[..1]);
    assert!(newest.with_extension("damaged").exists());
    let taken = kv.snapshot(PATIENCE).await?;
    assert_eq!(kv.status().await.role.context("its role answers")?.snapshot, taken);
    node.stop().await;
    Ok(())
}

/// None of its snapshots can be read, and its log does not begin with the first entry: it gets one from a peer, and votes meanwhile.
#[tokio::test]
async fn a_node_whose_snapshots_are_damaged_fetches_one_from_a_peer() -> Result<()> {
    let (mut cluster, mut counts) = three_that_forgot().await?;
    cluster.stop(1).await;
    for file in snapshots(&cluster.data(1))? {
        damage(&file, |bytes| bytes / 2)?;
    }
    let node = cluster.start_node(1).await?;
    counts[1] = node.group("counter", Counter::default()).await?;
    assert_eq!(add(&counts[0], 1).await?, 41);
    let status = eventually("its machine runs", async || {
        let status = counts[1].status().await;
        (status.role.as_ref()?.applied >= 41).then_some(status)
    })
    .await?;
    assert_eq!(status.applier_restarts, 0, "it was made again once, when there was something to make it of");
    same_digest(&counts).await?;
    assert_eq!(snapshots(&cluster.data(1))?.len(), 1, "what was fetched");
    cluster.stop_all().await;
    Ok(())
}

/// Its files were there when it started. Whatever takes them away while it runs, its machine is made again of what there is, and not of
/// files that are gone, again and again.
#[tokio::test]
async fn a_machine_whose_snapshots_go_while_its_node_runs_gets_one_of_a_peer() -> Result<()> {
    quiet_panics();
    let (cluster, counts) = three_that_forgot().await?;
    let mut restarts = 0;
    for is_damaged in [true, false] {
        for file in snapshots(&cluster.data(1))? {
            if is_damaged { damage(&file, |_| 20)? } else { std::fs::remove_file(file)? }
        }
        let actors = cluster.node(1).actors();
        let applier = actors.into_iter().find(|actor| actor.kind == "applier").context("it runs")?;
        ensure!(cluster.node(1).injure(&applier.name, Injury::Panic));
        // What the machine had taken when it ended is unknown.
        let total = eventually("one more is added", async || add(&counts[0], 1).await.ok()).await?;
        let status = eventually("its machine runs", async || {
            let status = counts[1].status().await;
            (status.applier_restarts > restarts
                && status.role.as_ref()?.applied >= u64::try_from(total).ok()?)
            .then_some(status)
        })
        .await?;
        ensure!(status.applier_restarts <= restarts + 3, "{} restarts", status.applier_restarts);
        restarts = status.applier_restarts;
        same_digest(&counts).await?;
    }
    cluster.stop_all().await;
    Ok(())
}

/// What it said when it last looked is not what its directory has.
#[tokio::test]
async fn a_leader_whose_snapshots_are_gone_offers_them_no_more() -> Result<()> {
    let (mut cluster, mut counts) = three_that_forgot().await?;
    let away = (cluster.leader(&counts).await? + 1) % 3;
    cluster.stop(away).await;
    let here: Vec<usize> = (0..3).filter(|at| *at != away).collect();
    for _ in 0..2 {
        add(&counts[here[0]], 20).await?;
        for at in &here {
            counts[*at].snapshot(PATIENCE).await?;
        }
    }
    let running: Vec<_> = here.iter().map(|at| counts[*at].clone()).collect();
    let leader = cluster.leader(&running).await?;
    for file in snapshots(&cluster.data(leader))? {
        std::fs::remove_file(file)?;
    }
    assert!(role(&counts[leader]).await?.snapshot > 0, "it does not know yet");
    let node = cluster.start_node(away).await?;
    counts[away] = node.group("counter", Counter::default()).await?;
    eventually("it offers none", async || {
        counts[leader].status().await.role.filter(|role| role.snapshot == 0)
    })
    .await?;
    let total = add(&counts[leader], 1).await?;
    counts[leader].snapshot(PATIENCE).await?;
    eventually("it offers the new one", async || {
        let role = counts[away].status().await.role?;
        (role.applied >= u64::try_from(total).ok()?).then_some(())
    })
    .await?;
    same_digest(&counts).await?;
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn a_node_that_was_away_fetches_a_snapshot_and_follows() -> Result<()> {
    let mut cluster = Cluster::start(3, forgets()).await?;
    let mut counts = cluster.group("counter", Counter::default).await?;
    add(&counts[0], 10).await?;
    same_digest(&counts).await?;
    cluster.stop(2).await;
    for _ in 0..2 {
        add(&counts[0], 40).await?;
        for count in &counts[..2] {
            count.snapshot(PATIENCE).await?;
        }
    }
    for count in &counts[..2] {
        forgot(count).await?;
    }
    let node = cluster.start_node(2).await?;
    counts[2] = node.group("counter", Counter::default()).await?;
    eventually("it has fetched a snapshot", async || {
        let role = counts[2].status().await.role?;
        (role.first > 1 && role.applied >= 90).then_some(())
    })
    .await?;
    assert_eq!(add(&counts[2], 1).await?, 91, "it forwards, and applies");
    same_digest(&counts).await?;
    assert_eq!(counts[2].query(Total, Consistency::Linearizable).await?, 91);
    cluster.stop_all().await;
    Ok(())
}

/// A node without any snapshot that can be read, whose log begins behind its first entry, gets one from a peer, and votes meanwhile.
#[tokio::test]
async fn a_node_whose_snapshots_are_gone_fetches_one_from_a_peer() -> Result<()> {
    let (mut cluster, mut counts) = three_that_forgot().await?;
    cluster.stop(1).await;
    std::fs::remove_dir_all(cluster.data(1).join("snapshots"))?;
    let node = cluster.start_node(1).await?;
    counts[1] = node.group("counter", Counter::default()).await?;
    assert_eq!(add(&counts[0], 1).await?, 41);
    eventually("its machine runs", async || (counts[1].status().await.role?.applied >= 41).then_some(()))
        .await?;
    same_digest(&counts).await?;
    cluster.stop_all().await;
    Ok(())
}

/// Load, snapshots every few entries on each node, and one node after the other that loses its directory of snapshots or is away.
#[tokio::test]
async fn under_load_nodes_come_and_go_and_agree() -> Result<()> {
    quiet_panics();
    let mut cluster = Cluster::start(3, every(20)).await?;
    let mut counts = cluster.group("counter", Counter::default).await?;
    let mut total: i64 = 0;
    for round in 0..4 {
        let away = round % 3;
        let here = (away + 1) % 3;
        cluster.stop(away).await;
        add(&counts[here], 60).await?;
        if round == 1 {
            std::fs::remove_dir_all(cluster.data(away).join("snapshots"))?;
        }
        let node = cluster.start_node(away).await?;
        counts[away] = node.group("counter", Counter::default()).await?;
        total = add(&counts[here], 60).await?;
        eventually("it is level again", async || {
            let role = counts[away].status().await.role?;
            (role.applied >= u64::try_from(total).ok()?).then_some(())
        })
        .await?;
        same_digest(&counts).await?;
    }
    assert_eq!(counts[0].query(Total, Consistency::Linearizable).await?, total);
    tokio::time::timeout(Duration::from_secs(60), cluster.stop_all()).await?;
    Ok(())
}

/// Who asks while one is taken gets one that has what was there when they asked.
#[tokio::test]
async fn bug_68_who_asks_while_a_snapshot_is_taken_gets_the_next_one() -> Result<()> {
    let count = Node::single_memory(Counter::default()).await?;
    for _ in 0..5 {
        let before = add(&count, 1).await?;
        let ask = async || {
            let seen = role(&count).await?.applied;
            Ok::<_, anyhow::Error>((seen, count.snapshot(PATIENCE).await?))
        };
        let (one, other, more) = tokio::try_join!(ask(), ask(), ask())?;
        for (seen, taken) in [one, other, more] {
            assert!(taken >= seen, "it has all that was applied when it was asked for: {taken}, {seen}");
        }
        assert!(before > 0);
    }
    Ok(())
}

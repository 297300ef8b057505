//! Faults of machines, disks and neighbours: each ends in a clear, typed answer, and harms nothing else.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "small counts")]

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, ApplyContext, Counter, RestoreError, Snapshot, SnapshotReader, Total};
use quorate::store::{Disk, DiskError, SimDisk};
use quorate::{
    Client, ClientOptions, Config, Consistency, Injury, Node, NodeFailure, Outcome, ProposeError, QueryError,
    Standing, StartError, StateMachine, TransferError, TransferRefusal,
};
use quorate_bridge::{Bridge, BridgeOptions, Identity, LinkState, PeerAddress, PeerKind};
use quorate_core::NodeId;
use quorate_tests::cluster::{Cluster, quick, quiet_panics, same_digest};
use quorate_tests::wait::{PATIENCE, eventually};

/// With so many bytes that must stay free on the disk.
fn keeps(disk_reserve_bytes: u64) -> Config {
    let mut config = quick();
    config.node.disk_reserve_bytes = disk_reserve_bytes;
    config
}

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
async fn rule_14_bug_52_a_wiped_disk_under_an_old_name_is_refused_with_the_remedy() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose(Add(1)).await?, 1);
    eventually("every node knows every other", async || {
        let status = counts[0].status().await.role?;
        status.members.iter().all(|member| member.incarnation != 0).then_some(())
    })
    .await
    .context("the leader writes incarnations into the membership")?;
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.data(2))?;
    let wiped = cluster.start_node(2).await?;
    let failure = tokio::time::timeout(PATIENCE, wiped.failed()).await?.context("it stops")?;
    assert!(matches!(failure, NodeFailure::Replaced { .. }), "{failure}");
    let said = failure.to_string();
    assert!(said.contains("put the old one back") && said.contains("cannot replace a member"), "{said}");
    let refused = wiped.group("counter", Counter::default()).await.expect_err("it has ended");
    assert!(refused.to_string().contains(&said), "the reason, and not only that it ended: {refused}");
    assert_eq!(counts[0].propose(Add(1)).await?, 2, "the others go on");
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_14_the_copy_of_a_running_node_is_named_and_ends_and_the_node_goes_on() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose(Add(1)).await?, 1);
    cluster.stop(2).await;
    let copy = tempfile::tempdir()?;
    copy_all(&cluster.data(2), copy.path())?;
    let node = cluster.start_node(2).await?;
    eventually("the node is back", async || {
        let links = cluster.nodes().flat_map(|(_, node)| node.links());
        (links.filter(|link| link.state == LinkState::Up).count() == 6).then_some(())
    })
    .await?;
    // The members are known by the directory, so the copy reaches them from anywhere.
    let twin = Node::builder("node2", copy.path()).listen("127.0.0.1:0").config(quick()).start().await?;
    assert_eq!(twin.identity(), node.identity());
    let failure = tokio::time::timeout(PATIENCE, twin.failed()).await?.context("it stops")?;
    assert!(matches!(failure, NodeFailure::Twin { .. }), "{failure}");
    let said = failure.to_string();
    assert!(said.contains("another process runs as node node2") && said.contains("copied"), "{said}");
    let reconnects: u64 =
        cluster.nodes().flat_map(|(_, node)| node.links()).map(|link| link.reconnects).sum();
    let before = 2;
    assert_eq!(reconnects, before, "of its restart; the links of the node do not fall");
    cluster.stop_all().await;
    Ok(())
}

/// Its boot number is the next one: it was admitted, and the node that it was copied from was cut off.
#[tokio::test]
async fn rule_14_the_copy_of_a_running_node_started_elsewhere_ends_and_the_node_goes_on() -> Result<()> {
    let cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose(Add(1)).await?, 1);
    let links = async |cluster: &Cluster| {
        let links = || cluster.nodes().flat_map(|(_, node)| node.links()).collect::<Vec<_>>();
        eventually("all are linked", async || {
            (links().iter().filter(|link| link.state == LinkState::Up).count() == 6).then_some(())
        })
        .await?;
        anyhow::Ok(links().iter().map(|link| link.reconnects).sum::<u64>())
    };
    let before = links(&cluster).await?;
    let copy = tempfile::tempdir()?;
    copy_all(&cluster.data(2), copy.path())?;
    let twin = Node::builder("node2", copy.path()).listen("127.0.0.1:0").config(quick()).start().await?;
    assert_eq!(twin.identity().boot.0, cluster.node(2).identity().boot.0 + 1);
    let failure = tokio::time::timeout(PATIENCE, twin.failed()).await?.context("it stops")?;
    assert!(matches!(failure, NodeFailure::Twin { .. }), "{failure}");
    let said = failure.to_string();
    assert!(
        said.contains("another process runs as node node2") && said.contains("copied while it ran"),
        "{said}"
    );
    assert_eq!(links(&cluster).await?, before, "the links of the node do not fall");
    assert_eq!(counts[2].propose(Add(1)).await?, 2);
    cluster.stop_all().await;
    Ok(())
}

/// It was refused at every retry, and ran on.
#[tokio::test]
async fn rule_14_a_node_on_an_old_copy_is_told_of_the_later_boot_and_ends() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose(Add(1)).await?, 1);
    cluster.stop(2).await;
    let copy = tempfile::tempdir()?;
    copy_all(&cluster.data(2), copy.path())?;
    for _ in 0..2 {
        cluster.start_node(2).await?;
        eventually("the node is back", async || {
            let link = cluster.node(0).links().into_iter().find(|link| link.node == "node2")?;
            let boot = cluster.node(2).identity().boot.0;
            (link.peer.is_some_and(|peer| peer.boot == boot) && link.state == LinkState::Up).then_some(())
        })
        .await?;
        cluster.stop(2).await;
    }
    let old = Node::builder("node2", copy.path()).listen("127.0.0.1:0").config(quick()).start().await?;
    let failure = tokio::time::timeout(PATIENCE, old.failed()).await?.context("it stops")?;
    assert!(matches!(failure, NodeFailure::Outdated { .. }), "{failure}");
    let said = failure.to_string();
    assert!(said.contains("stale_boot") && said.contains("This process is out of date"), "{said}");
    cluster.stop_all().await;
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

fn copy_all(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused() -> Result<()> {
    let mut cluster = Cluster::start(2, quick()).await?;
    let port = cluster.port(1);
    cluster.stop(1).await;
    let other = Node::builder("node1", cluster.data(9))
        .listen(&format!("127.0.0.1:{port}"))
        .peer("node0", &format!("127.0.0.1:{}", cluster.port(0)))
        .cluster_token("another")
        .config(quick())
        .start()
        .await?;
    let said = link_error(&other, "wrong_cluster").await?;
    assert!(said.contains("cluster token"), "it names the remedy: {said}");
    other.stop().await;
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_15_other_cluster_settings_are_refused_and_named() -> Result<()> {
    let mut cluster = Cluster::start(2, quick()).await?;
    cluster.stop(1).await;
    let mut config = quick();
    config.cluster.clock_drift_ppm_max += 1;
    let other = cluster.builder(1).config(config).start().await?;
    link_error(&other, "fingerprint").await?;
    other.stop().await;
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_14_a_stranger_is_refused() -> Result<()> {
    let cluster = Cluster::start(1, quick()).await?;
    let identity = Identity {
        kind: PeerKind::Peer,
        fingerprint: quick().cluster.fingerprint(),
        ..Identity::peer(cluster.node(0).identity().cluster.0, "stranger", 7, 1)
    };
    let bridge = Bridge::start(BridgeOptions::new("stranger", identity), None).await?;
    bridge.add_peer(PeerAddress::new("node0", format!("127.0.0.1:{}", cluster.port(0))))?;
    let said = eventually("a refusal", async || bridge.link("node0")?.last_error).await?;
    assert!(said.contains("unknown_peer") && said.contains("stranger"), "{said}");
    bridge.stop().await;
    cluster.stop_all().await;
    Ok(())
}

async fn link_error(node: &Node, code: &str) -> Result<String> {
    eventually(code, async || {
        let said: Vec<String> = node.links().into_iter().filter_map(|link| link.last_error).collect();
        said.into_iter().find(|said| said.contains(code))
    })
    .await
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
    let journal = std::fs::read_dir(cluster.data(2).join("db"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .context("fjall has a journal")?;
    let mut bytes = std::fs::read(&journal)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).context("something was written")?;
    bytes[used / 2] ^= 0x40;
    std::fs::write(&journal, bytes)?;

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
    let mut config = quick();
    config.node.store_silence_ms_max = 2_000;
    let disk = SimDisk::new();
    let node = Node::builder("node0", "unused").disk(Box::new(disk.clone())).config(config).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    assert_eq!(count.propose(Add(1)).await?, 1);
    disk.stall(true);
    let under_way = count.propose_by(Add(1), Duration::from_millis(50)).await.expect_err("the disk hangs");
    assert_eq!(under_way.outcome(), Outcome::Unknown, "{under_way}");
    // At once, so that no actor is left that notices the silence.
    tokio::time::timeout(PATIENCE, node.kill()).await?;
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

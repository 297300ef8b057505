//! Who may take part under a name: a wiped disk, a copy, a stranger and a node of another cluster are refused by name, with the
//! remedy, and cost those that belong there nothing.

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter};
use quorate::{GroupHandle, Node, NodeFailure};
use quorate_bridge::{Bridge, BridgeOptions, Identity, LinkState, PeerAddress, PeerKind};
use quorate_tests::cluster::{Cluster, quick};
use quorate_tests::wait::{PATIENCE, eventually};
use tempfile::TempDir;

/// Three nodes and a group that has counted one.
async fn counted_one() -> Result<(Cluster, Vec<GroupHandle<Counter>>)> {
    let cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose(Add(1)).await?, 1);
    Ok((cluster, counts))
}

/// A copy of the last node's directory, as it is now.
fn copied(cluster: &Cluster) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    copy_all(&cluster.data(2), copy.path())?;
    Ok(copy)
}

/// The last node on another directory, as if its address led there. The directory names the members, so it reaches them from anywhere.
async fn start_on(copy: &TempDir, cluster: &Cluster) -> Result<Node> {
    let known = format!("127.0.0.1:{}", cluster.port(2));
    let builder = Node::builder("node2", copy.path()).listen("127.0.0.1:0").advertise(&known).config(quick());
    Ok(builder.start().await?)
}

/// Why a node ended by itself.
async fn ended(node: &Node) -> Result<NodeFailure> {
    tokio::time::timeout(PATIENCE, node.failed()).await?.context("it stops")
}

/// How often links were made again, once every node is linked with every other.
async fn reconnects(cluster: &Cluster) -> Result<u64> {
    let links = || cluster.nodes().flat_map(|(_, node)| node.links()).collect::<Vec<_>>();
    eventually("all are linked", async || {
        (links().iter().filter(|link| link.state == LinkState::Up).count() == 6).then_some(())
    })
    .await?;
    Ok(links().iter().map(|link| link.reconnects).sum())
}

#[tokio::test]
async fn rule_14_the_copy_of_a_running_node_is_named_and_ends_and_the_node_goes_on() -> Result<()> {
    let (mut cluster, _) = counted_one().await?;
    cluster.stop(2).await;
    let copy = copied(&cluster)?;
    let node = cluster.start_node(2).await?;
    let before = reconnects(&cluster).await?;
    let twin = start_on(&copy, &cluster).await?;
    let numbers = |node: &Node| (node.identity().incarnation, node.identity().boot);
    assert_eq!(numbers(&twin), numbers(&node));
    let failure = ended(&twin).await?;
    assert!(matches!(failure, NodeFailure::Twin { .. }), "{failure}");
    let said = failure.to_string();
    // The other process runs here, and where an old copy was put back it has ended: both are said.
    assert!(
        said.contains("of node node2 was used by another process") && said.contains("or has ended"),
        "{said}"
    );
    assert_eq!(reconnects(&cluster).await?, before, "the links of the node do not fall");
    cluster.stop_all().await;
    Ok(())
}

/// Its boot number is the next one: it was admitted, and the node that it was copied from was cut off.
#[tokio::test]
async fn rule_14_the_copy_of_a_running_node_started_elsewhere_ends_and_the_node_goes_on() -> Result<()> {
    let (cluster, counts) = counted_one().await?;
    let before = reconnects(&cluster).await?;
    let copy = copied(&cluster)?;
    let twin = start_on(&copy, &cluster).await?;
    assert_eq!(twin.identity().boot.0, cluster.node(2).identity().boot.0 + 1);
    let failure = ended(&twin).await?;
    assert!(matches!(failure, NodeFailure::Twin { .. }), "{failure}");
    let said = failure.to_string();
    assert!(
        said.contains("another process runs as node node2") && said.contains("copied while it ran"),
        "{said}"
    );
    assert_eq!(reconnects(&cluster).await?, before, "the links of the node do not fall");
    assert_eq!(counts[2].propose(Add(1)).await?, 2);
    cluster.stop_all().await;
    Ok(())
}

/// No other process ran, and the advice was to delete a directory: it may have been the newest one.
#[tokio::test]
async fn rule_14_an_old_directory_that_is_put_back_is_refused_at_every_start_and_the_newest_is_not()
-> Result<()> {
    let (mut cluster, counts) = counted_one().await?;
    cluster.stop(2).await;
    let copy = copied(&cluster)?;
    cluster.start_node(2).await?;
    reconnects(&cluster).await?;
    cluster.stop(2).await;
    // The second start has a boot number that no peer knows: it was admitted.
    for _ in 0..3 {
        let old = start_on(&copy, &cluster).await?;
        let failure = ended(&old).await?;
        old.stop().await;
        assert!(matches!(failure, NodeFailure::Twin { .. }), "{failure}");
        let said = failure.to_string();
        assert!(said.contains("older copy was put back") && said.contains("a second process runs"), "{said}");
        assert!(!said.contains("delete"), "{said}");
    }
    // The newest directory is not locked out by it.
    cluster.start_node(2).await?;
    reconnects(&cluster).await?;
    assert_eq!(counts[0].propose_by(Add(1), PATIENCE).await?.reply, 2);
    cluster.stop_all().await;
    Ok(())
}

/// It was refused at every retry, and ran on.
#[tokio::test]
async fn rule_14_a_node_on_an_old_copy_is_told_of_the_later_boot_and_ends() -> Result<()> {
    let (mut cluster, _) = counted_one().await?;
    cluster.stop(2).await;
    let copy = copied(&cluster)?;
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
    let failure = ended(&start_on(&copy, &cluster).await?).await?;
    assert!(matches!(failure, NodeFailure::Outdated { .. }), "{failure}");
    let said = failure.to_string();
    assert!(said.contains("stale_boot") && said.contains("keep its directory"), "{said}");
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_14_bug_52_a_wiped_disk_under_an_old_name_is_refused_with_the_remedy() -> Result<()> {
    let (mut cluster, counts) = counted_one().await?;
    eventually("every node knows every other", async || {
        let status = counts[0].status().await.role?;
        status.members.iter().all(|member| member.incarnation != 0).then_some(())
    })
    .await
    .context("the leader writes incarnations into the membership")?;
    let known = cluster.node(2).identity().incarnation.to_string();
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.data(2))?;
    let wiped = cluster.start_node(2).await?;
    let offered = wiped.identity().incarnation.to_string();
    let failure = ended(&wiped).await?;
    assert!(matches!(failure, NodeFailure::Replaced { .. }), "{failure}");
    let said = failure.to_string();
    assert!(said.contains("put the old one back") && said.contains("`quorate member replace`"), "{said}");
    // Who reads it could claim to be the incarnation that is known.
    assert!(said.contains(&offered) && !said.contains(&known), "offered {offered}, known {known}: {said}");
    // It is ending by itself: until it has, a group may still be opened.
    wiped.stop().await;
    let refused = wiped.group("counter", Counter::default()).await.expect_err("it has ended");
    assert!(refused.to_string().contains(&said), "the reason, and not only that it ended: {refused}");
    assert_eq!(counts[0].propose(Add(1)).await?, 2, "the others go on");
    cluster.stop_all().await;
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

//! Founding: who takes part in a cluster, and from when on (`docs/safety.md` 14).

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter, Total};
use quorate::{Consistency, GroupHandle, Node, NodeBuilder, NodeFailure, Standing};
use quorate_server::{Listed, ServeOptions, serve};
use quorate_tests::cluster::{Cluster, free_ports, quick};
use quorate_tests::wait::{PATIENCE, eventually};

/// Waits until the replica says that it is founding and must reach these members.
async fn waits_for(handle: &GroupHandle<Counter>, members: &[&str]) -> Result<()> {
    eventually("it waits for the members that it has not reached", async || {
        let role = handle.status().await.role?;
        (role.standing == Standing::Founding && role.waits_for == members).then_some(())
    })
    .await
}

/// Two nodes wrote while the third had never been there; one of the two lost its disk, the other was down. The third and the
/// wiped one knew nothing of each other, elected a leader, and what was acknowledged was gone.
#[tokio::test]
async fn rule_14_a_wiped_node_and_one_that_was_never_there_do_not_elect_each_other() -> Result<()> {
    let mut cluster = Cluster::idle(3, quick())?;
    cluster.start_node(0).await?;
    cluster.start_node(1).await?;
    let first = cluster.group("counter", Counter::default).await?;
    waits_for(&first[0], &["node2"]).await?;
    let early = first[0].propose_by(Add(1), Duration::from_millis(900)).await.is_ok();
    assert!(!early, "nothing is acknowledged before every member was reached once");

    // node0 is wiped, node1 is down, and node2 is started for the first time.
    cluster.kill(0).await;
    cluster.kill(1).await;
    std::fs::remove_dir_all(cluster.data(0))?;
    cluster.start_node(0).await?;
    cluster.start_node(2).await?;
    let second = cluster.group("counter", Counter::default).await?;
    waits_for(&second[0], &["node1"]).await?;
    waits_for(&second[1], &["node1"]).await?;

    // node1 knows node0 by the disk that it lost. It refuses it, and goes on with node2 once node2 has been reached.
    let wiped = cluster.node(0).clone();
    cluster.start_node(1).await?;
    let failure = tokio::time::timeout(PATIENCE, wiped.failed()).await?.context("it stops")?;
    assert!(matches!(failure, NodeFailure::Replaced { .. }), "{failure}");
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_14_once_all_have_met_a_group_is_made_while_one_of_them_is_down() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    // Opened nowhere: the nodes meet all the same.
    eventually("every node has reached every other", async || {
        let links = cluster.nodes().flat_map(|(_, node)| node.links());
        let up = links.filter(|link| link.state == quorate_bridge::LinkState::Up).count();
        (up == 6).then_some(())
    })
    .await?;
    for at in 0..3 {
        cluster.stop(at).await;
    }
    cluster.start_node(0).await?;
    cluster.start_node(1).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose_by(Add(1), PATIENCE).await?.reply, 1);
    assert_eq!(counts[1].query(Total, Consistency::Linearizable).await?, 1);
    cluster.stop_all().await;
    Ok(())
}

/// A node that is told where to listen, and none of its peers.
fn without_list(cluster: &Cluster, at: usize) -> NodeBuilder {
    Node::builder(&format!("node{at}"), cluster.data(at))
        .listen(&format!("127.0.0.1:{}", cluster.port(at)))
        .config(quick())
}

async fn counters(nodes: &[Node]) -> Result<Vec<GroupHandle<Counter>>> {
    let mut counters = Vec::new();
    for node in nodes {
        counters.push(node.group("counter", Counter::default()).await?);
    }
    Ok(counters)
}

async fn stop_all(nodes: Vec<Node>) {
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn rule_14_a_founded_cluster_starts_without_the_list_or_with_another_one() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose_by(Add(1), PATIENCE).await?.reply, 1);
    for at in 0..3 {
        cluster.stop(at).await;
    }
    let mut nodes = Vec::new();
    for at in 0..3 {
        // As if the default port were another one.
        let builder = without_list(&cluster, at).listen("127.0.0.1:1").port_as_founded();
        nodes.push(builder.start().await?);
    }
    let counts = counters(&nodes).await?;
    assert_eq!(counts[2].propose_by(Add(1), PATIENCE).await?.reply, 2);
    stop_all(nodes).await;

    let mut nodes = Vec::new();
    for at in 0..3 {
        // Each is given a list in which one peer is missing and the other is elsewhere.
        let peer = format!("node{}", (at + 1) % 3);
        nodes.push(without_list(&cluster, at).peer(&peer, "127.0.0.1:1").start().await?);
    }
    let counts = counters(&nodes).await?;
    assert_eq!(counts[1].propose_by(Add(1), PATIENCE).await?.reply, 3);
    stop_all(nodes).await;
    cluster.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn rule_14_a_wrong_list_at_the_first_start_can_be_corrected() -> Result<()> {
    let mut cluster = Cluster::idle(3, quick())?;
    // node0 and node1 agree on a list that is wrong, and have met; node2 has the right one.
    let wrong = |at: usize, peer: usize| {
        without_list(&cluster, at)
            .peer(&format!("node{peer}"), &format!("127.0.0.1:{}", cluster.port(peer)))
            .peer("node9", "127.0.0.1:1")
    };
    let nodes = [wrong(0, 1).start().await?, wrong(1, 0).start().await?];
    let counts = counters(&nodes).await?;
    waits_for(&counts[0], &["node9"]).await?;
    cluster.start_node(2).await?;
    let refused = eventually("the two lists are shown", async || {
        let links = cluster.node(2).links().into_iter();
        links.filter_map(|link| link.last_error).find(|said| said.contains("wrong_cluster"))
    })
    .await?;
    let has_both = refused.contains("node2=") && refused.contains("node9=127.0.0.1:1");
    assert!(has_both && refused.contains("takes the corrected one"), "{refused}");
    stop_all(nodes.into()).await;

    cluster.start_node(0).await?;
    cluster.start_node(1).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose_by(Add(1), PATIENCE).await?.reply, 1);
    cluster.stop_all().await;
    Ok(())
}

/// One served node of a list, at a port of its own choice.
fn listed(directory: &std::path::Path, list: &[(&str, u16)], port: u16) -> ServeOptions {
    let entry = |(id, port): &(&str, u16)| Listed { id: (*id).into(), host: "127.0.0.1".into(), port: *port };
    ServeOptions {
        host: "127.0.0.1".into(),
        port,
        port_as_founded: true,
        cluster: list.iter().map(entry).collect(),
        config: quick(),
        ..ServeOptions::new("node0", directory.join("node0"))
    }
}

/// It was taken for no list at all: a wrong list could not be corrected to it, and it differed without a word.
#[tokio::test]
async fn rule_14_a_list_of_one_node_is_a_list() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let ports = free_ports(3)?;
    let wrong = [("node0", ports[0]), ("node1", ports[1]), ("node2", ports[2])];
    let waits = serve(listed(directory.path(), &wrong, ports[0])).await?;
    let status = waits.state().group().status().await;
    assert!(status.leader.is_none(), "it waits for the others: {status:?}");
    waits.shutdown(true).await;
    let alone = serve(listed(directory.path(), &wrong[..1], ports[0])).await?;
    eventually("the cluster of one is founded", async || {
        alone.state().group().status().await.leader.filter(|leader| leader == "node0")
    })
    .await?;
    alone.shutdown(true).await;
    Ok(())
}

/// It listened where a list said that founded nothing, and its peers dialled the port that the members have.
#[tokio::test]
async fn rule_14_a_founded_node_listens_where_the_members_know_it_whatever_the_list_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let ports = free_ports(2)?;
    for port in ports.iter().copied() {
        let node = serve(listed(directory.path(), &[("node0", port)], port)).await?;
        assert_eq!(node.raft_addr().port(), ports[0]);
        eventually("it leads", async || node.state().group().status().await.leader).await?;
        node.shutdown(true).await;
    }
    Ok(())
}

/// It listened at the port that it was given while its peers dialled another one: it could be reached by none of them, and called that
/// a cluster without a leader.
#[tokio::test]
async fn rule_14_a_founded_node_at_a_port_that_its_members_do_not_dial_is_refused_at_its_start() -> Result<()>
{
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    assert_eq!(counts[0].propose_by(Add(1), PATIENCE).await?.reply, 1);
    cluster.stop(2).await;
    let (known, other) = (cluster.port(2), free_ports(1)?[0]);
    let at = |port: u16| {
        let builder = Node::builder("node2", cluster.data(2)).config(quick());
        builder.listen(&format!("127.0.0.1:{port}"))
    };
    let peer = ("node0", format!("127.0.0.1:{}", cluster.port(0)));
    for builder in [at(other), at(other).peer(peer.0, &peer.1), at(other).advertise("127.0.0.1:1")] {
        let refused = builder.start().await.expect_err("no peer dials that port").to_string();
        let names_both = refused.contains(&format!("port {other}"))
            && refused.contains(&format!("dial 127.0.0.1:{known}"));
        assert!(names_both && refused.contains("leave the port out"), "{refused}");
    }
    // The same port, written otherwise.
    let builder = Node::builder("node2", cluster.data(2)).config(quick());
    let written = builder.listen(&format!("127.0.0.1:0{known}")).start().await?;
    written.stop().await;
    // What the refusal names: address translation leads from there to here. And no port at all.
    let translated = at(other).advertise(&format!("127.0.0.1:{known}")).start().await?;
    translated.stop().await;
    let node = at(other).port_as_founded().start().await?;
    assert_eq!(node.local_addr().map(|address| address.port()), Some(known));
    node.stop().await;
    cluster.stop_all().await;
    Ok(())
}

/// No peer dials it, and it has no other way to move.
#[tokio::test]
async fn rule_14_a_lone_node_may_listen_elsewhere() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for port in free_ports(2)? {
        let options = ServeOptions { port_as_founded: false, ..listed(directory.path(), &[], port) };
        let node = serve(options).await?;
        assert_eq!(node.raft_addr().port(), port);
        eventually("it leads", async || node.state().group().status().await.leader).await?;
        node.shutdown(true).await;
    }
    Ok(())
}

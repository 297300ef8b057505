//! The REST API of a cluster: forwarding, redirects, lost nodes and lost majorities, over sockets.

use anyhow::Result;
use quorate_server::http::{CallError, Method};
use quorate_server::{DevOptions, Ended, dev};
use quorate_tests::cluster::quick;
use quorate_tests::servers::{Answer, Call, Servers};
use quorate_tests::wait::eventually;
use serde_json::json;

#[tokio::test]
async fn every_node_takes_writes_and_reads_what_the_others_wrote() -> Result<()> {
    let servers = Servers::start(3).await?;
    for at in 0..3 {
        servers.put(at, &format!("/v1/kv/k{at}"), format!("by {at}")).await?.ok();
        for reader in 0..3 {
            let got = servers.get(reader, &format!("/v1/kv/k{at}")).await?;
            assert_eq!((got.status.as_u16(), got.body), (200, format!("by {at}").into_bytes()));
        }
        let sum = servers.post(at, "/v1/counters/c:add", &json!({"amount": 1})).await?.ok();
        assert_eq!(sum["value"], at + 1);
    }
    let stale = servers.get(0, "/v1/kv/k0?consistency=stale").await?;
    assert_eq!(stale.status.as_u16(), 200);
    servers.stop_all().await
}

#[tokio::test]
async fn a_follower_redirects_only_where_it_is_asked_to() -> Result<()> {
    let servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    let follower = (leader + 1) % 3;
    let path = "/v1/kv/a%2Fb?redirect=true";
    let answer = servers.put(follower, path, "v").await?;
    assert_eq!(answer.status.as_u16(), 307, "{answer:?}");
    let location = answer.header("location").to_owned();
    assert_eq!(location, servers.url(leader, path));
    Answer::of(Call::to(Method::PUT, &location)?.body("v")).await?.ok();
    assert_eq!(servers.get(follower, "/v1/kv/a%2Fb").await?.body, b"v");
    let read = servers.get(follower, path).await?;
    assert_eq!((read.status.as_u16(), read.header("location")), (307, location.as_str()));
    let command = servers.post(follower, "/command?redirect=true", &json!({"command": "SET x=1"})).await?;
    assert_eq!(command.status.as_u16(), 307);
    servers.post(leader, "/command?redirect=true", &json!({"command": "SET x=1"})).await?.ok();
    servers.stop_all().await
}

#[tokio::test]
async fn the_status_of_all_nodes_is_asked_of_one_and_a_dead_one_is_shown() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    servers.put(leader, "/v1/kv/k", "v").await?.ok();
    let (asked, lost) = ((leader + 1) % 3, (leader + 2) % 3);
    for path in ["/api/status", "/v1/status"] {
        eventually("all nodes are reachable and even", async || {
            let view = servers.get(asked, path).await.ok()?.ok();
            let nodes = view["nodes"].as_array()?.clone();
            let leaders = nodes.iter().filter(|node| node["role"] == "leader").count();
            let applied = nodes[leader]["applied_index"].as_u64()?;
            let even = nodes.iter().all(|node| {
                node["reachable"] == true && node["applied_index"] == applied && node["term"] == view["term"]
            });
            (nodes.len() == 3 && leaders == 1 && even && view["leader"] == nodes[leader]["id"]).then_some(())
        })
        .await?;
    }
    let members = servers.get(asked, "/v1/cluster").await?.ok()["members"].clone();
    for at in 0..3 {
        assert_eq!(members[at]["api"], servers.running(at).api_addr().to_string());
    }
    servers.kill(lost).await;
    // It answers at all: the client gives up after 30 s, and an unreachable node may not hold the page up.
    let view = servers.get(asked, "/api/status").await?.ok();
    let node = &view["nodes"][lost];
    assert_eq!((&node["reachable"], &node["role"]), (&json!(false), &json!(null)));
    assert!(node["error"].as_str().is_some_and(|error| !error.is_empty()), "{node}");
    servers.stop_all().await
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged_and_nothing_refused_that_may_happen() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    servers.put(leader, "/v1/kv/k", "before").await?.ok();
    for at in (0..3).filter(|at| *at != leader) {
        servers.kill(at).await;
    }
    // The leader does not know yet, and takes the command into its log: the deadline passes first.
    let cut = servers.put(leader, "/v1/kv/k?timeout_ms=100", "may yet happen").await?;
    let (status, code, outcome) = cut.problem();
    assert_eq!((status, code.as_str(), outcome.as_str()), (504, "unknown", "unknown"));
    assert_eq!(servers.get(leader, "/livez").await?.status.as_u16(), 200, "alive without a quorum");
    eventually("the leader gives up", async || {
        (servers.get(leader, "/readyz").await.ok()?.status.as_u16() == 503).then_some(())
    })
    .await?;
    let late = servers.put(leader, "/v1/kv/k?timeout_ms=300", "never taken").await?;
    assert_eq!(late.problem(), (503, "no_leader".to_owned(), "refused".to_owned()));
    assert_eq!(late.header("retry-after"), "1");
    let read = servers.get(leader, "/v1/kv/k?timeout_ms=300").await?;
    assert_eq!((read.problem().0, read.problem().2), (503, "refused".to_owned()));
    assert!(
        read.json()["detail"].to_string().contains("a read with consistency=stale is answered here"),
        "{read:?}"
    );
    assert!(!late.json()["detail"].to_string().contains("stale"), "a write: {late:?}");
    let stale = servers.get(leader, "/v1/kv/k?consistency=stale").await?;
    assert_eq!((stale.status.as_u16(), stale.body), (200, b"before".to_vec()));
    let redirect = servers.get(leader, "/v1/kv/k?redirect=true").await?;
    assert_eq!(redirect.problem().1, "no_leader");
    servers.stop_all().await
}

#[tokio::test]
async fn what_was_acknowledged_survives_its_leader_and_then_everything() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    for n in 0..20 {
        servers.post(n % 3, "/v1/counters/c:add", &json!({"amount": 1})).await?.ok();
    }
    servers.kill(leader).await;
    let other = (leader + 1) % 3;
    assert_eq!(servers.post(other, "/v1/counters/c:add", &json!({"amount": 1})).await?.ok()["value"], 21);
    servers.start_one(leader).await?;
    for at in 0..3 {
        assert_eq!(servers.get(at, "/v1/counters/c").await?.ok()["value"], 21);
    }
    for at in 0..3 {
        servers.kill(at).await;
    }
    for at in 0..3 {
        servers.start_one(at).await?;
    }
    assert_eq!(servers.get(leader, "/v1/counters/c").await?.ok()["value"], 21);
    eventually("every node is ready again", async || {
        for at in 0..3 {
            let ready = servers.get(at, "/readyz").await.ok()?.status.as_u16() == 200;
            ready.then_some(())?;
        }
        Some(())
    })
    .await?;
    servers.stop_all().await
}

/// A node that has not replayed its log knows nothing of its data, and must not say that there is none.
#[tokio::test]
async fn a_stale_read_waits_until_the_node_has_applied_what_it_knew_to_be_committed() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let index = servers.put(0, "/v1/kv/k", "v").await?.ok()["index"].as_u64().expect("index");
    let last = servers.post(0, "/v1/counters/c:add", &json!({"amount": 7})).await?.ok()["index"].as_u64();
    let stale = async |servers: &Servers, path: &str| {
        let separator = if path.contains('?') { '&' } else { '?' };
        servers.get(0, &format!("{path}{separator}consistency=stale&timeout_ms=200")).await
    };
    eventually("node0 has applied both", async || {
        let counter = stale(&servers, "/v1/counters/c").await.ok()?;
        (counter.header("quorate-applied-index").parse::<u64>().ok() >= last).then_some(())
    })
    .await?;
    servers.kill(1).await;
    servers.kill(2).await;
    let alone = stale(&servers, "/v1/kv/k").await?;
    assert_eq!((&*alone.body, alone.header("quorate-index")), (&b"v"[..], &*index.to_string()), "it runs on");
    servers.kill(0).await;

    servers.start_one(0).await?;
    let not_ready = (503, "not_ready".to_owned(), "refused".to_owned());
    let paths = ["/v1/kv/k", "/v1/kv/none", "/v1/kv", "/v1/kv?prefix=k", "/v1/counters/c", "/v1/counters"];
    for path in paths {
        assert_eq!(stale(&servers, path).await?.problem(), not_ready, "{path}");
    }
    let get = json!({"operation": "get", "key": "k"});
    let get_stale = servers.post(0, "/command?consistency=stale&timeout_ms=200", &get).await?;
    assert_eq!(get_stale.problem(), not_ready);
    // It was advised to ask with consistency=stale, which is refused as well.
    for read in [
        servers.get(0, "/v1/kv/k?timeout_ms=200").await?,
        servers.get(0, "/v1/kv?timeout_ms=200").await?,
        servers.post(0, "/command?timeout_ms=200", &get).await?,
    ] {
        assert_eq!(read.problem().1, "no_leader");
        let said = read.json()["detail"].to_string();
        assert!(said.contains("no read is answered here, not even with consistency=stale"), "{said}");
    }

    servers.start_one(1).await?;
    eventually("node0 has replayed, and said nothing else before", async || {
        let found = stale(&servers, "/v1/kv/k").await.expect("an answer");
        if found.status.as_u16() == 503 {
            assert_eq!(found.problem(), not_ready);
            return None;
        }
        assert_eq!(&*found.body, b"v");
        Some(())
    })
    .await?;
    for path in paths {
        let read = stale(&servers, path).await?;
        assert!(read.header("quorate-applied-index").parse::<u64>().ok() >= last, "{path}: {read:?}");
    }
    assert_eq!(stale(&servers, "/v1/counters/c").await?.ok()["value"], 7);
    assert_eq!(stale(&servers, "/v1/kv/none").await?.problem().1, "not_found");
    servers.stop_all().await
}

#[tokio::test]
async fn leadership_is_handed_over_by_whichever_node_is_asked() -> Result<()> {
    let servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    let follower = (leader + 1) % 3;
    let to = format!("node{follower}");
    let done = servers.post(follower, "/v1/leader:transfer", &json!({"to": to})).await?.ok();
    assert_eq!((&done["ok"], &done["leader"]), (&json!(true), &json!(to)));
    assert_eq!(servers.leader().await?, follower);
    let again = servers.post(follower, "/v1/leader:transfer", &json!({"to": to})).await?.ok();
    assert_eq!(again["leader"], json!(to), "it leads already");
    let unknown = servers.post(leader, "/v1/leader:transfer", &json!({"to": "node7"})).await?;
    assert_eq!(unknown.problem().1, "no_such_member");
    let anyone = Answer::of(servers.request(follower, Method::POST, "/v1/leader:transfer")).await?.ok();
    assert_ne!(anyone["leader"], json!(to));
    servers.stop_all().await
}

/// One client counts while its leader is told to end: what it was told must be what happened.
#[tokio::test]
async fn a_leader_that_ends_in_order_answers_what_waits_and_closes_its_port() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    let other = (leader + 1) % 3;
    let (running, url) = (servers.running(leader).clone(), servers.url(leader, "/v1/counters/c:add"));
    let counting = async {
        let (mut acknowledged, mut unknown) = (0_i64, 0_i64);
        loop {
            let add = Call::to(Method::POST, &url).expect("a URL").json(&json!({"amount": 1}));
            match Answer::of(add).await {
                Ok(answer) if answer.status.is_success() => acknowledged += 1,
                Ok(answer) => match answer.problem().2.as_str() {
                    "refused" => {}
                    "unknown" => unknown += 1,
                    other => panic!("{other}: {answer:?}"),
                },
                Err(error) => {
                    let error = error.downcast::<CallError>().expect("an error of the client");
                    match error {
                        // The port is closed: the node has stopped accepting.
                        CallError::Unreachable { .. } => return (acknowledged, unknown),
                        CallError::NotSent { .. } | CallError::Lost { .. } => unknown += 1,
                    }
                }
            }
        }
    };
    let ending = async {
        eventually("some were counted", async || {
            let value = servers.get(other, "/v1/counters/c").await.ok()?.ok()["value"].as_i64()?;
            (value > 20).then_some(())
        })
        .await?;
        running.shutdown(true).await;
        anyhow::Ok(())
    };
    let ((acknowledged, unknown), ended) = tokio::join!(counting, ending);
    ended?;
    assert_eq!(running.wait().await, Ended::Stopped);
    assert!(tokio::net::TcpStream::connect(running.api_addr()).await.is_err(), "the port is closed");
    let value = servers.get(other, "/v1/counters/c").await?.ok()["value"].as_i64().expect("a value");
    assert!((acknowledged..=acknowledged + unknown).contains(&value), "{acknowledged} + {unknown}: {value}");
    servers.stop(leader).await;
    servers.stop_all().await
}

#[tokio::test]
async fn dev_runs_a_whole_cluster_and_leaves_nothing_behind() -> Result<()> {
    let options = DevOptions { port: 0, api_port: 0, config: quick(), ..DevOptions::default() };
    let cluster = dev(options).await?;
    assert_eq!(cluster.nodes().len(), 3);
    let data_dir = cluster.data_dir().to_owned();
    assert!(data_dir.join("node2").exists());
    for node in cluster.nodes() {
        let url = format!("http://{}/v1/counters/c:add", node.api_addr());
        Answer::of(Call::to(Method::POST, &url)?.json(&json!({"amount": 1}))).await?.ok();
    }
    cluster.shutdown(true).await;
    assert_eq!(cluster.wait().await, Ended::Stopped);
    drop(cluster);
    assert!(!data_dir.exists());
    Ok(())
}

/// It said that it knew no leader, and its links were named as one more reason.
#[tokio::test]
async fn a_node_that_reaches_no_member_is_told_apart_from_one_without_a_leader() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let peers = async |servers: &Servers, sign: &str, words: &[&str]| {
        eventually("the check of peers", async || {
            let said = String::from_utf8(servers.get(0, "/readyz?verbose").await.ok()?.body).ok()?;
            let line = said.lines().find(|line| line.contains("] peers: "))?;
            (line.starts_with(sign) && words.iter().all(|word| line.contains(word))).then_some(())
        })
        .await
    };
    peers(&servers, "[+]", &["connected to node1, node2"]).await?;
    servers.kill(1).await;
    peers(&servers, "[+]", &["connected to node2; no link to node1 (127.0.0.1:", " is not connected for "])
        .await?;
    servers.kill(2).await;
    peers(&servers, "[-]", &["no other member is connected; no link to node1 (", "node2 (127.0.0.1:"])
        .await?;
    servers.stop_all().await
}

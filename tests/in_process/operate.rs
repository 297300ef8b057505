//! What an operator meets: probes, status and messages that say what is wrong and what to do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter, Total};
use quorate::{Acceptor, Consistency, Net, NetFuture, NodeId, ProposeError, QueryError, Stream, TokioNet};
use quorate_server::http::Method;
use quorate_server::{ApiOptions, ServeOptions, serve};
use quorate_tests::cluster::{Cluster, quick};
use quorate_tests::servers::{Answer, Call, Servers};
use quorate_tests::wait::{PATIENCE, eventually};
use serde_json::json;
use tokio::io::AsyncReadExt;

/// Every write was refused while the node called itself ready, and the refusal named no number.
#[tokio::test]
async fn rule_16_a_node_without_room_is_not_ready_and_says_how_much_is_missing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let served = async |id: &str, disk_reserve_bytes: u64| {
        let mut options = ServeOptions::new(id, directory.path().join(id));
        options.config = quick();
        options.config.node.disk_reserve_bytes = disk_reserve_bytes;
        serve(options).await
    };
    let roomy = served("roomy", 1).await?;
    // Never free: what is there already is more than a byte.
    let reserve = roomy.node().space().total_bytes - 1;
    roomy.shutdown(false).await;
    let full = served("full", reserve).await?;
    let call = |method, path: &str| Call::to(method, &format!("http://{}{path}", full.api_addr()));
    let command = json!({"operation": "set", "key": "k", "value": "v"});
    let refused = eventually("it leads", async || {
        let answer = Answer::of(call(Method::POST, "/command").ok()?.json(&command)).await.ok()?;
        (answer.problem().1 == "no_space").then_some(answer)
    });
    let refused = refused.await?;
    assert_eq!(refused.problem(), (503, "no_space".to_owned(), "refused".to_owned()));
    let said = refused.json()["detail"].to_string();
    assert!(
        said.contains("leader full has ") && said.contains(" must stay free there (disk_reserve_bytes"),
        "{said}"
    );
    let ready = Answer::of(call(Method::GET, "/readyz?verbose")?).await?;
    assert_eq!(ready.status.as_u16(), 503);
    let lines = String::from_utf8(ready.body)?;
    assert!(lines.contains("[-] disk: ") && lines.contains(" must stay free"), "{lines}");
    assert_eq!(Answer::of(call(Method::GET, "/livez")?).await?.status.as_u16(), 200);
    let status = Answer::of(call(Method::GET, "/v1/status")?).await?.ok();
    assert_eq!(status["nodes"][0]["disk_reserve_bytes"], reserve);
    assert!(status["nodes"][0]["disk_free_bytes"].as_u64() < Some(reserve), "{status}");
    full.shutdown(true).await;
    Ok(())
}

/// A balancer asks `/readyz` now and then: the port was closed before it could see that the node was about to end.
#[tokio::test]
async fn a_node_that_drains_is_not_ready_before_it_is_gone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = ServeOptions::new("node0", directory.path().join("node0"));
    options.api.drain_delay = Duration::from_secs(24 * 3_600);
    let node = serve(options).await?;
    let ready = || Call::to(Method::GET, &format!("http://{}/readyz", node.api_addr()));
    eventually("it is ready", async || {
        let status = Answer::of(ready().ok()?).await.ok()?.status.as_u16();
        (status == 200).then_some(())
    })
    .await?;
    let mut ending = tokio::task::JoinSet::new();
    let told = node.clone();
    ending.spawn(async move { told.shutdown(true).await });
    let said = eventually("it is not ready, and answers", async || {
        let answer = Answer::of(ready().ok()?).await.ok()?;
        (answer.status.as_u16() == 503).then_some(answer)
    })
    .await?;
    assert!(said.json()["detail"].to_string().contains("not_draining"), "{}", said.json());
    // At once, as a second signal does.
    node.shutdown(false).await;
    ending.join_all().await;
    Ok(())
}

/// Pools of clients keep connections for longer than a request may take to arrive, and found theirs closed.
#[tokio::test]
async fn an_idle_connection_is_kept_for_its_own_time() -> Result<()> {
    let hour = Duration::from_secs(3_600);
    let api =
        ApiOptions { read_timeout: hour, idle_timeout: Duration::from_millis(50), ..ApiOptions::default() };
    assert!(ApiOptions::default().idle_timeout >= Duration::from_secs(90));
    let servers = Servers::start_with(1, api).await?;
    let mut idle = tokio::net::TcpStream::connect(servers.running(0).api_addr()).await?;
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, idle.read_to_end(&mut rest))
        .await
        .context("it is kept for its read timeout")??;
    servers.stop_all().await
}

/// Reaches nothing, and blocks the thread that asks, until it is let go.
struct Hangs(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Net for Hangs {
    fn connect<'a>(&'a self, _address: &'a str) -> NetFuture<'a, Stream> {
        let _gone = self.0.lock().map(|until| until.recv());
        Box::pin(async { Err(io::Error::other("nothing is reached")) })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        Box::pin(async move { TokioNet::default().bind(address).await })
    }
}

/// The thread of a node's actors hung, and its status said that the replica was being restarted.
#[tokio::test]
async fn actors_whose_thread_hangs_are_silent_and_not_being_restarted() -> Result<()> {
    let (let_go, held) = std::sync::mpsc::channel();
    let cluster = Cluster::idle(2, quick())?;
    let net = Hangs(std::sync::Mutex::new(held));
    // Its actors dial the other node, which hangs, once it has been let go as often as it takes to open the group.
    let node = cluster.builder(0).net(Arc::new(net)).start().await?;
    let opening = node.group("counter", Counter::default());
    let letting_go = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let _gone = let_go.send(());
        }
    };
    let count = tokio::select! { count = opening => count?, () = letting_go => unreachable!("it goes on") };
    let status =
        eventually("its thread hangs", async || Some(count.status().await).filter(|status| status.silent))
            .await?;
    assert!(status.role.is_none(), "{status:?}");
    drop(let_go);
    eventually("it goes on", async || count.status().await.role).await?;
    node.stop().await;
    cluster.stop_all().await;
    Ok(())
}

/// Reaches every address but one.
struct CutFrom(String);

impl Net for CutFrom {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        if address == self.0 {
            return Box::pin(async { Err(io::Error::other("the way is cut")) });
        }
        Box::pin(async move { TokioNet::default().connect(address).await })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        Box::pin(async move { TokioNet::default().bind(address).await })
    }
}

/// Calls through such a node waited for their whole deadline, and were told that no leader was known.
#[tokio::test]
async fn a_follower_that_cannot_send_to_its_leader_names_it_and_what_fails() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let _total = eventually("the cluster is founded", async || counts[1].propose(Add(1)).await.ok()).await?;
    cluster.stop(1).await;
    let cut = CutFrom(format!("127.0.0.1:{}", cluster.port(0)));
    let deaf = cluster.builder(1).net(Arc::new(cut)).start().await?;
    let counts = [counts[0].clone(), counts[2].clone(), deaf.group("counter", Counter::default()).await?];
    let node0 = NodeId::new("node0")?;
    eventually("node0 leads, and all know it", async || {
        if counts.iter().all(|count| count.leader().as_ref() == Some(&node0)) {
            return Some(());
        }
        // node2 hears every leader. node1 cannot tell node0 to stand.
        let (of, to) = match counts[1].leader()?.as_str() {
            "node1" => (2, "node2"),
            _ => (1, "node0"),
        };
        let _moved = counts[of].transfer(NodeId::new(to).ok(), Duration::from_secs(2)).await;
        None
    })
    .await?;
    let soon = Duration::from_millis(300);
    let refused = counts[2].propose_by(Add(1), soon).await.expect_err("there is no way");
    assert!(
        matches!(&refused, ProposeError::LeaderUnreachable { leader, .. } if leader == "node0"),
        "{refused}"
    );
    assert!(refused.to_string().contains("the way is cut"), "{refused}");
    let unread = counts[2].query_by(Total, Consistency::Linearizable, soon).await.expect_err("the same");
    assert!(matches!(&unread, QueryError::LeaderUnreachable { leader, .. } if leader == "node0"), "{unread}");
    deaf.stop().await;
    cluster.stop_all().await;
    Ok(())
}

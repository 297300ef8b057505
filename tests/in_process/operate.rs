//! What an operator meets: probes, status and messages that say what is wrong and what to do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter, Total};
use quorate::{
    Acceptor, Consistency, Net, NetFuture, Node, NodeId, ProposeError, QueryError, Stream, TokioNet,
};
use quorate_server::http::Method;
use quorate_server::{ServeOptions, serve};
use quorate_tests::cluster::{Cluster, quick};
use quorate_tests::servers::{Answer, Call};
use quorate_tests::wait::eventually;
use serde_json::json;

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
    let mut cluster = Cluster::idle(3, quick())?;
    cluster.start_node(0).await?;
    cluster.start_node(2).await?;
    let cut = CutFrom(format!("127.0.0.1:{}", cluster.port(0)));
    let deaf = cluster.builder(1).net(Arc::new(cut)).start().await?;
    let mut counts = cluster.group("counter", Counter::default).await?;
    counts.push(deaf.group("counter", Counter::default()).await?);
    let node0 = NodeId::new("node0")?;
    eventually("node0 leads, and all know it", async || {
        if counts.iter().all(|count| count.leader().as_ref() == Some(&node0)) {
            return Some(());
        }
        let leader = cluster.leader(&counts).await.ok()?;
        let place = [0, 2, 1][leader];
        // node1 cannot tell node0 to stand.
        let to = if leader == 1 { NodeId::new("node2").ok()? } else { node0.clone() };
        let _moved = counts[place].transfer(Some(to), Duration::from_secs(2)).await;
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

/// Both twins were admitted by turns, so that links fell and rose, and nothing said why.
#[tokio::test]
async fn a_copied_data_directory_in_use_twice_is_named() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    let _total = eventually("a first write", async || counts[0].propose(Add(1)).await.ok()).await?;
    cluster.stop(2).await;
    let copy = tempfile::tempdir()?;
    copy_directory(&cluster.data(2), copy.path())?;
    let first = cluster.start_node(2).await?;
    eventually("it is linked", async || {
        let up = cluster.node(0).links().into_iter().find(|link| link.node == "node2")?.peer;
        (up?.boot == first.identity().boot.0).then_some(())
    })
    .await?;
    let mut twin = Node::builder("node2", copy.path()).config(quick());
    let address = |at: usize| format!("127.0.0.1:{}", cluster.port(at));
    twin = twin.listen("127.0.0.1:0").advertise(&address(2));
    for peer in [0, 1] {
        twin = twin.peer(&format!("node{peer}"), &address(peer));
    }
    let twin = twin.start().await?;
    assert_eq!(twin.identity().boot, first.identity().boot, "nothing else tells them apart");
    let said = eventually("it is refused", async || {
        let errors = twin.links().into_iter().filter_map(|link| link.last_error);
        errors.into_iter().find(|error| error.contains("stale_boot"))
    })
    .await?;
    assert!(said.contains("from another process") && said.contains("copies of one data directory"), "{said}");
    twin.stop().await;
    cluster.stop_all().await;
    Ok(())
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).context("the directory")? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

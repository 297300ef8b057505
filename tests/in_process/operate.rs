//! What an operator meets: probes, status and messages that say what is wrong and what to do.

use anyhow::Result;
use quorate_server::{ServeOptions, serve};
use quorate_tests::cluster::quick;
use quorate_tests::servers::Answer;
use quorate_tests::servers::Call;
use quorate_tests::wait::eventually;
use serde_json::json;

use quorate_server::http::Method;

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

//! Answers that are long: nothing is asked for one that has no room, and none is longer than its room.

use anyhow::{Context, Result};
use quorate_server::ApiOptions;
use quorate_server::http::{Method, StatusCode};
use quorate_tests::servers::{Answer, Servers};
use quorate_tests::wait::eventually;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The longest answer with a page that is stated, with what stands around its items.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// A byte that takes six of a JSON string.
const LONG: u8 = 1;

fn options(answers_bytes_max: usize) -> ApiOptions {
    let hour = std::time::Duration::from_secs(3_600);
    ApiOptions { answers_bytes_max, write_timeout: hour, ..ApiOptions::default() }
}

/// A client that asks for long pages, and reads none.
async fn stalled(servers: &Servers, at: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(servers.running(at).api_addr()).await?;
    let request = "GET /v1/kv?consistency=stale HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.repeat(20).as_bytes()).await?;
    Ok(stream)
}

/// A page was put together, and only then refused: 200 clients kept a put waiting for more than a minute. Here a page that is asked for
/// would wait for a majority.
#[tokio::test]
async fn no_page_is_read_without_room_for_its_answer() -> Result<()> {
    let mut servers = Servers::start_with(3, options(6 << 20)).await?;
    let leader = servers.leader().await?;
    for key in ["a", "b", "c", "d"] {
        servers.put(leader, &format!("/v1/kv/{key}"), vec![b'v'; 900_000]).await?.ok();
    }
    let full = stalled(&servers, leader).await?;
    eventually("another page has no room", async || {
        let page = servers.get(leader, "/v1/kv").await.ok()?;
        (page.status.as_u16() == 429).then_some(())
    })
    .await?;
    for at in (0..3).filter(|at| *at != leader) {
        servers.kill(at).await;
    }
    for path in ["/v1/kv?timeout_ms=2000", "/v1/counters?timeout_ms=2000"] {
        assert!(is_refused(&servers.get(leader, path).await?), "{path}");
    }
    assert!(is_refused(&servers.get(leader, "/v1/log").await?));
    assert_eq!(servers.get(leader, "/v1/kv/k?timeout_ms=200").await?.problem().0, 503, "it would be short");
    drop(full);
    servers.stop_all().await
}

/// The answer is not shown where it is another: it is long.
fn is_refused(answer: &Answer) -> bool {
    let (status, length) = (answer.status.as_u16(), answer.body.len());
    assert_eq!(status, 429, "{length} bytes: {}", String::from_utf8_lossy(&answer.body[..length.min(300)]));
    answer.problem() == (429, "busy".to_owned(), "refused".to_owned())
}

/// What is reserved for a page that is being put together is no reason to refuse another.
#[tokio::test]
async fn short_pages_at_once_are_all_answered() -> Result<()> {
    let servers = Servers::start_with(1, options(PAGE_BYTES_MAX)).await?;
    servers.put(0, "/v1/kv/k", vec![LONG; 20_000]).await?.ok();
    let mut asked = JoinSet::new();
    for path in ["/v1/kv", "/v1/log", "/v1/kv/k", "/v1/counters"].repeat(16) {
        asked.spawn(Answer::of(servers.request(0, Method::GET, path)));
    }
    while let Some(page) = asked.join_next().await {
        assert_eq!(page??.status, StatusCode::OK);
    }
    servers.stop_all().await
}

#[tokio::test]
async fn a_page_ends_where_its_room_does_and_the_next_one_goes_on() -> Result<()> {
    const VALUES: [usize; 9] = [300_000, 300_000, 300_000, 1_000_000, 300_000, 300_000, 300_000, 300_000, 1];
    let servers = Servers::start(1).await?;
    for (key, length) in VALUES.into_iter().enumerate() {
        servers.put(0, &format!("/v1/kv/{key}"), vec![LONG; length]).await?.ok();
    }
    let (mut path, mut found, mut pages) = ("/v1/kv".to_owned(), Vec::new(), 0);
    loop {
        let page = servers.get(0, &path).await?;
        let length = page.body.len();
        let page = page.ok();
        let items = page["items"].as_array().context("items")?;
        assert!(length <= PAGE_BYTES_MAX || items.len() == 1, "{} items, {length} bytes", items.len());
        found.extend(items.iter().filter_map(|item| item["value"].as_str().map(str::len)));
        pages += 1;
        let Some(cursor) = page["cursor"].as_str() else { break };
        path = format!("/v1/kv?cursor={cursor}");
    }
    assert_eq!((&found[..], pages), (&VALUES[..], 5), "the state machine gives all of them at once");
    let (mut from, mut sets) = (1, 0);
    loop {
        let page = servers.get(0, &format!("/v1/log?from={from}")).await?;
        let length = page.body.len();
        let page = page.ok();
        let entries = page["entries"].as_array().context("entries")?;
        assert!(length <= PAGE_BYTES_MAX || entries.len() == 1, "{} entries, {length} bytes", entries.len());
        sets += entries.iter().filter(|entry| entry["command"]["operation"] == "set").count();
        let last = entries.last().context("one at least")?["index"].as_u64().context("an index")?;
        let Some(next) = page["next"].as_u64() else { break };
        assert_eq!(next, last + 1);
        from = next;
    }
    assert_eq!(sets, VALUES.len());
    servers.stop_all().await
}

async fn cas(servers: &Servers, expected: &str, value: &str) -> Result<Answer> {
    servers.command(0, &json!({"operation": "cas", "key": "k", "expected": expected, "value": value})).await
}

/// The answer to a compare-and-set carries the value, six times as long at the most, and was outside the budget.
#[tokio::test]
async fn the_answers_of_compare_and_set_are_within_the_budget() -> Result<()> {
    let servers = Servers::start_with(1, options(1 << 20)).await?;
    let long = String::from_utf8(vec![LONG; 300_000])?;
    servers.put(0, "/v1/kv/k", "short").await?.ok();
    let swapped = cas(&servers, "short", &long).await?;
    assert!(is_refused(&swapped));
    assert_eq!(servers.get(0, "/v1/kv/k").await?.body, b"short", "it was not proposed");
    servers.put(0, "/v1/kv/k", long.clone()).await?.ok();
    let kept = cas(&servers, "other", "new").await?;
    assert!(is_refused(&kept));
    let get = servers.command(0, &json!({"operation": "get", "key": "k"})).await?;
    assert!(is_refused(&get));
    assert_eq!(servers.get(0, "/v1/kv/k").await?.body.len(), long.len(), "and was not changed");
    // With room they are as ever.
    let plain = "v".repeat(300_000);
    servers.put(0, "/v1/kv/k", plain.clone()).await?.ok();
    let kept = cas(&servers, "other", "new").await?.ok();
    assert_eq!((&kept["swapped"], kept["value"].as_str()), (&json!(false), Some(plain.as_str())));
    let swapped = cas(&servers, &plain, &plain).await?.ok();
    assert_eq!((&swapped["swapped"], swapped["value"].as_str()), (&json!(true), Some(plain.as_str())));
    servers.stop_all().await
}

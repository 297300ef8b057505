//! What clients that stall may hold in memory: bodies that do not end, and answers that are not taken.

use anyhow::{Context, Result};
use quorate_server::ApiOptions;
use quorate_server::http::{Method, StatusCode};
use quorate_tests::servers::{Answer, Call, Servers};
use quorate_tests::wait::{PATIENCE, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(servers: &Servers, request: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(servers.running(0).api_addr()).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test]
async fn bodies_under_way_have_a_budget_together() -> Result<()> {
    const BODY: usize = 700_000;
    let api = ApiOptions { bodies_bytes_max: 1 << 20, ..ApiOptions::default() };
    let servers = Servers::start_with(1, api).await?;
    let json = format!(r#"{{"operation":"set","key":"k","value":"{}"}}"#, "v".repeat(BODY));
    for (path, method) in [("/v1/kv/stalled", "PUT"), ("/command", "POST")] {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY}\r\n\r\n");
        let mut stalled = connect(&servers, &head).await?;
        stalled.write_all(&vec![b'x'; BODY - 1]).await?;
        eventually("another body has no room", async || {
            let put = servers.put(0, "/v1/kv/k", vec![b'v'; BODY]).await.ok()?;
            (put.status.as_u16() == 429).then(|| assert_eq!(put.problem().1, "busy"))
        })
        .await?;
        let command: serde_json::Value = serde_json::from_str(&json)?;
        assert_eq!(servers.command(0, &command).await?.problem().1, "busy", "{path}");
        servers.put(0, "/v1/kv/small", "there is room").await?.ok();
        drop(stalled);
        eventually("there is room again", async || {
            let put = servers.put(0, "/v1/kv/k", vec![b'v'; BODY]).await.ok()?;
            (put.status.as_u16() == 200).then_some(())
        })
        .await?;
    }
    servers.stop_all().await
}

#[tokio::test]
async fn answers_that_are_not_taken_have_a_budget_together() -> Result<()> {
    const VALUE: usize = 900_000;
    // More than the sockets' own buffers take.
    const REQUESTS: usize = 20;
    let api = ApiOptions { answers_bytes_max: 6 << 20, ..ApiOptions::default() };
    let servers = Servers::start_with(1, api).await?;
    for key in ["a", "b", "c", "d"] {
        servers.put(0, &format!("/v1/kv/{key}"), vec![b'v'; VALUE]).await?.ok();
    }
    for path in ["/v1/kv", "/v1/log"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let stalled = connect(&servers, &request.repeat(REQUESTS)).await?;
        eventually("another page has no room", async || {
            let page = servers.get(0, path).await.ok()?;
            (page.status.as_u16() == 429).then(|| assert_eq!(page.problem().1, "busy"))
        })
        .await?;
        assert_eq!(servers.get(0, "/readyz").await?.status.as_u16(), 200, "short answers are not counted");
        servers.put(0, "/v1/kv/written", "writes go on").await?.ok();
        drop(stalled);
        eventually("there is room again", async || {
            let page = servers.get(0, path).await.ok()?;
            (page.status.as_u16() == 200).then_some(())
        })
        .await?;
    }
    servers.stop_all().await
}

/// Requests that wait for their turn hold nothing; those that have it are few.
#[tokio::test]
async fn pages_are_put_together_a_few_at_a_time() -> Result<()> {
    let mut servers = Servers::start_with(3, ApiOptions { pages_max: 1, ..ApiOptions::default() }).await?;
    let leader = servers.leader().await?;
    for at in (0..3).filter(|at| *at != leader) {
        servers.kill(at).await;
    }
    // Without a majority a page has its place for as long as it may wait for a leader.
    let waiting = servers.get(leader, "/v1/kv?timeout_ms=30000");
    let meanwhile = async {
        eventually("another page finds no place", async || {
            let page = servers.get(leader, "/v1/counters?timeout_ms=200").await.ok()?;
            let (status, code, outcome) = page.problem();
            (code == "busy").then(|| assert_eq!((status, outcome.as_str()), (429, "refused")))
        })
        .await?;
        let one = servers.get(leader, "/v1/kv/k?timeout_ms=200").await?;
        assert_eq!(one.problem().0, 503, "a key is no page, and is asked for all the same");
        anyhow::Ok(())
    };
    tokio::select! {
        page = waiting => anyhow::bail!("it has its place: {page:?}"),
        checked = meanwhile => checked?,
    }
    servers.stop_all().await
}

#[tokio::test]
async fn a_client_that_closes_its_side_after_its_request_is_answered() -> Result<()> {
    let servers = Servers::start(1).await?;
    let put = "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nv";
    let mut stream = connect(&servers, put).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).with_context(|| format!("an answer: {answer:?}"))?;
    assert_eq!(status, "200", "{answer}");
    servers.stop_all().await
}

/// Idle connections of clients held all places for `idle_timeout`, and the probe of a healthy node was not accepted.
#[tokio::test]
async fn an_idle_connection_gives_its_place_to_a_new_one() -> Result<()> {
    let options = ApiOptions { connections_max: 3, ..ApiOptions::default() };
    let servers = Servers::start_with(1, options).await?;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&servers, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer).await?;
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
        idle.push(stream);
    }
    // One has begun a request that does not go on.
    idle[1].write_all(b"GET /livez HTTP/1.1\r\n").await?;
    for _ in 0..4 {
        let probe = Answer::of(Call::to(Method::GET, &servers.url(0, "/livez"))?).await?;
        assert_eq!(probe.status, StatusCode::OK);
    }
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, idle[0].read_to_end(&mut rest))
        .await?
        .context("it was closed in order")?;
    Ok(())
}

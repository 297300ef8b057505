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
        // Of two that arrive at the same time either may be the one without room.
        let stalled = eventually("another body has no room", async || {
            let mut stalled = connect(&servers, &head).await.ok()?;
            stalled.write_all(&vec![b'x'; BODY - 1]).await.ok()?;
            let put = servers.put(0, "/v1/kv/k", vec![b'v'; BODY]).await.ok()?;
            (put.status.as_u16() == 429).then(|| assert_eq!(put.problem().1, "busy"))?;
            Some(stalled)
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
        for local in ["/v1/kv?consistency=stale", "/v1/counters?consistency=stale", "/v1/log"] {
            let page = servers.get(leader, local).await?;
            assert_eq!(page.status, StatusCode::OK, "what this node knows waits for no majority: {local}");
        }
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

/// Idle connections of clients held all places for `idle_timeout`, and a new client was not accepted.
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
        let new = Answer::of(Call::to(Method::GET, &servers.url(0, "/v1/cluster"))?).await?;
        assert_eq!(new.status, StatusCode::OK);
    }
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, idle[0].read_to_end(&mut rest))
        .await?
        .context("it was closed in order")?;
    Ok(())
}

/// Sends a request and gives what came until the node closed the connection.
async fn ask(servers: &Servers, request: &str) -> Result<String> {
    let mut answer = String::new();
    let mut stream = connect(servers, request).await?;
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.context("an answer")??;
    Ok(answer)
}

/// All places are taken: a request whose body does not come is under way for as long as the test takes. Nothing but another connection
/// makes one without a place leave.
async fn servers_at_work() -> Result<(Servers, Vec<TcpStream>)> {
    const PLACES: usize = 3;
    let hour = std::time::Duration::from_secs(3_600);
    let options = ApiOptions {
        connections_max: PLACES,
        read_timeout: hour,
        call_timeout: hour,
        lobby_timeout: hour,
        ..ApiOptions::default()
    };
    let servers = Servers::start_with(1, options).await?;
    let mut at_work = Vec::new();
    for _ in 0..PLACES {
        // The first answer shows that it has its place.
        let mut stream = connect(&servers, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let count = stream.read(&mut [0; 1024]).await?;
        assert!(count > 0);
        stream.write_all(PUT.as_bytes()).await?;
        at_work.push(stream);
    }
    Ok((servers, at_work))
}

const PUT: &str = "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n";

/// Probes of all kinds are answered.
async fn probed(servers: &Servers) -> Result<()> {
    for probe in
        ["GET /livez", "GET /readyz", "HEAD /readyz", "GET /livez?verbose", "\r\nGET /readyz?verbose"]
    {
        let answer = ask(servers, &format!("{probe} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{probe}: {answer}");
        assert!(answer.contains("connection: close"), "a probe has no place to keep: {answer}");
    }
    Ok(())
}

/// Clients that work held all places, and no probe was accepted: a node that did its work was taken for a dead one.
#[tokio::test]
async fn probes_are_answered_while_clients_at_work_hold_all_places() -> Result<()> {
    let (servers, at_work) = servers_at_work().await?;
    probed(&servers).await?;
    // Others wait for a place: some have sent a request, some nothing, and some so little that it may become a probe.
    let mut waiting = Vec::new();
    for sent in ["GET /v1/kv/k HTTP/1.1\r\nhost: localhost\r\n\r\n", "", "GET /liv"].repeat(30) {
        waiting.push(connect(&servers, sent).await?);
        if waiting.len() % 30 == 0 {
            probed(&servers).await?;
        }
    }
    // No more than a few of them wait: the others are told so, and that nothing was done.
    let refused = ask(&servers, PUT).await?;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("\"code\":\"busy\""), "{refused}");
    assert!(refused.contains("\"outcome\":\"refused\"") && refused.contains("retry-after: "), "{refused}");
    probed(&servers).await?;
    // Places become free, and those that wait have them.
    drop(at_work);
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, waiting[0].read_exact(&mut answer)).await.context("it has a place")??;
    assert_eq!(&answer, b"HTTP/1.1 404", "its key has no value");
    Ok(())
}

/// Of these, 32 at a time were waited for, three seconds each: what had sent a byte gave way to none.
#[tokio::test]
async fn probes_are_answered_while_others_send_half_of_a_request() -> Result<()> {
    let (servers, at_work) = servers_at_work().await?;
    probed(&servers).await?;
    let mut begun = Vec::new();
    for sent in ["GET /livez ", "GET /readyz HTTP/1.1\r\nX: ", "X", "GET /v1/kv/k HTTP/1.1\r\nX: ", PUT] {
        for _ in 0..100 {
            begun.push(connect(&servers, sent).await?);
        }
        probed(&servers).await?;
    }
    // One that has sent the head of its request is still told why nothing is done.
    let refused = ask(&servers, PUT).await?;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    drop((begun, at_work));
    eventually("there are places again", async || {
        let answer = servers.get(0, "/v1/kv/k").await.ok()?;
        (answer.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await?;
    servers.stop_all().await
}

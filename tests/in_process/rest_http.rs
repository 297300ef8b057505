//! What is no valid HTTP, or a length that no one would send: answered at once, with a problem that says so.

use anyhow::{Context, Result};
use quorate_server::ApiOptions;
use quorate_tests::servers::Servers;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came for these bytes until the node closed the connection: heads and bodies.
async fn sent(servers: &Servers, request: &[u8]) -> Result<String> {
    let (mut from, mut to) = TcpStream::connect(servers.running(0).api_addr()).await?.into_split();
    let mut answer = String::new();
    // The node may stop reading before it has everything.
    let (_, read) = tokio::join!(to.write_all(request), from.read_to_string(&mut answer));
    read?;
    Ok(answer)
}

/// Status, code and outcome of the last answer, which must be a whole problem.
#[track_caller]
fn problem_of(answers: &str) -> (u16, String, String) {
    let begin = answers.rfind("HTTP/1.1 ").expect("an answer");
    let (head, body) = answers[begin..].split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head} {body}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["status"], status);
    let text = |field: &str| body[field].as_str().expect(field).to_owned();
    (status, text("code"), text("outcome"))
}

fn refused(status: u16, code: &str) -> (u16, String, String) {
    (status, code.to_owned(), "refused".to_owned())
}

#[tokio::test]
async fn what_is_no_http_is_told_so_in_a_problem() -> Result<()> {
    let servers = Servers::start(1).await?;
    let long = "k".repeat(70_000);
    let line = |n: usize| format!("h{n}: v\r\n");
    let many: String = (0..200).map(line).collect();
    for (request, status, code) in [
        ("no http at all\r\n\r\n".to_owned(), 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n".to_owned(), 400, "bad_request"),
        ("PUT /v1/kv/k HTTP/1.1\r\nhost: a\r\ncontent-length: many\r\n\r\n".to_owned(), 400, "bad_request"),
        (
            "PUT /v1/kv/k HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n".to_owned(),
            400,
            "bad_request",
        ),
        (
            "PUT /v1/kv/k HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nvv".to_owned(),
            400,
            "bad_request",
        ),
        (format!("GET /v1/kv/{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET /v1/kv/{long}{long}{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414, "uri_too_long"),
        (format!("\r\nGET /v1/kv/{long}{long}{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414, "uri_too_long"),
        // It has no path that could be too long.
        (format!("{long}{long}{long}"), 400, "bad_request"),
        (format!("\r\n{long}{long}{long}"), 400, "bad_request"),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431, "headers_too_large"),
        (format!("\r\nGET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431, "headers_too_large"),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}{long}{long}{long}\r\n\r\n"),
            431,
            "headers_too_large",
        ),
    ] {
        let answer = sent(&servers, request.as_bytes()).await?;
        let shown: String = request.chars().take(80).collect();
        assert_eq!(problem_of(&answer), refused(status, code), "{shown}");
        // Behind a request that was answered, too.
        let before = "PUT /v1/kv/good HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nv";
        let mut stream = TcpStream::connect(servers.running(0).api_addr()).await?;
        stream.write_all(before.as_bytes()).await?;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await?;
        assert_eq!(&first, b"HTTP/1.1 200");
        let (mut from, mut to) = stream.into_split();
        let mut rest = String::new();
        let (_, read) = tokio::join!(to.write_all(request.as_bytes()), from.read_to_string(&mut rest));
        read.with_context(|| shown.clone())?;
        assert_eq!(problem_of(&rest), refused(status, code), "{shown}");
    }
    // A client of HTTP/2 was disconnected without an answer.
    let answer = sent(&servers, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    assert_eq!(problem_of(&answer), refused(400, "bad_request"));
    // It was stored as it came, and read back encoded.
    let encoded = "PUT /v1/kv/k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n\
                   1\r\nv\r\n0\r\n\r\n";
    let answer = sent(&servers, encoded.as_bytes()).await?;
    assert_eq!(problem_of(&answer), refused(415, "unsupported_encoding"));
    assert_eq!(servers.get(0, "/v1/kv/k").await?.problem().1, "not_found");
    servers.stop_all().await
}

/// A value that looks like an answer of the HTTP parser is still a value.
#[tokio::test]
async fn a_value_is_never_taken_for_an_answer() -> Result<()> {
    let servers = Servers::start(1).await?;
    let value = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    servers.put(0, "/v1/kv/k", value).await?.ok();
    let get = "GET /v1/kv/k HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /v1/kv/k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answers = sent(&servers, format!("{}{last}", get.repeat(9)).as_bytes()).await?;
    assert_eq!(answers.matches(value).count(), 10, "{answers}");
    servers.stop_all().await
}

#[tokio::test]
async fn a_length_beyond_every_limit_is_refused_at_once() -> Result<()> {
    // A node that waited for the body would not answer within the test.
    let api = ApiOptions { read_timeout: std::time::Duration::from_secs(3_600), ..ApiOptions::default() };
    let servers = Servers::start_with(1, api).await?;
    for (method, path) in [
        ("PUT", "/v1/kv/k"),
        ("POST", "/command"),
        ("POST", "/v1/counters/c:add"),
        ("POST", "/v1/leader:transfer"),
    ] {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: 99999999999\r\n\r\n"
        );
        let answer = sent(&servers, head.as_bytes()).await?;
        assert_eq!(problem_of(&answer), refused(413, "too_large"), "{method} {path}");
    }
    servers.stop_all().await
}

//! What the REST API refuses over a socket, and what it says: headers, parameters and bodies that it does not take.

use anyhow::Result;
use quorate_server::ApiOptions;
use quorate_server::http::Method;
use quorate_tests::servers::{Answer, Servers, problem};
use serde_json::json;

/// A header that asks for something and is passed over is taken for done.
#[tokio::test]
async fn headers_that_a_call_does_not_understand_are_refused() -> Result<()> {
    let servers = Servers::start(1).await?;
    let set = json!({"operation": "set", "key": "k", "value": "v"}).to_string();
    let bad = problem(400, "bad_parameter", "refused");
    let (version, any, date) = ("\"1\"", "*", "Mon, 30 Nov 2026 10:00:00 GMT");
    let put: &[_] = &[
        &[("if-match", "\"1\", \"2\"")][..],
        &[("if-match", "\"1\""), ("if-match", "\"2\"")],
        &[("if-none-match", any), ("if-none-match", any)],
        &[("if-none-match", version)],
        &[("if-match", version), ("if-none-match", any)],
        &[("idempotency-key", "a/1"), ("idempotency-key", "a/1")],
        &[("quorate-timeout-ms", "900"), ("quorate-timeout-ms", "901")],
        &[("quorate-timeout-ms", "+900")],
        &[("content-range", "bytes 0-0/2")],
    ];
    let no_version: &[_] = &[
        &[("if-match", version)][..],
        &[("if-match", any)],
        &[("if-none-match", any)],
        &[("if-unmodified-since", date)],
    ];
    let of_dates: &[_] = &[&[("if-modified-since", date)][..], &[("if-range", version)]];
    let no_command: &[_] = &[&[("idempotency-key", "a/1")][..]];
    for (method, path, body, all) in [
        (Method::PUT, "/v1/kv/k", "v", put),
        (Method::DELETE, "/v1/kv/k", "", put),
        (Method::PUT, "/v1/kv/k", "v", &no_version[3..]),
        (Method::POST, "/command", &*set, no_version),
        (Method::POST, "/api/command", &*set, no_version),
        (Method::POST, "/v1/counters/c:add", r#"{"amount":1}"#, no_version),
        (Method::POST, "/v1/leader:transfer", "", no_version),
        (Method::POST, "/v1/leader:transfer", "", no_command),
        (Method::POST, "/v1/actors/node:stop", "", no_command),
        (Method::GET, "/v1/kv/k", "", of_dates),
        (Method::GET, "/v1/kv/k", "", &put[1..3]),
        (Method::GET, "/v1/kv", "", no_version),
        (Method::GET, "/v1/cluster", "", no_version),
    ] {
        for headers in all {
            let call = servers.request(0, method.clone(), path).header("content-type", "application/json");
            let call = headers.iter().fold(call, |call, (name, value)| call.header(name, *value));
            let answer = Answer::of(call.body(body.to_owned())).await?;
            assert_eq!(answer.problem(), bad, "{method} {path} {headers:?}");
        }
    }
    for (method, path) in [(Method::PUT, "/v1/kv/k"), (Method::POST, "/command")] {
        let call = servers.request(0, method.clone(), path).header("content-type", "application/json");
        let encoded = Answer::of(call.clone().header("content-encoding", "gzip").body(vec![31, 139])).await?;
        assert_eq!(encoded.problem(), problem(415, "unsupported_encoding", "refused"), "{method} {path}");
        assert_eq!(encoded.header("accept-encoding"), "identity");
    }
    assert_eq!(servers.get(0, "/v1/kv/k").await?.problem().1, "not_found", "nothing was written");
    assert_eq!(servers.get(0, "/v1/counters/c").await?.ok()["value"], 0);
    let plain = servers.request(0, Method::PUT, "/v1/kv/k").header("content-encoding", "identity");
    Answer::of(plain.body("v")).await?.ok();
    servers.stop_all().await
}

#[tokio::test]
async fn wrong_requests_are_refused_and_say_why() -> Result<()> {
    let servers = Servers::start_with(1, ApiOptions { actions: true, ..ApiOptions::default() }).await?;
    let long = "k".repeat(1_025);
    for (method, path, body, status, code) in [
        (Method::POST, "/command", "no json", 400, "malformed"),
        (Method::POST, "/command", "{}", 400, "malformed"),
        (
            Method::POST,
            "/command",
            r#"{"operation":"set","key":"k","value":"v","ttl_ms":1}"#,
            400,
            "malformed",
        ),
        (Method::POST, "/command", r#"{"operation":"cas","key":"k","value":"v"}"#, 400, "malformed"),
        (Method::POST, "/command", r#"{"operation":"set","key":"","value":"v"}"#, 400, "bad_key"),
        (
            Method::POST,
            "/command?consistency=stale",
            r#"{"operation":"delete","key":"k"}"#,
            400,
            "bad_parameter",
        ),
        (Method::POST, "/api/command", r#"{"command":"FLY x"}"#, 400, "malformed"),
        (Method::PUT, "/v1/kv/k?ttl_ms=5", "v", 400, "bad_parameter"),
        (Method::PUT, "/v1/kv/k?timeout_ms=0", "v", 400, "bad_parameter"),
        (Method::PUT, "/v1/kv/k?timeout_ms=soon", "v", 400, "bad_parameter"),
        (Method::PUT, &*format!("/v1/kv/{long}"), "v", 413, "too_large"),
        (Method::GET, "/v1/kv/k?consistency=lease", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv/k?consistency=strong", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv/k?max_staleness=5s", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv/%FF", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv?limit=-1", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv?limit=0", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv?limit=1001", "", 400, "bad_parameter"),
        (Method::GET, "/v1/counters?limit=1001", "", 400, "bad_parameter"),
        (Method::GET, "/v1/log?limit=0", "", 400, "bad_parameter"),
        (Method::GET, "/api/logs?limit=1001", "", 400, "bad_parameter"),
        (Method::GET, "/v1/kv?prefix=%FF", "", 400, "bad_parameter"),
        (Method::GET, "/v1/counters?cursor=%C3", "", 400, "bad_parameter"),
        (Method::GET, "/?x=1", "", 400, "bad_parameter"),
        (Method::GET, "/v1/cluster?x=1", "", 400, "bad_parameter"),
        (Method::GET, "/v1/actors?x=1", "", 400, "bad_parameter"),
        (Method::GET, "/openapi.json?x=1", "", 400, "bad_parameter"),
        (Method::POST, "/v1/actors/group%2Fmain:stop?x=1", "", 400, "bad_parameter"),
        (
            Method::POST,
            "/command",
            r#"{"operation":"set","key":"a","key":"b","value":"v"}"#,
            400,
            "malformed",
        ),
        (Method::POST, "/v1/counters/c:add", r#"{"amount":1.5}"#, 400, "malformed"),
        (Method::POST, "/v1/counters/c:add", "{}", 400, "malformed"),
        (Method::POST, "/v1/counters/c:add", "[1]", 400, "malformed"),
        (Method::POST, "/v1/leader:transfer", "[]", 400, "malformed"),
        (Method::POST, "/command", r#"{"operation":"get","key":""}"#, 400, "bad_key"),
        (Method::GET, &*format!("/v1/counters/{long}"), "", 413, "too_large"),
        (Method::POST, "/v1/counters/c:sub", "{}", 404, "no_such_path"),
        (Method::POST, "/v1/counters/:add", r#"{"amount":1}"#, 400, "bad_key"),
        (Method::POST, "/v1/actors/unknown:stop", "", 404, "no_such_actor"),
        (Method::POST, "/v1/leader:transfer", r#"{"to":"node7"}"#, 404, "no_such_member"),
        (Method::GET, "/v1/status?scope=world", "", 400, "bad_parameter"),
        (Method::GET, "/v1/txn", "", 404, "no_such_path"),
        (Method::GET, "/nothing", "", 404, "no_such_path"),
        (Method::GET, "/command", "", 405, "method_not_allowed"),
        (Method::PATCH, "/v1/kv/k", "", 405, "method_not_allowed"),
    ] {
        let shown = format!("{method} {path}");
        let request = servers.request(0, method, path).header("content-type", "application/json");
        let answer = Answer::of(request.body(body.to_owned())).await?;
        let (got_status, got_code, outcome) = answer.problem();
        assert_eq!((got_status, &*got_code, &*outcome), (status, code, "refused"), "{shown}");
        assert_eq!(status == 405, !answer.header("allow").is_empty(), "{shown}");
    }
    servers.stop_all().await
}

#[tokio::test]
async fn bodies_and_values_have_limits() -> Result<()> {
    let servers = Servers::start(1).await?;
    let too_large = problem(413, "too_large", "refused");
    servers.put(0, "/v1/kv/fits", vec![7; 1_000_000]).await?.ok();
    assert_eq!(servers.get(0, "/v1/kv/fits").await?.body.len(), 1_000_000);
    assert_eq!(servers.put(0, "/v1/kv/k", vec![7; (1 << 20) + 1]).await?.problem(), too_large);
    let value = "v".repeat((1 << 20) + 1);
    let set = servers.command(0, &json!({"operation": "set", "key": "k", "value": value})).await?;
    assert_eq!(set.problem(), too_large);
    // Each fits alone. The remedy is another one than for a single value.
    let half = "v".repeat(600_000);
    let cas = json!({"operation": "cas", "key": "k", "expected": half, "value": half});
    let both = servers.command(0, &cas).await?;
    assert_eq!(both.problem(), too_large);
    let detail = both.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("together") && detail.contains("If-Match"), "{detail}");
    let huge = "x".repeat(9 << 20);
    let answer = Answer::of(servers.request(0, Method::POST, "/command").body(huge)).await?;
    assert_eq!(answer.problem(), too_large);
    assert_eq!(servers.get(0, "/v1/kv/k").await?.problem().1, "not_found");
    servers.stop_all().await
}

/// A refusal before the body is read would reset the connection of a client that is still sending it.
#[tokio::test]
async fn a_command_is_read_before_its_parameters_are_refused() -> Result<()> {
    let servers = Servers::start(1).await?;
    let huge = "x".repeat(9 << 20);
    let (get, set) = (r#"{"command":"GET k"}"#, r#"{"command":"SET k=v"}"#);
    for parameter in ["consistency=strong", "timeout_ms=0"] {
        for (body, status, code) in [
            ("no json", 400, "malformed"),
            (&*huge, 413, "too_large"),
            (get, 400, "bad_parameter"),
            (set, 400, "bad_parameter"),
        ] {
            let path = format!("/command?{parameter}");
            let request = servers.request(0, Method::POST, &path).header("idempotency-key", "till/");
            let request = request.header("content-type", "application/json");
            let answer = Answer::of(request.body(body.to_owned())).await?;
            let shown: String = body.chars().take(30).collect();
            assert_eq!(answer.problem(), problem(status, code, "refused"), "{path}: {shown}");
        }
    }
    let request = servers.request(0, Method::POST, "/command").header("idempotency-key", "till/");
    assert_eq!(Answer::of(request.json(&json!({}))).await?.problem().1, "malformed");
    let unknown = servers.post(0, "/command?ttl_ms=5", &json!({})).await?;
    assert_eq!(unknown.problem().1, "bad_parameter", "an unknown parameter is refused first");
    assert_eq!(servers.get(0, "/v1/kv/k").await?.problem().1, "not_found");
    servers.stop_all().await
}

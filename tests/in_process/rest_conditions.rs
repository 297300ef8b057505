//! Conditions of the REST API over a socket: versions that a write or a read names.

use anyhow::Result;
use quorate_server::http::Method;
use quorate_tests::servers::{Answer, Servers, problem};
use serde_json::Value;

#[tokio::test]
async fn conditions_are_versions() -> Result<()> {
    let servers = Servers::start(1).await?;
    let put = async |name: &'static str, value: &str, body: &'static str| {
        Answer::of(servers.request(0, Method::PUT, "/v1/kv/k").header(name, value).body(body)).await
    };
    let first = put("if-none-match", "*", "one").await?.ok()["index"].as_u64().expect("index");
    let again = put("if-none-match", "*", "two").await?;
    assert_eq!(again.problem(), problem(412, "precondition_failed", "failed"));
    assert_eq!(again.json()["index"], first);
    let second =
        put("if-match", &format!("\"{first}\""), "two").await?.ok()["index"].as_u64().expect("index");
    assert!(second > first);
    let stale = put("if-match", &first.to_string(), "three").await?;
    assert_eq!(
        (stale.problem(), stale.json()["index"].as_u64()),
        (problem(412, "precondition_failed", "failed"), Some(second))
    );
    let delete = async |version: u64| {
        Answer::of(servers.request(0, Method::DELETE, "/v1/kv/k").header("if-match", version.to_string()))
            .await
    };
    assert_eq!(delete(first).await?.problem(), problem(412, "precondition_failed", "failed"));
    assert_eq!(delete(second).await?.ok()["deleted"], true);
    let gone = Answer::of(servers.request(0, Method::DELETE, "/v1/kv/k")).await?.ok();
    assert_eq!(gone["deleted"], false, "deleting what is not there is no error");
    servers.stop_all().await
}

/// `If-Match: *` on a write: the key must have a value, whichever it is (RFC 9110, section 13.1.1).
#[tokio::test]
async fn a_write_may_ask_that_there_is_a_value() -> Result<()> {
    let servers = Servers::start(1).await?;
    let write = async |method: Method, retry: &str| {
        let call = servers.request(0, method, "/v1/kv/k").header("if-match", "*");
        Answer::of(call.header("idempotency-key", retry).body("v")).await
    };
    let not_held = problem(412, "precondition_failed", "failed");
    let absent = write(Method::PUT, "a/1").await?;
    assert_eq!((absent.problem(), absent.json()["index"].is_null()), (not_held.clone(), true));
    assert_eq!(write(Method::DELETE, "a/2").await?.problem(), not_held);
    servers.put(0, "/v1/kv/k", "first").await?.ok();
    let second = write(Method::PUT, "a/3").await?.ok()["index"].as_u64();
    // Someone else writes before the retry: it is answered as the first time, and changes nothing.
    let third = servers.put(0, "/v1/kv/k", "third").await?.ok()["index"].as_u64();
    assert!(second < third);
    assert_eq!(write(Method::PUT, "a/3").await?.ok()["index"].as_u64(), second);
    assert_eq!(servers.get(0, "/v1/kv/k").await?.body, b"third");
    assert_eq!(write(Method::DELETE, "a/4").await?.ok()["deleted"], true);
    assert_eq!(write(Method::PUT, "a/5").await?.problem(), not_held);
    let log = servers.get(0, "/v1/log").await?.ok();
    let expected: Vec<_> = log["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["command"]["expected"].as_str())
        .collect();
    assert!(expected.iter().all(|expected| *expected == "any value") && !expected.is_empty(), "{log}");
    servers.stop_all().await
}

#[tokio::test]
async fn a_read_may_name_the_versions_a_client_has() -> Result<()> {
    let servers = Servers::start(1).await?;
    let version = servers.put(0, "/v1/kv/k", "v").await?.ok()["index"].to_string();
    let quoted = format!("\"{version}\"");
    let get = async |path: &str, name: &str, value: &str| {
        Answer::of(servers.request(0, Method::GET, path).header(name, value)).await
    };
    for known in
        [quoted.clone(), format!("W/{quoted}"), version.clone(), format!("\"1\", {quoted}"), "*".to_owned()]
    {
        let same = get("/v1/kv/k", "if-none-match", &known).await?;
        assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{known}");
        assert_eq!((same.header("etag"), same.header("quorate-index")), (&*quoted, &*version));
    }
    assert_eq!(get("/v1/kv/k", "if-none-match", "\"1\"").await?.body, b"v");
    assert_eq!(get("/v1/kv/none", "if-none-match", "*").await?.problem().1, "not_found");
    for held in [&*quoted, &*version, "*"] {
        assert_eq!(get("/v1/kv/k", "if-match", held).await?.body, b"v", "{held}");
    }
    let failed = problem(412, "precondition_failed", "failed");
    let other = get("/v1/kv/k", "if-match", "\"1\"").await?;
    assert_eq!((other.problem(), other.json()["index"].to_string()), (failed.clone(), version));
    let none = get("/v1/kv/none", "if-match", "*").await?;
    assert_eq!((none.problem(), none.json()["index"].clone()), (failed, Value::Null));
    servers.stop_all().await
}

//! Idempotency keys of the REST API over a socket: what is sent again is applied once.

use anyhow::Result;
use quorate_server::http::Method;
use quorate_tests::servers::{Answer, Servers, problem};
use serde_json::json;

#[tokio::test]
async fn a_retry_under_the_same_key_is_applied_once() -> Result<()> {
    let servers = Servers::start(1).await?;
    let add = async |key: &str| {
        let request = servers.request(0, Method::POST, "/v1/counters/c:add").header("idempotency-key", key);
        Answer::of(request.json(&json!({"amount": 1}))).await
    };
    let first = add("till-4/1").await?.ok();
    assert_eq!(add("till-4/1").await?.ok(), first, "the same answer, index included");
    assert_eq!(add("till-4/2").await?.ok()["value"], 2);
    assert_eq!(add("till-4/1").await?.problem(), problem(504, "stale_sequence", "unknown"));
    assert_eq!(add("till-5/1").await?.ok()["value"], 3);
    for uuid in ["8e03978e-40d5-43dd-bc93-6894a57f9324", "0e0ab1a2-1a2b-4c4d-8e8f-101112131415"] {
        let first = add(uuid).await?.ok();
        assert_eq!(add(uuid).await?.ok(), first, "{uuid}");
    }
    assert_eq!(servers.get(0, "/v1/counters/c").await?.ok()["value"], 5);
    for wrong in [
        "till-4/+8",
        "till-4/08",
        "till-4/-8",
        "till-4/",
        "/8",
        "till-4/18446744073709551615",
        &"k".repeat(256),
    ] {
        assert_eq!(add(wrong).await?.problem(), problem(400, "bad_parameter", "refused"), "{wrong}");
    }
    let two = servers.request(0, Method::POST, "/v1/counters/c:add").header("idempotency-key", "till-6/1");
    let two = two.header("idempotency-key", "till-6/2").json(&json!({"amount": 1}));
    assert_eq!(Answer::of(two).await?.problem(), problem(400, "bad_parameter", "refused"));
    assert_eq!(servers.get(0, "/v1/counters/c").await?.ok()["value"], 5);
    servers.stop_all().await
}

#[tokio::test]
async fn another_command_under_a_used_key_is_told_so_and_not_applied() -> Result<()> {
    let servers = Servers::start(1).await?;
    let call =
        |key: &str, method, path: &str| servers.request(0, method, path).header("idempotency-key", key);
    let mismatch = problem(409, "idempotency_mismatch", "failed");
    for key in ["till-4/1", "8e03978e-40d5-43dd-bc93-6894a57f9324"] {
        let path = format!("/v1/kv/{key}");
        let first = Answer::of(call(key, Method::PUT, &path).body("one")).await?.ok();
        let others = [
            call(key, Method::PUT, &path).body("two"),
            call(key, Method::PUT, "/v1/kv/other").body("one"),
            call(key, Method::PUT, &path).header("if-match", first["index"].to_string()).body("one"),
            call(key, Method::DELETE, &path),
            call(key, Method::POST, "/v1/counters/c:add").json(&json!({"amount": 1})),
            call(key, Method::POST, "/command").json(&json!({"operation": "set", "key": "k", "value": "v"})),
        ];
        for other in others {
            let shown = format!("{other:?}");
            assert_eq!(Answer::of(other).await?.problem(), mismatch, "{shown}");
        }
        assert_eq!(Answer::of(call(key, Method::PUT, &path).body("one")).await?.ok(), first);
        // The same command in other words is the same command.
        let words = json!({"operation": "set", "value": "one", "key": key});
        let again = Answer::of(call(key, Method::POST, "/command?timeout_ms=9000").json(&words)).await?.ok();
        assert_eq!(again["index"], first["index"]);
        assert_eq!(servers.get(0, &path).await?.body, b"one");
        for untouched in ["/v1/kv/other", "/v1/kv/k"] {
            assert_eq!(servers.get(0, untouched).await?.problem().1, "not_found");
        }
        assert_eq!(servers.get(0, "/v1/counters/c").await?.ok()["value"], 0);
    }
    servers.stop_all().await
}

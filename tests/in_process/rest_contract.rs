//! What the REST API answers over a socket: names, bodies, status codes, limits.

use anyhow::Result;
use quorate_server::ApiOptions;
use quorate_server::http::Method;
use quorate_tests::servers::{Answer, Servers};
use serde_json::{Value, json};

fn problem(status: u16, code: &str, outcome: &str) -> (u16, String, String) {
    (status, code.to_owned(), outcome.to_owned())
}

#[tokio::test]
async fn commands_take_both_forms_and_answer_as_documented() -> Result<()> {
    let servers = Servers::start(1).await?;
    let set = servers.command(0, &json!({"operation": "set", "key": "k", "value": "v"})).await?;
    let (index, term) = (set.ok()["index"].as_u64().expect("index"), set.json()["term"].clone());
    assert_eq!(set.json(), json!({"ok": true, "index": index, "term": term}));
    assert_eq!(
        (set.header("quorate-index"), set.header("quorate-term")),
        (&*index.to_string(), &*term.to_string())
    );
    let get = json!({"operation": "get", "key": "k"});
    assert_eq!(servers.command(0, &get).await?.ok(), json!({"ok": true, "value": "v"}));
    let cas = |expected: Value, value: &str| json!({"operation": "cas", "key": "k", "expected": expected, "value": value});
    let kept = servers.command(0, &cas(json!("x"), "w")).await?;
    assert_eq!(kept.ok(), json!({"ok": true, "swapped": false, "value": "v"}));
    let swapped = servers.command(0, &cas(json!("v"), "w")).await?;
    assert_eq!(swapped.ok(), json!({"ok": true, "swapped": true, "value": "w"}));
    let delete = json!({"operation": "delete", "key": "k"});
    assert_eq!(servers.command(0, &delete).await?.ok(), json!({"ok": true, "deleted": true}));
    assert_eq!(servers.command(0, &delete).await?.ok(), json!({"ok": true, "deleted": false}));
    assert_eq!(servers.command(0, &get).await?.ok(), json!({"ok": true, "value": null}));
    let absent = servers.command(0, &cas(Value::Null, "n")).await?;
    assert_eq!(absent.ok(), json!({"ok": true, "swapped": true, "value": "n"}));
    for path in ["/command", "/api/command"] {
        let set = servers.post(0, path, &json!({"command": "SET x=10"})).await?.ok();
        assert!(set["index"].as_u64() > Some(index) && set["ok"] == true, "{set}");
        let get = servers.post(0, path, &json!({"operation": "get", "key": "x"})).await?.ok();
        assert_eq!(get, json!({"ok": true, "value": "10"}));
        let deleted = servers.post(0, path, &json!({"command": "DELETE x"})).await?.ok();
        assert_eq!(deleted, json!({"ok": true, "deleted": true}));
    }
    servers.stop_all().await
}

#[tokio::test]
async fn keys_hold_raw_bytes_under_any_name() -> Result<()> {
    let servers = Servers::start(1).await?;
    let binary: Vec<u8> = (0..=255).collect();
    for (path, key) in [("/v1/kv/a/b%2Fc", "a/b/c"), ("/v1/kv/%C3%BC%20%3F", "ü ?"), ("/v1/kv/..%2F", "../")]
    {
        let put = servers.put(0, path, binary.clone()).await?;
        let index = put.ok()["index"].to_string();
        let got = servers.get(0, path).await?;
        assert_eq!((got.status.as_u16(), &got.body), (200, &binary), "{path}");
        assert_eq!(got.header("quorate-index"), index);
        assert_eq!(got.header("etag"), format!("\"{index}\""));
        assert_eq!(got.header("content-type"), "application/octet-stream");
        let listed =
            servers.get(0, &format!("/v1/kv?prefix={}", path.trim_start_matches("/v1/kv/"))).await?.ok();
        assert_eq!(listed["items"][0]["key"], key);
        assert_eq!(listed["items"][0]["encoding"], "base64");
        let sent_back = json!({"operation": "set", "key": "copy", "value": listed["items"][0]["value"], "encoding": "base64"});
        servers.command(0, &sent_back).await?.ok();
        assert_eq!(servers.get(0, "/v1/kv/copy").await?.body, binary);
        let text = servers.command(0, &json!({"operation": "get", "key": key})).await?.ok();
        assert_eq!((&text["encoding"], &text["value"]), (&json!("base64"), &listed["items"][0]["value"]));
    }
    assert_eq!(servers.get(0, "/v1/kv/none").await?.problem(), problem(404, "not_found", "failed"));
    let empty = servers.put(0, "/v1/kv/empty", "").await?;
    empty.ok();
    let empty = servers.get(0, "/v1/kv/empty").await?;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0), "empty is not absent");
    servers.stop_all().await
}

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
async fn lists_are_pages_in_order() -> Result<()> {
    let servers = Servers::start(1).await?;
    for n in 0..5 {
        servers.put(0, &format!("/v1/kv/p/{n}"), format!("v{n}")).await?.ok();
        servers.post(0, &format!("/v1/counters/p/{n}:add"), &json!({"amount": n})).await?.ok();
    }
    servers.put(0, "/v1/kv/q", "other").await?.ok();
    for (list, name) in [("/v1/kv", "key"), ("/v1/counters", "name")] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = servers.get(0, &format!("{list}?prefix=p/&limit=2{cursor}")).await?.ok();
            let items = page["items"].as_array().expect("items").clone();
            assert!((1..=2).contains(&items.len()));
            seen.extend(items.into_iter().map(|item| item[name].as_str().expect(name).to_owned()));
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, ["p/0", "p/1", "p/2", "p/3", "p/4"]);
    }
    assert_eq!(servers.get(0, "/v1/kv").await?.ok()["items"].as_array().map(Vec::len), Some(6));
    servers.stop_all().await
}

/// A cursor is sent back in a query string, and by people in a shell: it has no character that either would have to escape.
#[tokio::test]
async fn a_cursor_is_plain_whatever_the_keys_are() -> Result<()> {
    let servers = Servers::start(1).await?;
    let names = ["%00", "a%00b", "a%0Ab", "a'b%22", "a%20b&c=d%23", "c1.", "c1.YQ", "%E2%80%AEleft", "~"];
    for name in names {
        servers.put(0, &format!("/v1/kv/{name}"), "v").await?.ok();
        servers.post(0, &format!("/v1/counters/{name}:add"), &json!({"amount": 1})).await?.ok();
    }
    for (list, name) in [("/v1/kv", "key"), ("/v1/counters", "name")] {
        let all = servers.get(0, list).await?.ok()["items"].as_array().expect("items").clone();
        assert_eq!(all.len(), names.len());
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..=names.len() {
            let page = servers.get(0, &format!("{list}?limit=1{cursor}")).await?.ok();
            seen.extend(page["items"].as_array().expect("items").clone());
            let Some(next) = page["cursor"].as_str() else { break };
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(next.chars().all(is_plain), "{next:?}");
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, all, "each once");
        // What a build before this one gave as a cursor: the last name of the page.
        let after = all.iter().position(|item| item[name] == "a b&c=d#").expect("it is listed") + 1;
        let page = servers.get(0, &format!("{list}?cursor=a%20b%26c%3Dd%23")).await?.ok();
        assert_eq!(page["items"], json!(all[after..]));
        let wrong = servers.get(0, &format!("{list}?cursor=c1.Y!")).await?;
        assert_eq!(wrong.problem(), problem(400, "bad_parameter", "refused"));
    }
    servers.stop_all().await
}

#[tokio::test]
async fn counters_are_checked() -> Result<()> {
    let servers = Servers::start(1).await?;
    let add = async |amount: i64| servers.post(0, "/v1/counters/c:add", &json!({"amount": amount})).await;
    assert_eq!(servers.get(0, "/v1/counters/c").await?.ok(), json!({"ok": true, "value": 0, "index": 0}));
    let index = add(7).await?.ok()["index"].clone();
    assert_eq!(servers.get(0, "/v1/counters/c").await?.ok(), json!({"ok": true, "value": 7, "index": index}));
    assert_eq!(add(i64::MAX).await?.problem(), problem(409, "overflow", "failed"));
    assert_eq!(add(-8).await?.ok()["value"], -1);
    // A counter is no key.
    assert_eq!(servers.get(0, "/v1/kv/c").await?.problem().1, "not_found");
    let colon = servers.post(0, "/v1/counters/a%3Aadd:add", &json!({"amount": 1})).await?.ok();
    assert_eq!(colon["value"], 1);
    assert_eq!(servers.get(0, "/v1/counters/a:add").await?.ok()["value"], 1);
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

#[tokio::test]
async fn the_log_is_shown_with_its_commands() -> Result<()> {
    let servers = Servers::start(1).await?;
    for n in 0..5 {
        servers.put(0, "/v1/kv/k", format!("v{n}")).await?.ok();
    }
    let last = servers.post(0, "/v1/counters/c:add", &json!({"amount": 4})).await?.ok()["index"].as_u64();
    for path in ["/v1/log", "/api/logs"] {
        let page = servers.get(0, path).await?.ok();
        let entries = page["entries"].as_array().expect("entries").clone();
        assert_eq!(entries.first().map(|entry| entry["index"].clone()), Some(json!(1)));
        assert_eq!((page["last_index"].as_u64(), page["next"].clone()), (last, Value::Null));
        let kinds: Vec<_> = entries.iter().filter_map(|entry| entry["kind"].as_str()).collect();
        assert!(kinds.contains(&"noop"), "{kinds:?}");
        let newest = entries.last().expect("entries");
        assert_eq!(newest["command"], json!({"operation": "add", "key": "c", "amount": 4}));
        let before = &entries[entries.len() - 2];
        assert_eq!(before["command"], json!({"operation": "set", "key": "k", "value": "v4"}));
        assert!(before["time_ms"].as_u64() > Some(1_600_000_000_000) && before["bytes"].as_u64() > Some(0));
        assert_eq!(before["chain"].as_str().map(str::len), Some(16));
    }
    let two = servers.get(0, "/v1/log?from=2&limit=2").await?.ok();
    let indexes: Vec<_> =
        two["entries"].as_array().expect("entries").iter().map(|e| e["index"].as_u64()).collect();
    assert_eq!((indexes, two["next"].as_u64()), (vec![Some(2), Some(3)], Some(4)));
    assert_eq!(servers.get(0, "/v1/log?from=1000").await?.ok()["entries"], json!([]));
    assert_eq!(servers.get(0, "/v1/log?limit=1").await?.ok()["entries"][0]["index"].as_u64(), last);
    servers.stop_all().await
}

#[tokio::test]
async fn the_node_tells_of_itself() -> Result<()> {
    let servers = Servers::start_with(1, ApiOptions { actions: true, ..ApiOptions::default() }).await?;
    let cluster = servers.get(0, "/v1/cluster").await?.ok();
    assert_eq!(
        (&cluster["node"], &cluster["role"], &cluster["leader"]),
        (&json!("node0"), &json!("leader"), &json!("node0"))
    );
    let api = servers.running(0).api_addr().to_string();
    let raft = servers.running(0).raft_addr().to_string();
    assert_eq!(
        cluster["members"],
        json!([{"id": "node0", "raft": raft, "api": api, "voter": true, "leader": true}])
    );
    let status = quorate_tests::wait::eventually("everything in the log is committed", async || {
        let status = servers.get(0, "/v1/status").await.ok()?.ok();
        let node = &status["nodes"][0];
        (node["last_index"] == node["commit_index"]).then_some(status)
    });
    let status = status.await?;
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(1));
    let node = &status["nodes"][0];
    assert_eq!(
        (&node["id"], &node["role"], &node["reachable"]),
        (&json!("node0"), &json!("leader"), &json!(true))
    );
    let actors = servers.get(0, "/v1/actors").await?.ok();
    let names: Vec<_> =
        actors["actors"].as_array().expect("actors").iter().filter_map(|a| a["name"].as_str()).collect();
    assert!(names.contains(&"group/main"), "{names:?}");
    let stopped = servers.post(0, "/v1/actors/group%2Fmain:stop", &json!({})).await?.ok();
    assert_eq!(stopped, json!({"ok": true, "node": "node0", "actor": "group/main", "stopped": true}));
    let page = servers.get(0, "/").await?;
    let text = String::from_utf8(page.body.clone())?;
    assert!(text.contains("/openapi.json") && text.contains("node0"), "{text}");
    servers.put(0, "/v1/kv/after", "the group came back").await?.ok();
    servers.stop_all().await
}

#[tokio::test]
async fn health_is_checked_one_by_one() -> Result<()> {
    let servers = Servers::start(1).await?;
    servers.put(0, "/v1/kv/k", "v").await?.ok();
    let text = async |path: &str| {
        let answer = servers.get(0, path).await?;
        anyhow::Ok((answer.status.as_u16(), String::from_utf8(answer.body)?))
    };
    assert_eq!(text("/livez").await?, (200, "ok\n".to_owned()));
    assert_eq!(text("/readyz").await?, (200, "ok\n".to_owned()));
    assert_eq!(text("/livez?verbose").await?, (200, "[+] node: runs\n".to_owned()));
    let (status, lines) = text("/readyz?verbose").await?;
    assert_eq!(status, 200, "{lines}");
    for check in [
        "node: runs",
        "peers: there is no other member",
        "leader_known: node0",
        "replayed: applied",
        "machine: runs",
        "not_draining: takes work",
    ] {
        assert!(lines.contains(&format!("[+] {check}")), "{check}: {lines}");
    }
    servers.running(0).state().drain();
    let (status, lines) = text("/readyz?verbose").await?;
    assert!(status == 503 && lines.contains("[-] not_draining"), "{lines}");
    assert_eq!(servers.get(0, "/readyz").await?.problem(), problem(503, "not_ready", "refused"));
    assert_eq!(text("/livez").await?.0, 200, "a node that drains is alive");
    servers.stop_all().await
}

#[tokio::test]
async fn everything_that_is_described_is_answered() -> Result<()> {
    let servers = Servers::start(1).await?;
    let described = servers.get(0, "/openapi.json").await?.ok();
    let checked_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
    assert_eq!(described, serde_json::from_str::<Value>(&std::fs::read_to_string(checked_in)?)?);
    let paths = described["paths"].as_object().expect("paths");
    assert!(paths.len() >= 18, "{}", paths.len());
    for (path, item) in paths {
        for method in item.as_object().expect("methods").keys() {
            let path = path.replace("{key}", "k").replace("{name}", "n");
            let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
            let shown = format!("{method} {path}");
            let answer = Answer::of(servers.request(0, method, &path)).await?;
            let code = if answer.status.is_success() { String::new() } else { answer.problem().1 };
            assert!(!["no_such_path", "method_not_allowed"].contains(&&*code), "{shown}: {code}");
        }
    }
    servers.stop_all().await
}

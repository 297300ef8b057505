//! What each call of the REST API answers over a socket: names, bodies, status codes.

use std::time::Duration;

use anyhow::Result;
use quorate_server::ApiOptions;
use quorate_server::http::Method;
use quorate_tests::servers::{Answer, Servers, problem};
use serde_json::{Value, json};

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
    servers.running(0).state().drain(Duration::ZERO);
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

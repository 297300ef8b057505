//! What a web page can have a browser send to a node, and what it comes to: nothing changes.

use anyhow::{Context, Result};
use quorate_server::http::Method;
use quorate_server::{ApiOptions, DevOptions, dev};
use quorate_tests::cluster::quick;
use quorate_tests::servers::{Answer, Call, Servers};
use quorate_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn problem(status: u16, code: &str) -> (u16, String, String) {
    (status, code.to_owned(), "refused".to_owned())
}

/// Sends exactly these bytes; status and code of the answer, and its headers as they came.
async fn sent(servers: &Servers, request: &str) -> Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(servers.running(0).api_addr()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    Ok((status, body["code"].as_str().unwrap_or_default().to_owned(), head.to_ascii_lowercase()))
}

fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let lines = [headers, &[""]].concat().join("\r\n");
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\n{lines}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_web_page_of_another_origin_changes_nothing() -> Result<()> {
    let servers = Servers::start_with(1, ApiOptions { actions: true, ..ApiOptions::default() }).await?;
    let own = format!("http://{}", servers.running(0).api_addr());
    let set = r#"{"operation":"set","key":"k","value":"v"}"#;
    let calls = [
        (Method::POST, "/command", set),
        (Method::POST, "/api/command", set),
        (Method::PUT, "/v1/kv/k", "v"),
        (Method::DELETE, "/v1/kv/k", ""),
        (Method::POST, "/v1/counters/k:add", r#"{"amount":1}"#),
        (Method::POST, "/v1/leader:transfer", ""),
        (Method::POST, "/v1/actors/group%2Fmain:stop", ""),
        (Method::POST, "/v1/node:drain", r#"{"force":true}"#),
        (Method::POST, "/nothing", ""),
    ];
    for origin in ["http://evil.example", "http://localhost:3000", "null"] {
        for (method, path, body) in &calls {
            let call = servers.request(0, method.clone(), path).header("origin", origin);
            let call = call.header("content-type", "application/json").body(*body);
            let answer = Answer::of(call).await?;
            assert_eq!(answer.problem(), problem(403, "foreign_origin"), "{method} {path} from {origin}");
        }
        let read = Answer::of(servers.request(0, Method::GET, "/v1/log").header("origin", origin)).await?;
        let allowed = read.headers.keys().any(|name| name.as_str().starts_with("access-control"));
        assert!(!allowed, "a page may not read the answer: {read:?}");
        let log = read.ok();
        let entries = log["entries"].as_array().context("entries")?;
        assert!(entries.iter().all(|entry| entry["kind"] != "command"), "nothing entered the log: {log}");
    }
    for (method, path, body) in calls.iter().take(5) {
        let call = servers.request(0, method.clone(), path).header("origin", own.as_str());
        Answer::of(call.header("content-type", "application/json").body(*body)).await?.ok();
    }
    servers.stop_all().await
}

#[tokio::test]
async fn a_page_whose_name_was_resolved_to_this_node_changes_nothing() -> Result<()> {
    let api = ApiOptions { allowed_hosts: vec!["lb.example".to_owned()], ..ApiOptions::default() };
    let servers = Servers::start_with(1, api).await?;
    let address = servers.running(0).api_addr();
    let put = async |headers: &[&str]| {
        let (status, code, _) = sent(&servers, &request("PUT", "/v1/kv/k", headers, "v")).await?;
        anyhow::Ok((status, code))
    };
    let refused = (421, "unknown_host".to_owned());
    assert_eq!(put(&["host: evil.example:8000", "origin: http://evil.example:8000"]).await?, refused);
    assert_eq!(put(&["host: evil.example:8000"]).await?, refused);
    let page = ["host: evil.example:8000", "origin: http://evil.example:8000"];
    let (status, code, _) = sent(&servers, &request("GET", "/v1/kv", &page, "")).await?;
    assert_eq!((status, code), refused, "a page may not read either, where it says that it is one");
    let twice = put(&["host: localhost", "host: evil.example"]).await?;
    assert_eq!(twice, (400, "bad_parameter".to_owned()));
    assert_eq!(servers.get(0, "/v1/kv/k").await?.problem().1, "not_found", "nothing was written");

    let ok = (200, String::new());
    assert_eq!(put(&[&format!("host: {address}")]).await?, ok);
    assert_eq!(put(&[&format!("host: localhost:{}", address.port())]).await?, ok);
    // Behind a load balancer: its name as it was dialled, or this node's address and the page's name.
    assert_eq!(put(&["host: lb.example"]).await?, ok);
    assert_eq!(put(&["host: lb.example", "origin: https://lb.example"]).await?, ok);
    assert_eq!(put(&[&format!("host: {address}"), "origin: https://lb.example"]).await?, ok);
    // Ready is a node once its role has heard that everything is applied, which may come after the answer to a write.
    eventually("a prober may call a node as it likes", async || {
        let probed = sent(&servers, &request("GET", "/readyz", &["host: any.example"], "")).await;
        (probed.ok()?.0 == 200).then_some(())
    })
    .await?;
    servers.stop_all().await
}

/// A refusal before the body is read would reset the connection of a client that is still sending it.
#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_sends_a_large_body() -> Result<()> {
    let servers = Servers::start(1).await?;
    let call = servers.request(0, Method::PUT, "/v1/kv/k").header("origin", "http://evil.example");
    let answer = Answer::of(call.body(vec![7; 9 << 20])).await?;
    assert_eq!(answer.problem(), problem(403, "foreign_origin"));
    servers.stop_all().await
}

/// A page can have a browser send a form or plain text to any origin without asking.
#[tokio::test]
async fn what_should_be_json_is_declared_as_json() -> Result<()> {
    let servers = Servers::start(1).await?;
    let set = r#"{"operation":"set","key":"k","value":"v"}"#;
    let calls = [
        ("/command", set),
        ("/api/command", set),
        ("/v1/counters/c:add", r#"{"amount":1}"#),
        ("/v1/leader:transfer", r#"{"to":"node0"}"#),
    ];
    for (path, body) in calls {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", ""] {
            let call = servers.request(0, Method::POST, path);
            let call = if kind.is_empty() { call } else { call.header("content-type", kind) };
            let answer = Answer::of(call.body(body)).await?;
            assert_eq!(answer.problem(), problem(415, "unsupported_media_type"), "{path} {kind:?}");
        }
    }
    assert_eq!(servers.get(0, "/v1/kv/k").await?.problem().1, "not_found");
    for (path, body) in calls {
        let call =
            servers.request(0, Method::POST, path).header("content-type", "Application/JSON; charset=utf-8");
        Answer::of(call.body(body)).await?.ok();
    }
    servers.stop_all().await
}

#[tokio::test]
async fn actors_are_stopped_only_where_that_is_switched_on() -> Result<()> {
    let servers = Servers::start(1).await?;
    for actor in ["group%2Fmain", "node", "unknown"] {
        let stopped = servers.post(0, &format!("/v1/actors/{actor}:stop"), &json!({})).await?;
        assert_eq!(stopped.problem(), problem(403, "actions_off"), "{actor}");
    }
    servers.stop_all().await?;
    let options = DevOptions { nodes: 1, port: 0, api_port: 0, config: quick(), ..DevOptions::default() };
    let cluster = dev(options).await?;
    let url = format!("http://{}/v1/actors/group%2Fmain:stop", cluster.nodes()[0].api_addr());
    let stopped = Answer::of(Call::to(Method::POST, &url)?.json(&json!({}))).await?.ok();
    assert_eq!(stopped["stopped"], true);
    cluster.shutdown(true).await;
    Ok(())
}

/// There are no users, so what reaches the API must not be able to end one node after the other.
#[tokio::test]
async fn a_node_is_drained_from_its_own_machine_alone() -> Result<()> {
    let mut servers = Servers::start(3).await?;
    let leader = servers.leader().await?;
    for proxied in ["forwarded", "via", "x-forwarded-for", "x-real-ip"] {
        let call = servers.request(leader, Method::POST, "/v1/node:drain").header(proxied, "192.0.2.1");
        assert_eq!(Answer::of(call).await?.problem(), problem(403, "not_local"), "{proxied}");
    }
    for wrong in [r#"{"delay_ms":86400001}"#, r#"{"delay_ms":-1}"#, r#"{"delay":1}"#, "[]"] {
        let call = servers.request(leader, Method::POST, "/v1/node:drain");
        let answer = Answer::of(call.header("content-type", "application/json").body(wrong)).await?;
        assert_eq!(answer.problem(), problem(400, "malformed"), "{wrong}");
    }
    let call = servers.request(leader, Method::POST, "/v1/node:drain?redirect=true");
    assert_eq!(Answer::of(call).await?.problem(), problem(400, "bad_parameter"), "no other node is drained");
    assert_eq!(servers.leader().await?, leader, "nothing has changed");

    let running = servers.running(leader).clone();
    let answer = servers.post(leader, "/v1/node:drain", &json!({})).await?.ok();
    assert_eq!((&answer["node"], &answer["ends_in_ms"]), (&json!(format!("node{leader}")), &json!(0)));
    assert_ne!(answer["leader"], answer["node"], "it has handed over: {answer}");
    assert_eq!(running.wait().await, quorate_server::Ended::Stopped);
    servers.kill(leader).await;
    let (gone, leader) = (leader, servers.leader().await?);
    eventually("its leader knows that it is gone", async || {
        let members = servers.get(leader, "/v1/members").await.ok()?.json();
        (members["members"][gone]["connected"] == false).then_some(())
    })
    .await?;
    let refused = servers.post(leader, "/v1/node:drain", &json!({})).await?;
    assert_eq!(refused.problem(), problem(409, "no_quorum"));
    servers.stop_all().await?;

    let open = Servers::start_with(1, ApiOptions { actions: true, ..ApiOptions::default() }).await?;
    let call = open.request(0, Method::POST, "/v1/node:drain").header("via", "1.1 proxy");
    assert_eq!(Answer::of(call.clone()).await?.problem(), problem(409, "no_quorum"), "it is let in");
    Answer::of(call.json(&json!({"force": true}))).await?.ok();
    assert_eq!(open.running(0).wait().await, quorate_server::Ended::Stopped);
    Ok(())
}

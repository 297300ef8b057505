//! Lists of the REST API over a socket: pages, and the cursors between them.

use anyhow::Result;
use quorate_tests::servers::{Servers, problem};
use serde_json::json;

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
            assert!(seen.len() <= 5, "a page comes twice: {seen:?}");
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

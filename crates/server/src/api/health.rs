//! `/livez` and `/readyz`: is the process worth keeping, may it be sent work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quorate::{ByteCount, GroupStatus, LinkState, LinkStatus};

use super::code::Code;
use super::problem::{Problem, Problems};
use super::state::AppState;

/// The query string of a check. Anything may stand in it, so that no prober is turned away.
type AnyQuery = Query<BTreeMap<String, String>>;

struct Check {
    name: &'static str,
    passed: bool,
    detail: String,
}

/// Whether the node runs. It never asks for a quorum: a node without one is not to be restarted.
#[utoipa::path(
    get, path = "/livez", tag = "node",
    params(("verbose" = Option<String>, Query, description = "Lists each check")),
    responses((status = 200, description = "`ok`, or a line for each check", body = String, content_type = "text/plain"),
        (status = 503, description = "The node has failed or stopped"), Problems)
)]
pub(crate) async fn livez(State(state): State<AppState>, query: AnyQuery) -> Response {
    answer(&query, &[runs(&state).await])
}

/// Whether the node takes work: a leader is known, what was in the log is applied, and it is not about to end.
#[utoipa::path(
    get, path = "/readyz", tag = "node",
    params(("verbose" = Option<String>, Query, description = "Lists each check")),
    responses((status = 200, description = "`ok`, or a line for each check", body = String, content_type = "text/plain"),
        (status = 503, description = "At least one check fails"), Problems)
)]
pub(crate) async fn readyz(State(state): State<AppState>, query: AnyQuery) -> Response {
    let status = state.group().status().await;
    let replayed = state.is_replayed(&status).await;
    let fault = status.fault_here.or(status.faulted);
    let checks = [
        runs(&state).await,
        leader(&status, &state.node().links()),
        Check {
            name: "replayed",
            passed: replayed,
            detail: status.role.as_ref().map_or_else(
                || "the replica is being restarted".to_owned(),
                |role| format!("applied {} of {}", role.applied, role.commit),
            ),
        },
        Check {
            name: "machine",
            passed: fault.is_none() && status.halted.is_none(),
            detail: match (fault, status.halted) {
                (_, Some(why)) => why,
                (Some(index), None) => format!("faulted at index {index}"),
                (None, None) => "runs".to_owned(),
            },
        },
        room(&state),
        Check {
            name: "not_draining",
            passed: !state.is_draining(),
            detail: if state.is_draining() { "the node is about to end".into() } else { "takes work".into() },
        },
    ];
    answer(&query, &checks)
}

/// A node that hears a leader and cannot send to it would keep each request until its deadline, and then refuse it.
fn leader(status: &GroupStatus, links: &[LinkStatus]) -> Check {
    let why_down = |id: &str| {
        let link = links.iter().find(|link| link.node == id);
        match link {
            Some(link) if link.state == LinkState::Up => None,
            link => Some(link.and_then(|link| link.last_error.as_deref()).unwrap_or("still connecting")),
        }
    };
    let (passed, detail) = match status.leader.as_deref() {
        Some(leader) if leader == status.node => (true, leader.to_owned()),
        Some(leader) => match why_down(leader) {
            None => (true, leader.to_owned()),
            Some(why) => (false, format!("{leader} leads, and nothing can be sent to it: {why}")),
        },
        None => {
            let cut = |link: &LinkStatus| Some(format!("{} ({})", link.node, why_down(&link.node)?));
            let cut: Vec<String> = links.iter().filter_map(cut).collect();
            let cut = if cut.is_empty() { String::new() } else { format!("; no link to {}", cut.join(", ")) };
            (false, format!("{}{cut}", no_leader(status)))
        }
    };
    Check { name: "leader_known", passed, detail }
}

/// While its disk is below its reserve a node takes no entry: as a leader it refuses writes, and it cannot help another to commit
/// them. It still answers reads to who asks it.
fn room(state: &AppState) -> Check {
    let space = state.node().space();
    let (free, reserve) = (ByteCount(space.free_bytes), ByteCount(space.reserve_bytes));
    let detail = format!("{free} of the disk is free, {reserve} must stay free");
    Check { name: "disk", passed: !state.node().is_disk_full(), detail }
}

/// A cluster that was never complete has no leader, and says whom it waits for.
fn no_leader(status: &GroupStatus) -> String {
    let waits_for = status.role.as_ref().map(|role| role.waits_for.join(", ")).unwrap_or_default();
    if waits_for.is_empty() {
        return "none".to_owned();
    }
    format!("none, the cluster is founded when every member was reached once, and waits for {waits_for}")
}

async fn runs(state: &AppState) -> Check {
    // `failed` resolves only once the node has ended.
    let ended = tokio::time::timeout(Duration::ZERO, state.node().failed()).await.ok();
    let detail = match &ended {
        None => "runs".to_owned(),
        Some(None) => "stopped".to_owned(),
        Some(Some(failure)) => failure.to_string(),
    };
    Check { name: "node", passed: ended.is_none(), detail }
}

fn answer(query: &AnyQuery, checks: &[Check]) -> Response {
    let passed = checks.iter().all(|check| check.passed);
    if query.contains_key("verbose") {
        let mut text = String::new();
        for Check { name, passed, detail } in checks {
            let sign = if *passed { '+' } else { '-' };
            writeln!(text, "[{sign}] {name}: {detail}").expect("writing to a string does not fail");
        }
        let status = if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return (status, text).into_response();
    }
    if passed {
        return "ok\n".into_response();
    }
    let failed = checks.iter().filter(|check| !check.passed);
    let detail: Vec<String> = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    Problem::new(Code::NotReady, detail.join("; ")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node says that has a peer where no one listens.
    async fn alone() -> (GroupStatus, Vec<LinkStatus>) {
        let directory = tempfile::tempdir().expect("a directory");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent = taken.local_addr().expect("bound").to_string();
        drop(taken);
        let node = quorate::Node::builder("node0", directory.path()).listen("127.0.0.1:0");
        let node = node.peer("node1", &silent).start().await.expect("it starts");
        let group = node.group("main", crate::machine::Store::default()).await.expect("it opens");
        let links = loop {
            let links = node.links();
            if links.iter().any(|link| link.last_error.is_some()) {
                break links;
            }
            tokio::task::yield_now().await;
        };
        let status = group.status().await;
        node.stop().await;
        (status, links)
    }

    #[tokio::test]
    async fn a_node_that_cannot_send_to_its_leader_is_not_ready() {
        let (said, links) = alone().await;
        let status = |leader: Option<&str>| GroupStatus { leader: leader.map(str::to_owned), ..said.clone() };
        let check = leader(&status(Some("node1")), &links);
        assert!(
            !check.passed && check.detail.contains("node1 leads, and nothing can be sent to it"),
            "{}",
            check.detail
        );
        let check = leader(&status(None), &links);
        assert!(
            !check.passed
                && check.detail.starts_with("none")
                && check.detail.contains("; no link to node1 ("),
            "{}",
            check.detail
        );
        assert!(leader(&status(Some("node0")), &links).passed, "it leads itself");
    }
}

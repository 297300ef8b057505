//! `quorate status`, `health`, `member` and `leader`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Context;
use super::arguments::{Health, Leader, Member};
use super::client::{Effect, attempt};
use super::exit::{Exit, Failure};
use super::http::{Endpoint, Request};
use super::output::Rows;

/// Between two looks of `health --wait`.
const WAIT_PAUSE: Duration = Duration::from_millis(100);
/// How long one look may take, so that a node that hangs does not use up the time of all.
const LOOK_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn status(context: &Context) -> Result<(), Failure> {
    let answer = context.api()?.json(&Request::get("/v1/status"), Effect::Read).await?;
    let mut rows = answer["nodes"].as_array().cloned().unwrap_or_default();
    for row in rows.iter_mut().filter(|row| row["reachable"] == false) {
        row["role"] = "unreachable".into();
    }
    let columns = vec!["id", "role", "term", "leader", "last_index", "commit_index", "applied_index", "api"];
    context.output.rows(&Rows { columns, rows }, Some(&answer))
}

pub(crate) async fn member(context: &Context, verb: &Member) -> Result<(), Failure> {
    let Member::List = verb;
    let answer = cluster(context).await?;
    let rows = answer["members"].as_array().cloned().unwrap_or_default();
    context.output.rows(&Rows { columns: vec!["id", "raft", "api", "voter"], rows }, Some(&answer))
}

pub(crate) async fn leader(context: &Context, verb: &Leader) -> Result<(), Failure> {
    let Leader::Show = verb;
    let answer = cluster(context).await?;
    let Some(leader) = answer["leader"].as_str() else {
        return Err(Failure::new(
            Exit::Unreachable,
            "no leader is known; see `quorate status` for who is reachable",
        ));
    };
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let member = members.into_iter().find(|member| member["id"] == leader).unwrap_or_default();
    let record = json!({
        "leader": leader,
        "term": answer["term"],
        "api": member["api"],
        "raft": member["raft"],
    });
    context.output.record(vec!["leader", "term", "api", "raft"], &record)
}

/// What a node knows of its cluster.
pub(crate) async fn cluster(context: &Context) -> Result<Value, Failure> {
    context.api()?.json(&Request::get("/v1/cluster"), Effect::Read).await
}

pub(crate) async fn health(context: &Context, arguments: &Health) -> Result<(), Failure> {
    let api = context.api()?;
    let deadline = Instant::now() + api.timeout;
    let mut every = interval(WAIT_PAUSE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let look = deadline.min(Instant::now() + LOOK_MAX);
        let mut rows = Vec::new();
        for endpoint in &api.endpoints {
            rows.push(look_at(endpoint, look).await);
        }
        let ready = rows.iter().filter(|row| row["ready"] == true).count();
        let (all, done) = (rows.len(), ready == rows.len());
        if !done && arguments.wait && Instant::now() + WAIT_PAUSE < deadline {
            continue;
        }
        context.output.rows(&Rows { columns: vec!["endpoint", "ready", "detail"], rows }, None)?;
        if done {
            return Ok(());
        }
        let waited = if arguments.wait { format!(" after {:?}", api.timeout) } else { String::new() };
        return Err(Failure::new(Exit::NotHealthy, format!("{ready} of {all} endpoints are ready{waited}")));
    }
}

async fn look_at(endpoint: &Endpoint, deadline: Instant) -> Value {
    let (ready, detail) = match attempt(endpoint, &Request::get("/readyz?verbose"), deadline).await {
        Ok(response) => (response.status.is_success(), summary(&response.body)),
        Err(lost) => (false, lost.to_string()),
    };
    json!({"endpoint": endpoint.to_string(), "ready": ready, "detail": detail})
}

/// What the node says is wrong with itself, on one line; nothing if nothing is.
fn summary(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(1_000).collect();
    let failed: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("[-] ")).collect();
    failed.join("; ")
}

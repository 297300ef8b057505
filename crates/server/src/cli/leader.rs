//! `quorate leader`.

use serde_json::json;

use super::arguments::Leader;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::member::cluster;

pub(crate) async fn run(context: &Context, verb: &Leader) -> Result<(), Failure> {
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

//! `quorate leader`.

use quorate_server::http::Request;
use serde_json::json;

use super::arguments::Leader;
use super::client::Effect;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::member::cluster;
use super::output::{after_printing, took_effect};

pub(crate) async fn run(context: &Context, verb: &Leader) -> Result<(), Failure> {
    match verb {
        Leader::Show => show(context).await,
        Leader::Transfer { to } => transfer(context, to.as_deref()).await,
    }
}

async fn show(context: &Context) -> Result<(), Failure> {
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

async fn transfer(context: &Context, to: Option<&str>) -> Result<(), Failure> {
    let body = to.map_or_else(|| json!({}), |to| json!({"to": to}));
    let answer = context.api()?.json(&Request::post("/v1/leader:transfer", &body), Effect::Write).await?;
    let printed = took_effect("the transfer", context.output.record(vec!["leader", "term"], &answer));
    let leader = answer["leader"].as_str().unwrap_or_default();
    let own = match to {
        Some(to) if to != leader => {
            Err(Failure::failed(format!("leadership has moved, but {leader} was elected and not {to}")))
        }
        Some(_) | None => Ok(()),
    };
    after_printing(printed, own)
}

//! `quorate member`, and the view of the cluster that `leader` and `bench` share.

use quorate_server::http::Request;
use serde_json::Value;

use super::arguments::Member;
use super::client::Effect;
use super::context::Context;
use super::exit::Failure;
use super::output::Rows;

pub(crate) async fn run(context: &Context, verb: &Member) -> Result<(), Failure> {
    let Member::List = verb;
    let answer = cluster(context).await?;
    let rows = answer["members"].as_array().cloned().unwrap_or_default();
    context.output.rows(&Rows { columns: vec!["id", "raft", "api", "voter"], rows }, Some(&answer))
}

/// The cluster as the node that answers knows it.
pub(crate) async fn cluster(context: &Context) -> Result<Value, Failure> {
    context.api()?.json(&Request::get("/v1/cluster"), Effect::Read).await
}

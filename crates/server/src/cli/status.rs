//! `quorate status`.

use quorate_server::http::Request;

use super::client::Effect;
use super::context::Context;
use super::exit::Failure;
use super::output::Rows;

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let answer = context.api()?.json(&Request::get("/v1/status"), Effect::Read).await?;
    let mut rows = answer["nodes"].as_array().cloned().unwrap_or_default();
    for row in rows.iter_mut().filter(|row| row["reachable"] == false) {
        row["role"] = "unreachable".into();
    }
    let columns = vec!["id", "role", "term", "leader", "last_index", "commit_index", "applied_index", "api"];
    context.output.rows(&Rows { columns, rows }, Some(&answer))
}

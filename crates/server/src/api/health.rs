//! `/livez` and `/readyz`: is the process worth keeping, may it be sent work.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::code::Code;
use super::problem::{Problem, Problems};
use super::ready::{Check, checks, runs};
use super::state::AppState;

/// The query string of a check. Anything may stand in it, so that no prober is turned away.
type AnyQuery = Query<BTreeMap<String, String>>;

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

/// Whether the node takes work: its actors and its disk answer, a leader is known, what was in the log is applied, and it is not
/// about to end.
#[utoipa::path(
    get, path = "/readyz", tag = "node",
    params(("verbose" = Option<String>, Query, description = "Lists each check")),
    responses((status = 200, description = "`ok`, or a line for each check", body = String, content_type = "text/plain"),
        (status = 503, description = "At least one check fails"), Problems)
)]
pub(crate) async fn readyz(State(state): State<AppState>, query: AnyQuery) -> Response {
    answer(&query, &checks(&state).await)
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
    let detail: Vec<String> = failed.map(Check::named).collect();
    Problem::new(Code::NotReady, detail.join("; ")).into_response()
}

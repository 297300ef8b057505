//! `/v1/node:drain`: this node is made ready to be ended, and ends.
//!
//! Only from its own machine, unless the node lets its actors be stopped by everyone: see [`Caller`].

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use quorate::{MemberKind, MemberView};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::body::JsonBody;
use super::call::Call;
use super::caller::Caller;
use super::code::Code;
use super::leader::handed_over;
use super::params::DrainParams;
use super::problem::{Problem, Problems};
use super::state::AppState;

/// The longest delay.
const DELAY_MS_MAX: u64 = 86_400_000;
/// How long the leader is asked for the members: without a leader the node serves no one, and is not kept.
const LEADER_ASKED_MAX: Duration = Duration::from_secs(1);

/// To `node:drain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    /// How long the API goes on while `/readyz` says 503, in milliseconds; `drain_delay` of the node if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 86_400_000, nullable = false, example = 5_000)]
    pub delay_ms: Option<u64>,
    /// Also if the other nodes can commit nothing without this one, or none of them can lead now.
    #[serde(default)]
    #[schema(example = false)]
    pub force: bool,
}

/// The node will end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Draining {
    /// Always true.
    pub ok: bool,
    /// The node that answers.
    pub node: String,
    /// Who leads, as this node knows; null while no leader is known.
    #[schema(required)]
    pub leader: Option<String>,
    /// In how many milliseconds it ends. Until then it answers as ever, and `/readyz` says 503.
    pub ends_in_ms: u64,
}

/// Ends this node in order: leadership is handed over, then `/readyz` says 503 for the delay, then the process ends with exit code 0. The
/// answer comes before the delay. 403 `not_local` unless it is asked from the node's own machine, or the node was started with
/// `--ui-actions`.
#[utoipa::path(
    post, path = "/v1/node:drain", tag = "node", params(DrainParams),
    request_body(content = Option<DrainBody>, content_type = "application/json"),
    responses((status = 200, description = "The node drains, and will end", body = Draining), Problems)
)]
pub(crate) async fn drain(
    caller: Caller,
    Call { state, timeout, .. }: Call<DrainParams>,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked: DrainBody = if body.bytes.is_empty() { DrainBody::default() } else { body.parse()? };
    let delay = match asked.delay_ms {
        Some(ms) if ms > DELAY_MS_MAX => {
            let detail = format!("delay_ms is {ms}, the longest delay is {DELAY_MS_MAX}");
            return Err(Problem::new(Code::Malformed, detail));
        }
        Some(ms) => Duration::from_millis(ms),
        None => state.options().drain_delay,
    };
    if caller == Caller::Elsewhere && !state.options().actions {
        let detail =
            format!("{} is drained from its own machine only, and not through a proxy", state.node().id());
        return Err(Problem::new(Code::NotLocal, detail));
    }
    if !state.is_draining() {
        let until = Instant::now() + timeout;
        let handed = match others_can_do_without(&state, until).await {
            Ok(()) => hand_over(&state, until).await,
            Err(problem) => Err(problem),
        };
        handed.or_else(|problem| if asked.force { Ok(()) } else { Err(problem) })?;
    }
    let ends_in = state.end_after(delay);
    tracing::info!(node = %state.node().id(), ends_in_ms = millis(ends_in), "draining on request");
    let node = state.node().id().to_string();
    Ok(Json(Draining { ok: true, node, leader: state.leader(), ends_in_ms: millis(ends_in) }).into_response())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A script that restarts one node after the other must not take the second while the first is still away. Where no leader is known
/// nothing is committed anyhow.
async fn others_can_do_without(state: &AppState, until: Instant) -> Result<(), Problem> {
    let within = until.saturating_duration_since(Instant::now()).min(LEADER_ASKED_MAX);
    let Ok(view) = state.group().members().within(within).list().await else { return Ok(()) };
    let has_vote = |member: &&MemberView| member.kind != MemberKind::Learner;
    let own = state.node().id();
    let voters: Vec<&MemberView> = view.members.iter().filter(has_vote).collect();
    if !voters.iter().any(|member| member.id == *own) {
        return Ok(());
    }
    let (needed, all) = (voters.len() / 2 + 1, voters.len());
    let others = voters.iter().filter(|member| member.connected && member.id != *own).count();
    if others >= needed {
        return Ok(());
    }
    let detail = format!(
        "without {own} there would be {others} connected voters of {all}, and {needed} are needed; `force` drains it all the same"
    );
    Err(Problem::new(Code::NoQuorum, detail))
}

/// Leadership first: what is committed after that needs this node no more.
async fn hand_over(state: &AppState, until: Instant) -> Result<(), Problem> {
    if state.leader().as_deref() != Some(state.node().id().as_str()) {
        return Ok(());
    }
    handed_over(state, None, until.saturating_duration_since(Instant::now())).await
}

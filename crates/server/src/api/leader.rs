//! `/v1/leader:transfer`.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use quorate::{NodeId, Outcome};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::call::Call;
use super::code::Code;
use super::params::{WriteParams, path_and_query};
use super::peers::{FORWARDED_HEADER, Forwarded, forward};
use super::problem::{Problem, Problems};
use super::ready::explained;
use super::state::AppState;

/// To `leader:transfer`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferBody {
    /// Who is to lead; the voter that is furthest, if absent.
    #[serde(default)]
    pub to: Option<String>,
}

/// Leadership was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransferDone {
    /// Always true.
    pub ok: bool,
    /// Who leads now.
    pub leader: String,
    /// The term it leads.
    pub term: u64,
}

/// Hands leadership to another voter. A follower passes it on to the leader's API.
#[utoipa::path(
    post, path = "/v1/leader:transfer", tag = "cluster", params(WriteParams),
    request_body(content = Option<TransferBody>, content_type = "application/json"),
    responses((status = 200, description = "Another node leads, or the one that was to", body = TransferDone), Problems)
)]
pub(crate) async fn transfer(
    Call { state, timeout, .. }: Call<WriteParams>,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let TransferBody { to } = if body.bytes.is_empty() { TransferBody::default() } else { body.parse()? };
    let leads = match state.leader_api().await {
        Ok(leads) => leads,
        Err(problem) => return Err(explained(&state, problem).await),
    };
    if let Some((leader, address)) = leads {
        if headers.contains_key(FORWARDED_HEADER) {
            let detail = format!("{leader} leads now; this request was passed on once already");
            return Err(Problem::new(Code::LeaderUnreachable, detail).led_by(Some(leader)));
        }
        let (path, from) = (path_and_query(&uri), state.node().id().as_str());
        let calls = state.peer_calls();
        let call = Forwarded { calls, address: &address, method: Method::POST, path, from, body: body.bytes };
        return forward(call, state.options().peer_timeout, timeout).await.map_err(|error| {
            let sent = error.may_be_sent();
            let code = if sent { Code::TransferUnfinished } else { Code::LeaderUnreachable };
            Problem::new(code, error.to_string())
        });
    }
    let to = match to {
        Some(to) => Some(voter(&state, &to).await?),
        None => None,
    };
    handed_over(&state, to, timeout).await?;
    let status = state.group().status().await;
    let leader = status.leader.unwrap_or_default();
    Ok(Json(TransferDone { ok: true, leader, term: status.term }).into_response())
}

/// Hands leadership over, from this node.
pub(super) async fn handed_over(
    state: &AppState,
    to: Option<NodeId>,
    timeout: Duration,
) -> Result<(), Problem> {
    let handed = state.group().transfer(to, timeout).await;
    handed.map(drop).map_err(|error| {
        let code = match error.outcome() {
            Outcome::Refused => Code::TransferRefused,
            Outcome::Failed | Outcome::Unknown => Code::TransferUnfinished,
        };
        Problem::new(code, error.to_string()).led_by(state.leader())
    })
}

async fn voter(state: &AppState, id: &str) -> Result<NodeId, Problem> {
    let role = state.group().status().await.role;
    let is = role.is_some_and(|role| role.members.iter().any(|member| member.id == id && member.voter));
    match NodeId::new(id) {
        Ok(node) if is => Ok(node),
        Ok(_) | Err(_) => {
            Err(Problem::new(Code::NoSuchMember, format!("{id:?} is no voter of this cluster")))
        }
    }
}

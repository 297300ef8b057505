//! Who there is, who leads, where each stands: `/v1/cluster`, `/v1/status`, `/v1/actors`, `/v1/leader:transfer`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use quorate::{Injury, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::Code;
use super::extract::{Params, Rest, WriteParams, body, json, path_and_query};
use super::peers::{FORWARDED_HEADER, PeerError};
use super::problem::{Instead, Problem, Problems};
use super::state::AppState;

/// What a node knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The cluster's id.
    pub cluster: String,
    /// The node that answers.
    pub node: String,
    /// Its role: `leader`, `follower`, `candidate`, or `restarting`.
    pub role: String,
    /// The newest term it knows.
    pub term: u64,
    /// The leader it knows.
    #[schema(required)]
    pub leader: Option<String>,
    /// The members, in order of their ids.
    pub members: Vec<MemberView>,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Its id.
    pub id: String,
    /// Where peers connect.
    pub raft: String,
    /// Where its API is; null while that is not known.
    #[schema(required)]
    pub api: Option<String>,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
}

/// What a node knows of its cluster.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, body = ClusterView), Problems)
)]
pub(crate) async fn cluster(State(state): State<AppState>) -> Json<ClusterView> {
    let status = state.group().status().await;
    let members = status.role.as_ref().map(|role| role.members.clone()).unwrap_or_default();
    let view = |member: quorate::MemberStatus| MemberView {
        api: state.api_of(&member.id, &member.api),
        leader: status.leader.as_ref() == Some(&member.id),
        id: member.id,
        raft: member.raft,
        voter: member.voter,
    };
    Json(ClusterView {
        cluster: state.node().identity().cluster.to_string(),
        node: status.node.clone(),
        role: status.role.as_ref().map_or_else(|| "restarting".to_owned(), |role| role.role.clone()),
        term: status.role.as_ref().map_or(status.term, |role| role.term.max(status.term)),
        leader: status.leader.clone(),
        members: members.into_iter().map(view).collect(),
    })
}

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
    responses((status = 200, body = TransferDone), Problems)
)]
pub(crate) async fn transfer(
    State(state): State<AppState>,
    Params(params): Params<WriteParams>,
    uri: Uri,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let (timeout, options) = (state.timeout(params.timeout_ms, &headers)?, state.options());
    let sent = body(sent, options.json_bytes_max, options.read_timeout).await?;
    let TransferBody { to } = if sent.is_empty() { TransferBody::default() } else { json(&sent)? };
    if let Some((leader, address)) = state.leader_api().await? {
        if headers.contains_key(FORWARDED_HEADER) {
            let detail = format!("{leader} leads now; this request was passed on once already");
            return Err(Problem::new(Code::LeaderUnreachable, detail).led_by(Some(leader)).into());
        }
        let call = (Method::POST, path_and_query(&uri));
        let me = state.node().id().as_str();
        let answer = state.peers().forward(&address, call, me, sent, timeout).await;
        return answer.map_err(|error| match error {
            PeerError::NotSent { .. } => Problem::new(Code::LeaderUnreachable, error.to_string()).into(),
            PeerError::Lost { .. } => Problem::new(Code::TransferUnfinished, error.to_string()).into(),
        });
    }
    let to = match to {
        Some(to) => Some(voter(&state, &to).await?),
        None => None,
    };
    if to.as_ref() != Some(state.node().id()) && !state.group().transfer(to, timeout).await {
        let detail = format!("no other node led within {} ms", timeout.as_millis());
        return Err(Problem::new(Code::TransferUnfinished, detail).led_by(state.leader()).into());
    }
    let status = state.group().status().await;
    let leader = status.leader.unwrap_or_default();
    Ok(Json(TransferDone { ok: true, leader, term: status.term }).into_response())
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

/// The actors of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorsView {
    /// The node that answers.
    pub node: String,
    /// In order of their names.
    pub actors: Vec<ActorView>,
}

/// An actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorView {
    /// A path in the node's tree.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// `starting`, `running` or `ending`.
    pub status: String,
}

/// The actors of this node.
#[utoipa::path(
    get, path = "/v1/actors", tag = "node",
    responses((status = 200, body = ActorsView), Problems)
)]
pub(crate) async fn actors(State(state): State<AppState>) -> Json<ActorsView> {
    let view =
        |actor: quorate::ActorStatus| ActorView { name: actor.name, kind: actor.kind, status: actor.status };
    let actors = state.node().actors().into_iter().map(view).collect();
    Json(ActorsView { node: state.node().id().to_string(), actors })
}

/// An actor was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorStopped {
    /// Always true.
    pub ok: bool,
    /// The node that answers.
    pub node: String,
    /// The actor.
    pub actor: String,
    /// Always true; its supervisor starts it again.
    pub stopped: bool,
}

/// Stops an actor of this node, which its supervisor then starts again: to see a node heal.
#[utoipa::path(
    post, path = "/v1/actors/{name}:stop", tag = "node",
    params(("name" = String, Path, description = "The actor's name; it holds slashes")),
    responses((status = 200, body = ActorStopped), Problems)
)]
pub(crate) async fn stop_actor(
    State(state): State<AppState>,
    Rest(path): Rest,
    uri: Uri,
) -> Result<Json<ActorStopped>, Instead> {
    let Some(actor) = path.strip_suffix(":stop") else {
        let detail =
            format!("nothing answers at {}; an actor is stopped at /v1/actors/<name>:stop", uri.path());
        return Err(Problem::new(Code::NoSuchPath, detail).into());
    };
    if !state.node().injure(actor, Injury::Stop) {
        return Err(Problem::new(Code::NoSuchActor, format!("no actor {actor:?} runs on this node")).into());
    }
    let node = state.node().id().to_string();
    Ok(Json(ActorStopped { ok: true, node, actor: actor.to_owned(), stopped: true }))
}

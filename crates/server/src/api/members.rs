//! `/v1/members`: who the members are, and changes of them, one at a time. The leader is asked through the group's handle, from any node.
//!
//! A change is answered once the membership that it ends in is committed. `expect` guards it against another operator's change.

use axum::Json;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use quorate::{Change, ChangeError, MemberKind, Members, MembersView, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::call::Call;
use super::code::Code;
use super::params::{ChangeParams, PathName, WriteParams};
use super::problem::{Problem, Problems};
use super::ready::explained;
use super::state::AppState;
use crate::address::split;

/// The members, as the leader has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MembersList {
    /// Always true.
    pub ok: bool,
    /// The leader, which answered.
    pub leader: String,
    /// Its term.
    pub term: u64,
    /// The index of the membership in force: what a change may name in `expect`.
    pub index: u64,
    /// Whether a change is under way: it is not committed yet, or only its first half is.
    pub under_way: bool,
    /// The members, in order of their ids.
    pub members: Vec<MemberState>,
    /// Processes that ask to be taken in and are not, in order of their ids.
    pub waiting: Vec<MemberWaiting>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberState {
    /// Its id.
    pub id: String,
    /// Where the other nodes dial it.
    pub raft: String,
    /// Where its API is; null while that is not known.
    #[schema(required)]
    pub api: Option<String>,
    /// `voter`; `learner`: it receives the log and has no vote; `outgoing`: it votes until the change under way has ended.
    #[schema(value_type = String)]
    pub kind: MemberKind,
    /// Entries of the leader's log that it is not known to have on its disk; null before it has answered this leader.
    #[schema(required)]
    pub lag: Option<u64>,
    /// Whether the leader has a link to it. True for the leader.
    pub connected: bool,
}

/// A process that waits to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberWaiting {
    /// Its id.
    pub id: String,
    /// Where other nodes would dial it.
    pub raft: String,
    /// Why it was not taken in when it last asked.
    pub reason: String,
}

/// A new member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMemberBody {
    /// Its id.
    #[schema(min_length = 1, example = "node3")]
    pub id: String,
    /// Where the other nodes dial it, `host:port`.
    #[schema(min_length = 1, example = "127.0.0.1:7003")]
    pub raft: String,
    /// Where its API is, `host:port`; nothing if it is to say so itself.
    #[serde(default)]
    #[schema(example = "127.0.0.1:8003")]
    pub api: String,
}

/// Where a member has moved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReaddressBody {
    /// Where the other nodes dial it from now on, `host:port`.
    #[schema(min_length = 1, example = "127.0.0.1:7004")]
    pub raft: String,
    /// Where its API is from now on, `host:port`; if absent, it stays what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "127.0.0.1:8004", nullable = false)]
    pub api: Option<String>,
}

/// The members have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberChanged {
    /// Always true.
    pub ok: bool,
    /// The member.
    pub id: String,
    /// The index of the membership that the change ended in; it is committed.
    pub index: u64,
}

/// Of a call that takes no body; an empty object is one, too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// What `/v1/members/{id}:..` does to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Promote,
    Demote,
    Replace,
    Readdress,
}

impl Act {
    fn of(word: &str) -> Option<Self> {
        match word {
            "promote" => Some(Self::Promote),
            "demote" => Some(Self::Demote),
            "replace" => Some(Self::Replace),
            "readdress" => Some(Self::Readdress),
            _ => None,
        }
    }
}

/// The members as the leader has them, with how far each is, and the processes that wait to be taken in.
#[utoipa::path(
    get, path = "/v1/members", tag = "cluster", params(WriteParams),
    responses((status = 200, description = "The members", body = MembersList), Problems)
)]
pub(crate) async fn members(
    Call { state, timeout, .. }: Call<WriteParams>,
) -> Result<Json<MembersList>, Problem> {
    match state.group().members().within(timeout).list().await {
        Ok(view) => Ok(Json(shown(&state, view))),
        Err(error) => Err(unchanged(&state, error).await),
    }
}

fn shown(state: &AppState, view: MembersView) -> MembersList {
    let member = |member: quorate::MemberView| MemberState {
        api: state.api_of(member.id.as_str(), &member.api),
        id: member.id.to_string(),
        raft: member.raft,
        kind: member.kind,
        lag: member.lag,
        connected: member.connected,
    };
    let waiting = |joiner: quorate::JoinerView| MemberWaiting {
        id: joiner.id.to_string(),
        raft: joiner.raft,
        reason: joiner.reason,
    };
    MembersList {
        ok: true,
        leader: view.leader.to_string(),
        term: view.term,
        index: view.index,
        under_way: view.under_way,
        members: view.members.into_iter().map(member).collect(),
        waiting: view.waiting.into_iter().map(waiting).collect(),
    }
}

/// Takes a new member in as a learner: it receives the log and has no vote. A process that was started with `--join` asks for that itself, and
/// for its vote once it has caught up.
#[utoipa::path(
    post, path = "/v1/members", tag = "cluster", params(ChangeParams), request_body = AddMemberBody,
    responses((status = 200, description = "It is a learner", body = MemberChanged), Problems)
)]
pub(crate) async fn add(call: Call<ChangeParams>, body: JsonBody) -> Result<Response, Problem> {
    let AddMemberBody { id, raft, api } = body.parse()?;
    let node = NodeId::new(&id).map_err(|error| Problem::new(Code::BadMember, error.to_string()))?;
    check_address(&raft)?;
    let changed = changes(&call).add(node.clone(), &raft, &api).await;
    answer(&call.state, &node, changed).await
}

/// Removes a member, a voter or a learner: also the leader, and one that is gone. It is told, and stays without a vote.
#[utoipa::path(
    delete, path = "/v1/members/{id}", tag = "cluster",
    params(("id" = String, Path, description = "The member"), ChangeParams),
    responses((status = 200, description = "It is a member no more", body = MemberChanged), Problems)
)]
pub(crate) async fn remove(PathName(id): PathName, call: Call<ChangeParams>) -> Result<Response, Problem> {
    let node = member(&id)?;
    let changed = changes(&call).remove(node.clone()).await;
    answer(&call.state, &node, changed).await
}

/// What ends in `:promote`, `:demote`, `:replace` or `:readdress`.
pub(crate) async fn act(
    PathName(path): PathName,
    uri: Uri,
    call: Call<ChangeParams>,
    body: JsonBody,
) -> Result<Response, Problem> {
    let Some((id, act)) = path.rsplit_once(':').and_then(|(id, word)| Some((id, Act::of(word)?))) else {
        let detail = format!(
            "nothing answers at {}; a member is changed at /v1/members/<id>:promote, :demote, :replace or :readdress",
            uri.path()
        );
        return Err(Problem::new(Code::NoSuchPath, detail));
    };
    match act {
        Act::Promote => promote(id, &call, &body).await,
        Act::Demote => demote(id, &call, &body).await,
        Act::Replace => replace(id, &call, &body).await,
        Act::Readdress => readdress(id, &call, &body).await,
    }
}

/// Makes a learner a voter, once it has caught up.
#[utoipa::path(
    post, path = "/v1/members/{id}:promote", tag = "cluster",
    params(("id" = String, Path, description = "The learner"), ChangeParams),
    responses((status = 200, description = "It votes", body = MemberChanged), Problems)
)]
async fn promote(id: &str, call: &Call<ChangeParams>, body: &JsonBody) -> Result<Response, Problem> {
    let node = member_without_body(id, body)?;
    let changed = changes(call).promote(node.clone()).await;
    answer(&call.state, &node, changed).await
}

/// Makes a voter a learner.
#[utoipa::path(
    post, path = "/v1/members/{id}:demote", tag = "cluster",
    params(("id" = String, Path, description = "The voter"), ChangeParams),
    responses((status = 200, description = "It receives the log and has no vote", body = MemberChanged), Problems)
)]
async fn demote(id: &str, call: &Call<ChangeParams>, body: &JsonBody) -> Result<Response, Problem> {
    let node = member_without_body(id, body)?;
    let changed = changes(call).demote(node.clone()).await;
    answer(&call.state, &node, changed).await
}

/// Takes the process that waits under this member's id in its place: a node that lost its disk, started again with an empty directory and
/// `--join`. It is a learner then, and asks for its vote itself once it has caught up.
#[utoipa::path(
    post, path = "/v1/members/{id}:replace", tag = "cluster",
    params(("id" = String, Path, description = "The member whose disk is lost"), ChangeParams),
    responses((status = 200, description = "The process that waited is a learner in its place", body = MemberChanged), Problems)
)]
async fn replace(id: &str, call: &Call<ChangeParams>, body: &JsonBody) -> Result<Response, Problem> {
    let node = member_without_body(id, body)?;
    let changed = changes(call).replace(node.clone()).await;
    answer(&call.state, &node, changed).await
}

/// Gives a member other addresses; it keeps its identity. One that was started with `--join` does so itself.
#[utoipa::path(
    post, path = "/v1/members/{id}:readdress", tag = "cluster",
    params(("id" = String, Path, description = "The member that has moved"), ChangeParams),
    request_body = ReaddressBody,
    responses((status = 200, description = "It is dialled there", body = MemberChanged), Problems)
)]
async fn readdress(id: &str, call: &Call<ChangeParams>, body: &JsonBody) -> Result<Response, Problem> {
    let ReaddressBody { raft, api } = body.parse()?;
    check_address(&raft)?;
    let node = member(id)?;
    let (api, seen) = match api {
        Some(api) => (api, None),
        None => known_api(call, &node).await?,
    };
    let expected = call.params.expect.or(seen);
    let members = call.state.group().members().within(call.timeout);
    let members = match expected {
        Some(index) => members.expecting(index),
        None => members,
    };
    let changed = members.change(Change::Readdress { node: node.clone(), raft, api }).await;
    answer(&call.state, &node, changed).await
}

/// The API address that a member keeps, and the index of the membership that says so: another change in between would be undone.
async fn known_api(call: &Call<ChangeParams>, node: &NodeId) -> Result<(String, Option<u64>), Problem> {
    let view = call.state.group().members().within(call.timeout).list().await;
    let view = match view {
        Ok(view) => view,
        Err(error) => return Err(unchanged(&call.state, error).await),
    };
    let api = view.members.into_iter().find(|member| member.id == *node).map(|member| member.api);
    Ok((api.unwrap_or_default(), Some(view.index)))
}

/// What is no name is the name of no member.
fn member(id: &str) -> Result<NodeId, Problem> {
    NodeId::new(id).map_err(|_| {
        let shown: String = id.chars().take(80).collect();
        Problem::new(Code::NoSuchMember, format!("{shown:?} is no member of this group"))
    })
}

/// Before anything is asked: the leader checks it once more.
fn check_address(raft: &str) -> Result<(), Problem> {
    split(raft).map(drop).map_err(|error| Problem::new(Code::BadMember, error.to_string()))
}

fn member_without_body(id: &str, body: &JsonBody) -> Result<NodeId, Problem> {
    if !body.bytes.is_empty() {
        let NoFields {} = body.parse()?;
    }
    member(id)
}

fn changes(call: &Call<ChangeParams>) -> Members<'_> {
    let members = call.state.group().members().within(call.timeout);
    match call.params.expect {
        Some(index) => members.expecting(index),
        None => members,
    }
}

async fn answer(
    state: &AppState,
    node: &NodeId,
    changed: Result<u64, ChangeError>,
) -> Result<Response, Problem> {
    match changed {
        Ok(index) => Ok(Json(MemberChanged { ok: true, id: node.to_string(), index }).into_response()),
        Err(error) => Err(unchanged(state, error).await),
    }
}

async fn unchanged(state: &AppState, error: ChangeError) -> Problem {
    explained(state, Problem::from(error).led_by(state.leader())).await
}

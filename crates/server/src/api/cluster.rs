//! `/v1/cluster`: the members and the leader, as one node knows them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::{NoParams, Params};
use super::problem::Problems;
use super::state::AppState;
use super::status::role_of;

/// What a node knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The cluster's id.
    pub cluster: String,
    /// The node that answers.
    pub node: String,
    /// Its role: `leader`, `follower`, `candidate`, `restarting`, or `silent`: its actors do not answer.
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
    /// Whether it votes. A learner does not: it receives the log.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
}

/// What a node knows of its cluster.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, description = "The cluster as this node knows it", body = ClusterView), Problems)
)]
pub(crate) async fn cluster(State(state): State<AppState>, _: Params<NoParams>) -> Json<ClusterView> {
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
        role: role_of(&status),
        term: status.role.as_ref().map_or(status.term, |role| role.term.max(status.term)),
        leader: status.leader.clone(),
        members: members.into_iter().map(view).collect(),
    })
}

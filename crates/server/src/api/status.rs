//! `/v1/status` and `/api/status`: the state of every node. The node that is asked asks the others, in bounded time; one
//! that does not answer is shown as unreachable.

use axum::Json;
use axum::extract::State;
use quorate::{GroupStatus, Standing};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use utoipa::{IntoParams, ToSchema};

use super::code::Code;
use super::params::Params;
use super::peers;
use super::problem::{Problem, Problems};
use super::ready;
use super::state::AppState;

/// The request to a peer.
const NODE_STATUS: &str = "/v1/status?scope=node";

/// Whose status.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusParams {
    /// `cluster` (if absent): every node. `node`: only the one that answers; it asks no other.
    pub(crate) scope: Option<String>,
}

/// Where every node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The cluster's id.
    pub cluster: String,
    /// The node that answers.
    pub node: String,
    /// The leader it knows.
    #[schema(required)]
    pub leader: Option<String>,
    /// The newest term it knows.
    pub term: u64,
    /// Every node, in order of their ids.
    pub nodes: Vec<NodeView>,
}

/// Where one node stands. All but the first four are null where it is unreachable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Where its API is; null while that is not known.
    #[schema(required)]
    pub api: Option<String>,
    /// Whether it answered.
    pub reachable: bool,
    /// Why it did not, why no role is known of one that did (its actors are silent), or that it is no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `leader`, `follower`, `candidate`, `restarting`, or `silent`: its actors do not answer.
    #[schema(required)]
    pub role: Option<String>,
    /// `voter`, `learner` (it receives the log and has no vote), `outside` (it is no member: not taken in yet, or removed), `recovering` (it lost entries that it may have acknowledged), `awaiting` (its log store is being
    /// restarted) or `founding` (it has never taken part, and has not reached every member once).
    #[schema(required)]
    pub standing: Option<String>,
    /// Its term.
    #[schema(required)]
    pub term: Option<u64>,
    /// The leader it knows.
    #[schema(required)]
    pub leader: Option<String>,
    /// The first index that its log still has.
    #[schema(required)]
    pub first_index: Option<u64>,
    /// Where the newest snapshot on its disk ends; 0 if there is none.
    #[schema(required)]
    pub snapshot_index: Option<u64>,
    /// The last index of its log.
    #[schema(required)]
    pub last_index: Option<u64>,
    /// The last index on its disk.
    #[schema(required)]
    pub durable_index: Option<u64>,
    /// Its commit index.
    #[schema(required)]
    pub commit_index: Option<u64>,
    /// The last index its state machine applied.
    #[schema(required)]
    pub applied_index: Option<u64>,
    /// Entries that are committed and not applied by its state machine.
    #[serde(default)]
    #[schema(required)]
    pub apply_lag: Option<u64>,
    /// Bytes of those of them that are in its memory; entries that are only on its disk are not counted.
    #[serde(default)]
    #[schema(required)]
    pub apply_lag_bytes: Option<u64>,
    /// How long its state machine has been at the present command, in milliseconds; null while it is at none.
    #[serde(default)]
    #[schema(required)]
    pub applying_for_ms: Option<u64>,
    /// The chain hash at the end of its log, its first 16 hex digits.
    #[schema(required)]
    pub chain: Option<String>,
    /// How often it started from its data directory.
    #[schema(required)]
    pub boot: Option<u64>,
    /// Restarts of its role since the group was opened.
    #[schema(required)]
    pub role_restarts: Option<u64>,
    /// Restarts of its state machine since the group was opened.
    #[schema(required)]
    pub applier_restarts: Option<u64>,
    /// The entry at which its state machine faulted.
    #[schema(required)]
    pub faulted_at: Option<u64>,
    /// Bytes free on its disk.
    #[schema(required)]
    pub disk_free_bytes: Option<u64>,
    /// Bytes that must stay free on its disk: with less it takes no entries.
    #[schema(required)]
    pub disk_reserve_bytes: Option<u64>,
    /// Bytes that must be free before it takes entries again once it was full.
    #[serde(default)]
    #[schema(required)]
    pub disk_again_bytes: Option<u64>,
    /// Files that may still be made on its disk (free inodes); null where nothing but bytes bounds them.
    #[serde(default)]
    #[schema(required)]
    pub disk_free_files: Option<u64>,
    /// Files that must be left: with fewer it takes no entries.
    #[serde(default)]
    #[schema(required)]
    pub disk_reserve_files: Option<u64>,
    /// Files that must be left before it takes entries again once it had too few.
    #[serde(default)]
    #[schema(required)]
    pub disk_again_files: Option<u64>,
    /// Whether it takes no entries because its disk is below its reserve, or was and has not enough free again.
    #[serde(default)]
    #[schema(required)]
    pub disk_full: Option<bool>,
    /// How long its disk has been at the work in progress, in milliseconds; null while it waits for some.
    #[serde(default)]
    #[schema(required)]
    pub disk_busy_for_ms: Option<u64>,
    /// Why its replica takes no more entries, or its state machine none: with the entry and what to do; null while it takes them.
    #[serde(default)]
    #[schema(required)]
    pub halted: Option<String>,
    /// Whether it is about to end.
    #[schema(required)]
    pub draining: Option<bool>,
    /// Its version.
    #[schema(required)]
    pub version: Option<String>,
}

/// Where every node stands.
#[utoipa::path(
    get, path = "/v1/status", tag = "cluster", params(StatusParams),
    responses((status = 200, description = "Every node, as far as it answers", body = StatusView), Problems)
)]
pub(crate) async fn status(
    State(state): State<AppState>,
    Params(params): Params<StatusParams>,
) -> Result<Json<StatusView>, Problem> {
    let alone = match params.scope.as_deref() {
        None | Some("cluster") => false,
        Some("node") => true,
        Some(other) => {
            let detail = format!("scope={other:?} is unknown; it is cluster or node");
            return Err(Problem::new(Code::BadParameter, detail));
        }
    };
    let (this, members) = this_node(&state).await;
    let cluster = state.node().identity().cluster.to_string();
    let (node, leader, term) = (this.id.clone(), this.leader.clone(), this.term.unwrap_or_default());
    let mut nodes = vec![this];
    if !alone {
        nodes.extend(others(&state, &cluster, members).await);
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    Ok(Json(StatusView { cluster, node, leader, term, nodes }))
}

/// The name of its role, or why none is known.
pub(crate) fn role_of(status: &GroupStatus) -> String {
    let unknown = if status.silent { "silent" } else { "restarting" };
    status.role.as_ref().map_or_else(|| unknown.to_owned(), |role| role.role.clone())
}

/// This node, and the members it knows with the API addresses that the membership has.
pub(crate) async fn this_node(state: &AppState) -> (NodeView, Vec<(String, String)>) {
    let status = state.group().status().await;
    let role_name = role_of(&status);
    let role = status.role;
    let standing = role.as_ref().map(|role| match role.standing {
        Standing::Voter => "voter",
        Standing::Learner => "learner",
        Standing::Outside => "outside",
        Standing::Recovering => "recovering",
        Standing::Awaiting => "awaiting",
        Standing::Founding => "founding",
    });
    let (space, busy) = (state.node().space(), state.node().disk_busy_for());
    let members = role.as_ref().map(|role| role.members.clone()).unwrap_or_default();
    let view = NodeView {
        api: state.api_of(&status.node, ""),
        id: status.node,
        reachable: true,
        error: role.as_ref().and_then(ready::outside).or(status.silent.then(|| ready::SILENT.to_owned())),
        role: Some(role_name),
        standing: standing.map(str::to_owned),
        term: Some(role.as_ref().map_or(status.term, |role| role.term.max(status.term))),
        leader: status.leader,
        first_index: role.as_ref().map(|role| role.first),
        snapshot_index: role.as_ref().map(|role| role.snapshot),
        last_index: role.as_ref().map(|role| role.last),
        durable_index: role.as_ref().map(|role| role.durable),
        commit_index: role.as_ref().map(|role| role.commit),
        applied_index: role.as_ref().map(|role| role.applied),
        apply_lag: role.as_ref().map(|role| role.apply_lag),
        apply_lag_bytes: role.as_ref().map(|role| role.apply_lag_bytes as u64),
        applying_for_ms: status.applying_for_ms,
        chain: role.map(|role| role.chain),
        boot: Some(state.node().identity().boot.0),
        role_restarts: Some(status.role_restarts),
        applier_restarts: Some(status.applier_restarts),
        faulted_at: status.fault_here.or(status.faulted),
        disk_free_bytes: Some(space.free_bytes),
        disk_reserve_bytes: Some(space.reserve_bytes),
        disk_again_bytes: Some(space.again_bytes()),
        disk_free_files: (space.reserve_files > 0).then_some(space.free_files),
        disk_reserve_files: (space.reserve_files > 0).then_some(space.reserve_files),
        disk_again_files: (space.reserve_files > 0).then(|| space.again_files()),
        disk_full: Some(state.node().is_disk_full()),
        disk_busy_for_ms: busy.map(|busy| u64::try_from(busy.as_millis()).unwrap_or(u64::MAX)),
        halted: status.halted,
        draining: Some(state.is_draining()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    (view, members.into_iter().map(|member| (member.id, member.api)).collect())
}

async fn others(state: &AppState, cluster: &str, members: Vec<(String, String)>) -> Vec<NodeView> {
    let mut asked = JoinSet::new();
    for (id, listed) in members.into_iter().filter(|(id, _)| id != state.node().id().as_str()) {
        let (state, cluster) = (state.clone(), cluster.to_owned());
        asked.spawn(async move {
            let api = state.api_of(&id, &listed);
            match ask(&state, &cluster, &id, api.as_deref()).await {
                Ok(view) => view,
                Err(error) => NodeView { id, api, error: Some(error), ..NodeView::default() },
            }
        });
    }
    asked.join_all().await
}

async fn ask(state: &AppState, cluster: &str, id: &str, api: Option<&str>) -> Result<NodeView, String> {
    let Some(api) = api else {
        let link = state.node().links().into_iter().find(|link| link.node == id);
        let why =
            link.and_then(|link| link.last_error).unwrap_or_else(|| "it has not connected yet".to_owned());
        return Err(format!("its API address is not known: {why}"));
    };
    let answer = peers::get(state.peer_calls(), api, NODE_STATUS, state.options().peer_timeout).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let view: StatusView = serde_json::from_slice(&answer)
        .map_err(|error| format!("{api} does not answer with a status: {error}"))?;
    if view.cluster != cluster || view.node != id {
        return Err(format!("{api} answers as {} of another cluster or name", view.node));
    }
    view.nodes
        .into_iter()
        .find(|node| node.id == id)
        .ok_or_else(|| format!("the answer of {api} lacks the node itself"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use quorate::{Acceptor, Net, NetFuture, Node, Stream, TokioNet};

    use super::*;
    use crate::api::ApiOptions;
    use crate::machine::{DataMachine, GROUP};

    /// Reaches nothing, and blocks the thread that asks, until it is let go.
    struct Hangs(Mutex<Receiver<()>>);

    impl Net for Hangs {
        fn connect<'a>(&'a self, _address: &'a str) -> NetFuture<'a, Stream> {
            let _gone = self.0.lock().map(|until| until.recv());
            Box::pin(async { Err(std::io::Error::other("nothing is reached")) })
        }

        fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
            Box::pin(async move { TokioNet::default().bind(address).await })
        }
    }

    /// It was shown in bytes when a disk without inodes takes entries again.
    #[tokio::test]
    async fn a_disk_is_shown_with_both_of_what_it_must_have_again() {
        let disk = quorate::store::SimDisk::new();
        disk.set_free_files(12);
        let node = Node::builder("node0", "unused").disk(Box::new(disk)).start().await.expect("it starts");
        let group = node.group(GROUP, DataMachine::default()).await.expect("it opens");
        let state = AppState::new(node.clone(), group, "localhost:1", ApiOptions::default());
        let (view, _) = this_node(&state).await;
        let files = (view.disk_free_files, view.disk_reserve_files, view.disk_again_files);
        assert_eq!((files, view.disk_full), ((Some(12), Some(128), Some(136)), Some(true)));
        assert!(view.disk_again_bytes > view.disk_reserve_bytes, "{view:?}");
        node.stop().await;
    }

    /// It was shown as silent, with no reason beside it.
    #[tokio::test]
    async fn a_node_whose_actors_hang_is_shown_with_an_error() {
        let (let_go, held) = channel();
        let directory = tempfile::tempdir().expect("a directory");
        let node =
            Node::builder("node0", directory.path()).listen("127.0.0.1:0").peer("node1", "127.0.0.1:1");
        let node = node.net(Arc::new(Hangs(Mutex::new(held)))).start().await.expect("it starts");
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let letting_go = async {
            loop {
                ticks.tick().await;
                let _gone = let_go.send(());
            }
        };
        let group = tokio::select! {
            group = node.group(GROUP, DataMachine::default()) => group.expect("it opens"),
            () = letting_go => unreachable!("it goes on"),
        };
        let state = AppState::new(node.clone(), group, "localhost:1", ApiOptions::default());
        let silent = async || {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            for _ in 0..600 {
                ticks.tick().await;
                let (view, _) = this_node(&state).await;
                if view.role.as_deref() == Some("silent") {
                    return view;
                }
            }
            panic!("it never hangs");
        };
        let view = silent().await;
        let said = view.error.clone().unwrap_or_default();
        assert!(view.reachable && said.contains("do not answer within 800 ms"), "{view:?}");
        drop(let_go);
        node.stop().await;
    }
}

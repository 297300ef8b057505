//! `/v1/actors`: the actors of one node.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use quorate::Injury;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::Code;
use super::params::{NoParams, Params, PathName};
use super::problem::{Problem, Problems};
use super::state::AppState;

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
    responses((status = 200, description = "The actors of this node", body = ActorsView), Problems)
)]
pub(crate) async fn actors(State(state): State<AppState>, _: Params<NoParams>) -> Json<ActorsView> {
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

/// Stops an actor of this node, which its supervisor then starts again: to see a node heal. 403 `actions_off` unless the node
/// was started with `--ui-actions`, or by `dev`.
#[utoipa::path(
    post, path = "/v1/actors/{name}:stop", tag = "node",
    params(("name" = String, Path, description = "The actor's name; it holds slashes")),
    responses((status = 200, description = "The actor was told to stop", body = ActorStopped), Problems)
)]
pub(crate) async fn stop_actor(
    State(state): State<AppState>,
    PathName(path): PathName,
    _: Params<NoParams>,
    uri: Uri,
) -> Result<Json<ActorStopped>, Problem> {
    let Some(actor) = path.strip_suffix(":stop") else {
        let detail =
            format!("nothing answers at {}; an actor is stopped at /v1/actors/<name>:stop", uri.path());
        return Err(Problem::new(Code::NoSuchPath, detail));
    };
    if !state.options().actions {
        let detail = "stopping actors is switched off on this node; start it with --ui-actions";
        return Err(Problem::new(Code::ActionsOff, detail));
    }
    if !state.node().injure(actor, Injury::Stop) {
        return Err(Problem::new(Code::NoSuchActor, format!("no actor {actor:?} runs on this node")));
    }
    let node = state.node().id().to_string();
    Ok(Json(ActorStopped { ok: true, node, actor: actor.to_owned(), stopped: true }))
}

//! The REST API: what every node answers over HTTP. A write goes to the leader over the bridge, one hop, and a
//! linearizable read is confirmed by the leader and answered here; the library does both, so a handler only translates.
//!
//! - `command`, `kv`, `counters`: the data. `cluster`, `status`, `log`: the cluster. `health`, `page`: this node.
//! - `code`, `problem`: every error, as `application/problem+json`, with refused, failed or unknown.
//! - `extract`, `text`: what requests say. `state`: what handlers share. `peers`: other nodes' APIs.
//! - `openapi`: the description, made from the handlers.
//!
//! Refused: axum's own extractors for bodies and parameters, because their errors are not problems; a layer that answers
//! when a time has passed, because it could not say whether a write may yet happen.

mod cluster;
mod code;
mod command;
mod counters;
mod extract;
mod health;
mod kv;
mod log;
pub(crate) mod openapi;
mod page;
mod peers;
mod problem;
mod state;
mod status;
mod text;

use axum::Router;
use axum::routing::{get, post};

pub use self::cluster::{
    ActorStopped, ActorView, ActorsView, ClusterView, MemberView, TransferBody, TransferDone,
};
pub use self::code::{About, Code};
pub use self::command::{CasDone, CommandBody, CommandDone, DeleteDone, GetDone, Line, Operation, SetDone};
pub use self::counters::{AddBody, CounterEntry, CounterPage, CounterValue};
pub use self::extract::Freshness;
pub use self::kv::{KvDeleted, KvEntry, KvPage};
pub use self::log::{LogLine, LogPage, LoggedCommand};
pub use self::openapi::openapi;
pub use self::problem::{OutcomeName, Problem, ProblemBody};
pub use self::state::AppState;
pub use self::status::{NodeView, StatusView};
pub use self::text::Encoding;

/// Everything the API answers.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/command", post(command::command))
        .route("/api/command", post(command::api_command))
        .route("/api/status", get(status::api_status))
        .route("/api/logs", get(log::api_logs))
        .route("/v1/kv", get(kv::list_keys))
        .route("/v1/kv/{*key}", get(kv::get_key).put(kv::put_key).delete(kv::delete_key))
        .route("/v1/counters", get(counters::list_counters))
        // The router takes no text after a name in one segment, so the handler takes `:add` off.
        .route("/v1/counters/{*name}", get(counters::get_counter).post(counters::add))
        .route("/v1/cluster", get(cluster::cluster))
        .route("/v1/leader:transfer", post(cluster::transfer))
        .route("/v1/status", get(status::status))
        .route("/v1/log", get(log::log))
        .route("/v1/actors", get(cluster::actors))
        .route("/v1/actors/{*name}", post(cluster::stop_actor))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::openapi_json))
        .fallback(extract::no_such_path)
        .method_not_allowed_fallback(extract::method_not_allowed)
        .with_state(state)
}

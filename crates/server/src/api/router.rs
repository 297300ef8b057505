//! Which handler answers which path.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::state::AppState;
use super::{
    actors, answers, cluster, command, counters, drain, health, kv, leader, log, members, openapi,
    origin_guard, page, params, snapshots, status, understood,
};

/// Everything the API answers.
pub fn router(state: AppState) -> Router {
    calls(&state)
        .fallback(params::no_such_path)
        .method_not_allowed_fallback(params::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), understood::by_all))
        .layer(from_fn_with_state(state.clone(), answers::hold))
        .layer(from_fn_with_state(state.clone(), origin_guard::guard))
        .with_state(state)
}

/// The calls, each with the layers that refuse the headers it does not understand. A layer is around what was added before it.
fn calls(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/", get(page::page))
        .route("/api/status", get(status::status))
        .route("/api/logs", get(log::log))
        .route("/v1/cluster", get(cluster::cluster))
        .route("/v1/members", get(members::members).post(members::add))
        // axum cannot match `:promote` behind an id in one segment; the handler strips it.
        .route("/v1/members/{*name}", post(members::act).delete(members::remove))
        .route("/v1/leader:transfer", post(leader::transfer))
        .route("/v1/node:drain", post(drain::drain))
        .route("/v1/snapshots", post(snapshots::take))
        .route("/v1/snapshots/latest", get(snapshots::latest))
        .route("/v1/status", get(status::status))
        .route("/v1/log", get(log::log))
        .route("/v1/actors", get(actors::actors))
        .route("/v1/actors/{*name}", post(actors::stop_actor))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::openapi_json))
        .layer(from_fn_with_state(state.clone(), understood::no_command))
        .route("/command", post(command::command))
        .route("/api/command", post(command::command))
        .route("/v1/kv", get(kv::list_keys))
        .route("/v1/counters", get(counters::list_counters))
        // axum cannot match `:add` behind a name in one segment; the handler strips it.
        .route(
            "/v1/counters/{*name}",
            get(counters::get_counter)
                .post(counters::add)
                .put(counters::set_counter)
                .delete(counters::delete_counter),
        )
        .layer(from_fn_with_state(state.clone(), understood::unconditional))
        .route("/v1/kv/{*key}", get(kv::get_key).put(kv::put_key).delete(kv::delete_key))
}

//! The REST API.

use axum::Router;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct AppState {}

/// Everything the API answers.
pub fn router(state: AppState) -> Router {
    let _ = state;
    todo!()
}

/// The API's description, made from the handlers: what `GET /openapi.json` answers.
pub fn openapi() -> serde_json::Value {
    todo!()
}

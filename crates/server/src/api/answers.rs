//! Long answers, which stay in memory until their clients have read them: each has its part of [`AppState::rooms`].
//!
//! An answer that is put together here, a page or a value in JSON, has its room before that ([`written`](super::written), [`pages`](super::pages)). A value
//! as it is, which the state machine has in memory anyway, gets it in the layer around all handlers.
//!
//! An answer without room is refused. No write is among those that took effect: a compare-and-set has room for the value that it sets
//! before it is proposed, and one that found another value has changed nothing.

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::code::Code;
use super::problem::Problem;
use super::state::AppState;
use super::written::{HasRoom, SHORT_BYTES};

/// The layer around all handlers.
pub(crate) async fn hold(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_read = *request.method() == Method::GET;
    let response = next.run(request).await;
    let length = response.body().size_hint().exact().unwrap_or_default();
    if length <= SHORT_BYTES as u64 || response.extensions().get::<HasRoom>().is_some() {
        return response;
    }
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return Problem::new(Code::Internal, "the answer is not there").into_response();
    };
    let bytes = body.to_bytes();
    let until = Instant::now() + state.options().call_timeout;
    match state.rooms().reserve(bytes.len(), until).await {
        Ok(room) => Response::from_parts(head, Body::from(room.hold(bytes))),
        Err(problem) if is_read => problem.into_response(),
        Err(_) => Response::from_parts(head, Body::from(bytes)),
    }
}

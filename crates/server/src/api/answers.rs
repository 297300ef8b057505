//! Answers that their clients have not taken yet, all together within a number of bytes.
//!
//! An answer of several MiB stays in memory until its client has read it, and a client may take its time. Each byte of a long
//! answer holds a permit of [`AppState::answers`] until it is written to the socket or the connection is closed. A read
//! without room for its answer is refused: it changed nothing.
//!
//! It never: refuses the answer to a write, which may have happened. Those answers are short, but for the value that a
//! compare-and-set found.

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use super::code::Code;
use super::problem::Problem;
use super::state::AppState;

/// Answers up to this are not counted: there are as many of them as connections, at most. Nor are those whose length is not known
/// beforehand: they are not in memory.
const SHORT_BYTES: u64 = 16 << 10;

/// Bytes of an answer, with their permits.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The layer around all handlers.
pub(crate) async fn hold(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_read = *request.method() == Method::GET;
    let (head, body) = next.run(request).await.into_parts();
    let length = body.size_hint().exact().unwrap_or_default();
    if length <= SHORT_BYTES {
        return Response::from_parts(head, body);
    }
    let Ok(body) = body.collect().await else {
        return Problem::new(Code::Internal, "the answer is not there").into_response();
    };
    let bytes = body.to_bytes();
    let wanted = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    match state.answers().clone().try_acquire_many_owned(wanted) {
        Ok(permit) => {
            let bytes = Bytes::from_owner(Held { bytes, _permit: permit });
            Response::from_parts(head, Body::from(bytes))
        }
        Err(_) if is_read => {
            let detail = "the answers that clients of this node have not taken yet are as long together as they may be";
            Problem::new(Code::Busy, detail).into_response()
        }
        Err(_) => Response::from_parts(head, Body::from(bytes)),
    }
}

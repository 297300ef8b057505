//! Keeps web pages out of a node that a browser can reach: what a page makes the browser send looks like a client's request,
//! except for two headers that the page cannot choose.
//!
//! - `Origin` names the page that asks; browsers send it with every request that is neither GET nor HEAD. A request that changes
//!   something is refused if the page is not this node's own: any page could otherwise write here.
//! - `Host` names the node as the page knows it. A page can have its own name resolved to this node's address (DNS rebinding),
//!   and is then the node's own page to the browser. So a request that changes something, or that comes from a page, is refused
//!   if it calls the node by a name that is not its own. An address is no name: it cannot be resolved to another.
//!
//! Clients that are no browsers send no `Origin`, and a `Host` that is the address or name they dial: a name of a load balancer
//! or an alias is given as `allowed_hosts`. HTTP/1.0 clients send no `Host`; no browser is among them.
//!
//! It never: looks at a body, or lets a page of another origin read an answer (there are no CORS headers at all).

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body;
use super::state::AppState;

/// The layer around all handlers.
pub(crate) async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let checked = state.names().check(request.method(), request.uri(), request.headers());
    let Err(problem) = checked else { return next.run(request).await };
    // A client that is still sending would be reset before it reads the refusal.
    body::discard(request.into_body(), &state).await;
    problem.into_response()
}

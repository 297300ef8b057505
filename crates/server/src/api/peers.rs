//! Asks other nodes' APIs: one hop, in bounded time, never more than once. Each request has a connection of its own: these
//! calls are too rare to keep one.
//!
//! Bound: calls under way, by the permits of [`AppState::peer_calls`](super::state::AppState), so that clients' requests for the
//! status of all nodes cannot use up the descriptors that the store needs.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, header};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::http::{CallError, Connection, Endpoint, EndpointError, Request};

/// The node that passed a request on; such a request is not passed on again.
pub(crate) const FORWARDED_HEADER: &str = "quorate-forwarded-by";

/// The longest answer that is taken from a peer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// What the membership says is no address.
    #[error(transparent)]
    Address(#[from] EndpointError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("too many calls to other nodes are under way here")]
    Busy,
    /// A read was answered with another status than 200.
    #[error("{endpoint} answered {status}")]
    Status { endpoint: Endpoint, status: u16 },
}

impl PeerError {
    /// Whether the request may have reached the peer.
    pub(crate) fn may_be_sent(&self) -> bool {
        match self {
            Self::Address(_) | Self::Busy => false,
            Self::Call(error) => error.may_be_sent(),
            Self::Status { .. } => true,
        }
    }
}

async fn permit(calls: &Semaphore, deadline: Instant) -> Result<SemaphorePermit<'_>, PeerError> {
    let permit = timeout_at(deadline, calls.acquire()).await.map_err(|_| PeerError::Busy)?;
    Ok(permit.expect("the semaphore is never closed"))
}

/// What a peer says of itself.
pub(crate) async fn get(
    calls: &Semaphore,
    address: &str,
    path: &str,
    timeout: Duration,
) -> Result<Bytes, PeerError> {
    let endpoint = Endpoint::parse(address)?;
    let deadline = Instant::now() + timeout;
    let _permit = permit(calls, deadline).await?;
    let request = Request::get(path).answer_bytes_max(ANSWER_BYTES_MAX);
    let response = Connection::open(&endpoint, deadline).await?.send(&request, deadline).await?;
    match response.status.as_u16() {
        200 => Ok(response.body),
        status => Err(PeerError::Status { endpoint, status }),
    }
}

/// A request that is passed on to the leader.
#[derive(Debug)]
pub(crate) struct Forwarded<'a> {
    pub(crate) calls: &'a Semaphore,
    /// The leader's API.
    pub(crate) address: &'a str,
    pub(crate) method: Method,
    /// Path and query as they came.
    pub(crate) path: &'a str,
    /// The node that passes it on.
    pub(crate) from: &'a str,
    /// JSON.
    pub(crate) body: Bytes,
}

/// Passes a request on and gives back the answer. Connecting may take `connect_timeout`, everything `timeout`.
pub(crate) async fn forward(
    Forwarded { calls, address, method, path, from, body }: Forwarded<'_>,
    connect_timeout: Duration,
    timeout: Duration,
) -> Result<Response, PeerError> {
    let (endpoint, now) = (Endpoint::parse(address)?, Instant::now());
    let request = Request::new(method, path).json(body).header(FORWARDED_HEADER, from);
    let request = request.answer_bytes_max(ANSWER_BYTES_MAX);
    let _permit = permit(calls, now + timeout.min(connect_timeout)).await?;
    let mut connection = Connection::open(&endpoint, now + timeout.min(connect_timeout)).await?;
    let answer = connection.send(&request, now + timeout).await?;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    if let Some(content_type) = answer.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    }
    Ok(response)
}

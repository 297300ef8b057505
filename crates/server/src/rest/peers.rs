//! Asks other nodes' APIs: one hop, in bounded time, never more than once.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Says who passed a request on; such a request is not passed on again.
pub(crate) const FORWARDED_HEADER: &str = "quorate-forwarded-by";

/// The longest answer that is taken from a peer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A client for the other nodes' APIs.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// No byte was sent.
    #[error("{address} cannot be reached: {detail}")]
    NotSent { address: String, detail: String },
    /// It was sent, and no whole answer came.
    #[error("{address} did not answer: {detail}")]
    Lost { address: String, detail: String },
}

impl Peers {
    pub(crate) fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeout));
        connector.set_nodelay(true);
        // A kept connection may have been closed by the other end just now; these calls are too rare to need one.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, timeout }
    }

    /// What a peer says of itself.
    pub(crate) async fn get(&self, address: &str, path: &str) -> Result<Bytes, PeerError> {
        let request = Request::get(format!("http://{address}{path}")).body(Full::default());
        let response = self.send(address, request, self.timeout).await?;
        if response.0 != 200 {
            return Err(PeerError::Lost {
                address: address.to_owned(),
                detail: format!("status {}", response.0),
            });
        }
        Ok(response.2)
    }

    /// Passes a request on to the leader and gives back what it said.
    pub(crate) async fn forward(
        &self,
        address: &str,
        (method, path): (Method, &str),
        me: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, PeerError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header(FORWARDED_HEADER, me)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body));
        let (status, kind, body) = self.send(address, request, timeout).await?;
        let mut response = Response::builder().status(status);
        if let Some(kind) = kind {
            response = response.header(header::CONTENT_TYPE, kind);
        }
        Ok(response.body(Body::from(body)).expect("status and type come from a response"))
    }

    async fn send(
        &self,
        address: &str,
        request: Result<Request<Full<Bytes>>, axum::http::Error>,
        timeout: Duration,
    ) -> Result<(u16, Option<header::HeaderValue>, Bytes), PeerError> {
        let not_sent = |detail: String| PeerError::NotSent { address: address.to_owned(), detail };
        let lost = |detail: String| PeerError::Lost { address: address.to_owned(), detail };
        let request = request.map_err(|error| not_sent(error.to_string()))?;
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| {
                let cause = root(&error);
                if error.is_connect() { not_sent(cause) } else { lost(cause) }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| lost(error.to_string()))?.to_bytes();
            Ok((head.status.as_u16(), head.headers.get(header::CONTENT_TYPE).cloned(), body))
        };
        let in_time = tokio::time::timeout(timeout, answer).await;
        in_time.unwrap_or_else(|_| Err(lost(format!("no answer within {} ms", timeout.as_millis()))))
    }
}

/// The last cause: what the system said.
fn root(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}

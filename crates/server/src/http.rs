//! The HTTP/1.1 client of the command line, of nodes that ask each other, of `quorate bench` and of the tests: one request
//! at a time on one connection, without TLS, so that it is known whether a byte of the request may have left.
//!
//! It never: follows a redirect, sends a request twice, keeps a connection that its owner does not hold, or reads an
//! answer that is longer than the request allows.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
pub use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::{AddressError, join, split};

/// The longest answer that is read, where the request sets no other limit.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The port of an endpoint that names none.
const DEFAULT_PORT: u16 = 8_000;
/// How long an address of a host is tried alone, at most. The usual reason for no answer is an IPv6 address whose packets are
/// dropped.
const HEAD_START_MAX: Duration = Duration::from_millis(300);

mod download;

/// Where a node's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no TLS in this build.
    #[error("{0:?}: this build speaks no TLS; give an http:// address")]
    Tls(String),
    /// Something follows the port.
    #[error("{0:?} has a path; an endpoint is http://host:port")]
    Path(String),
    /// What is left is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Endpoint {
    /// Reads `http://host:port`, `host:port` or `host`; the port is 8000 if absent.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.starts_with("https://") {
            return Err(EndpointError::Tls(text.to_owned()));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(EndpointError::Path(text.to_owned()));
        }
        let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let rest = if has_port { rest.to_owned() } else { format!("{rest}:{DEFAULT_PORT}") };
        let (host, port) = split(&rest)?;
        Ok(Self { host, port })
    }

    fn authority(&self) -> String {
        join(&self.host, self.port)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// A request to any endpoint.
#[derive(Debug, Clone)]
#[must_use]
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    answer_bytes_max: usize,
}

impl Request {
    /// A request without a body. `path` has the query with it and is percent-encoded.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, path: path.into(), headers, body, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST of JSON.
    pub fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self::new(Method::POST, path).json(body.to_string())
    }

    /// A PUT of bytes.
    pub fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::PUT, path).header("content-type", "application/octet-stream").body(body)
    }

    /// With one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body, and no word on what it is.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With this body, declared as JSON.
    pub fn json(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Reads at most so many bytes of the answer's body.
    pub fn answer_bytes_max(self, answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, ..self }
    }

    fn build(&self, endpoint: &Endpoint) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let mut builder = hyper::Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header("host", endpoint.authority())
            .header("user-agent", concat!("quorate/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(self.body.clone()))
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// A header's text; `None` if it is absent or not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection: no byte of the request was sent.
    #[error("cannot reach {endpoint}: {detail}")]
    Unreachable {
        /// The node that was called.
        endpoint: Endpoint,
        /// The reason.
        detail: String,
    },
    /// There was a connection, and no byte of the request was sent.
    #[error("{endpoint}: {detail}")]
    NotSent {
        /// The node that was called.
        endpoint: Endpoint,
        /// The reason.
        detail: String,
    },
    /// The request may have been sent, in part or as a whole, and no whole answer came.
    #[error("{endpoint} {detail}")]
    Lost {
        /// The node that was called.
        endpoint: Endpoint,
        /// The reason.
        detail: String,
    },
}

impl CallError {
    /// Whether a byte of the request may have been sent: then a write may have happened.
    pub fn may_be_sent(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotSent { .. } => false,
            Self::Lost { .. } => true,
        }
    }
}

type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// An open connection. The future that sends a request drives it; no task runs beside.
pub struct Connection {
    endpoint: Endpoint,
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.endpoint)
    }
}

impl Connection {
    /// Connects to the first of the host's addresses that accepts; one that stays silent does not use up the time of the
    /// others.
    pub async fn open(endpoint: &Endpoint, deadline: Instant) -> Result<Self, CallError> {
        let failed = |detail| CallError::Unreachable { endpoint: endpoint.clone(), detail };
        let stream = timeout_at(deadline, connect(endpoint, deadline))
            .await
            .map_err(|_| failed("it does not answer in time".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        // Small requests on a loopback or a local network: waiting to fill a packet only adds latency.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { endpoint: endpoint.clone(), sender, driver: Box::pin(driver) })
    }

    /// Sends a request and reads its answer. After an error the connection cannot be used again.
    pub async fn send(&mut self, request: &Request, deadline: Instant) -> Result<Response, CallError> {
        let Self { endpoint, sender, driver } = self;
        let not_sent = |detail| CallError::NotSent { endpoint: endpoint.clone(), detail };
        let lost = |detail| CallError::Lost { endpoint: endpoint.clone(), detail };
        let ready = timeout_at(deadline, async {
            tokio::select! {
                ready = sender.ready() => ready.map_err(|error| error.to_string()),
                _ = &mut *driver => Err("the connection was closed".to_owned()),
            }
        });
        match ready.await {
            Ok(ready) => ready.map_err(not_sent)?,
            Err(_) => return Err(not_sent("it does not answer in time".to_owned())),
        }
        let built = request.build(endpoint);
        let built = built.map_err(|error| not_sent(format!("the request cannot be sent: {error}")))?;
        let answer = async {
            let response = sender.send_request(built).await.map_err(|error| describe(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, request.answer_bytes_max).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>(Response { status: head.status, headers: head.headers, body })
        };
        let mut answer = pin!(answer);
        let driven = timeout_at(deadline, async {
            let mut driving = true;
            loop {
                tokio::select! {
                    answer = &mut answer => return answer,
                    // What it has received is in the answer's hands already: the answer says how it ended.
                    _ = &mut *driver, if driving => driving = false,
                }
            }
        });
        match driven.await {
            Ok(answer) => answer.map_err(|detail| lost(format!("broke off: {detail}"))),
            Err(_) => Err(lost("did not answer in time".to_owned())),
        }
    }
}

/// One request on a connection of its own.
pub async fn call(endpoint: &Endpoint, request: &Request, deadline: Instant) -> Result<Response, CallError> {
    Connection::open(endpoint, deadline).await?.send(request, deadline).await
}

/// hyper's own text leaves the reason to `source`.
fn describe(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

async fn connect(endpoint: &Endpoint, deadline: Instant) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
    let addresses: Vec<_> = addresses.collect();
    let left = deadline.saturating_duration_since(Instant::now());
    first_accepted(&addresses, head_start(left, addresses.len()), &TcpStream::connect).await
}

/// An equal share of the time that is left, so that the last address is tried before the deadline.
fn head_start(left: Duration, addresses: usize) -> Duration {
    let share = left / u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    share.min(HEAD_START_MAX)
}

/// Dials the addresses in order, the next one when the one before has failed or its head start has passed; that one goes on
/// meanwhile. The error is that of the address that failed last.
async fn first_accepted<S, D, F>(addresses: &[SocketAddr], head_start: Duration, dial: &D) -> io::Result<S>
where
    D: Fn(SocketAddr) -> F,
    F: Future<Output = io::Result<S>>,
{
    let Some((&address, others)) = addresses.split_first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    };
    let mut first = pin!(dial(address));
    if others.is_empty() {
        return first.await;
    }
    let alone = timeout(head_start, &mut first).await;
    let mut others = Box::pin(first_accepted(others, head_start, dial));
    match alone {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => others.await,
        Err(_) => tokio::select! {
            stream = &mut first => if stream.is_ok() { stream } else { others.await },
            stream = &mut others => if stream.is_ok() { stream } else { first.await },
        },
    }
}

/// A path segment or query value, percent-encoded.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    // A segment of dots alone would be taken for a step in the tree of paths.
    if matches!(escaped.as_str(), "." | "..") { escaped.replace('.', "%2E") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_or_the_mistake_is_named() {
        for (text, shown) in [
            ("http://localhost:8001", "http://localhost:8001"),
            ("localhost:8001/", "http://localhost:8001"),
            ("db7", "http://db7:8000"),
            ("[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]:8000"),
        ] {
            assert_eq!(Endpoint::parse(text).expect(text).to_string(), shown);
        }
        for (text, part) in [
            ("https://h:1", "no TLS"),
            ("http://h:1/v1", "has a path"),
            ("h:x", "port must be a number"),
            ("", "not host:port"),
        ] {
            let message = Endpoint::parse(text).expect_err(text).to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    fn addresses<const N: usize>() -> [SocketAddr; N] {
        std::array::from_fn(|n| SocketAddr::from(([127, 0, 0, 1], u16::try_from(n).expect("few"))))
    }

    #[test]
    fn every_address_has_its_share_of_the_time_left() {
        let (short, long) = (Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(head_start(short, 4), Duration::from_millis(25));
        assert_eq!(head_start(long, 2), HEAD_START_MAX);
        assert_eq!((head_start(short, 0), head_start(Duration::ZERO, 2)), (short, Duration::ZERO));
    }

    #[tokio::test]
    async fn a_silent_address_does_not_keep_the_next_from_being_dialled() {
        let dial = async |address: SocketAddr| match address.port() {
            2 => Ok(2),
            1 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => std::future::pending().await,
        };
        let answered = first_accepted(&addresses::<3>(), Duration::from_millis(1), &dial).await;
        assert_eq!(answered.expect("the third accepts"), 2);
        let far = Duration::from_secs(3_600);
        let refused = first_accepted(&addresses::<3>()[1..], far, &dial).await;
        assert_eq!(refused.expect("the next follows a refusal at once"), 2);
        let last = first_accepted(&addresses::<2>()[1..], far, &dial).await.expect_err("it is the last");
        assert_eq!(last.kind(), io::ErrorKind::ConnectionRefused);
        let none = first_accepted(&[], far, &dial).await.expect_err("no address");
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_slow_address_goes_on_while_the_next_is_dialled() {
        let next_is_dialled = tokio::sync::Notify::new();
        for is_refused in [false, true] {
            let dial = async |address: SocketAddr| {
                if address.port() == 0 {
                    next_is_dialled.notified().await;
                    return Ok(0);
                }
                next_is_dialled.notify_one();
                if is_refused {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                std::future::pending().await
            };
            let answered = first_accepted(&addresses::<2>(), Duration::from_millis(1), &dial).await;
            assert_eq!(answered.expect("the first accepts after all"), 0);
        }
    }

    #[test]
    fn keys_are_escaped() {
        assert_eq!(escape("a/b c%ä"), "a%2Fb%20c%25%C3%A4");
        assert_eq!(escape(".."), "%2E%2E");
    }
}

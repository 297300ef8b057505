//! One HTTP/1.1 connection to one node, without TLS and without hidden retries: what matters is to know whether a byte
//! of a request may have left.
//!
//! It never: follows a redirect, sends a request twice, reads more than [`BODY_BYTES_MAX`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::config::cluster::{address, split_address};

/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Where a node's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `http://host:port`, `host:port` or `host`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err(format!("{text:?}: this build speaks no TLS; give an http:// address"));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(format!("{text:?} has a path; an endpoint is http://host:port"));
        }
        let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let rest = if has_port { rest.to_owned() } else { format!("{rest}:8000") };
        let (host, port) = split_address(&rest)?;
        Ok(Self { host, port })
    }

    fn authority(&self) -> String {
        address(&self.host, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// GET, PUT, POST, DELETE.
    pub(crate) method: Method,
    /// Path and query, escaped.
    pub(crate) path: String,
    /// Headers beyond those of every request.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Request {
    /// A GET.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A POST of JSON.
    pub(crate) fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: Method::POST, path: path.into(), headers, body: body.to_string().into() }
    }

    /// A PUT of bytes.
    pub(crate) fn put(path: impl Into<String>, body: Bytes) -> Self {
        let headers = vec![("content-type", "application/octet-stream".to_owned())];
        Self { method: Method::PUT, path: path.into(), headers, body }
    }

    fn build(&self, endpoint: &Endpoint) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let mut builder = hyper::Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header("host", endpoint.authority())
            .header("user-agent", concat!("quorate/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        builder.body(Full::new(self.body.clone()))
    }
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: hyper::HeaderMap,
    /// The whole body.
    pub(crate) body: Bytes,
}

impl Response {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// No byte of the request was sent.
    NotSent(String),
    /// A byte of it may have been sent.
    Sent(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(detail) | Self::Sent(detail) => f.write_str(detail),
        }
    }
}

type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// An open connection. Whoever sends drives it; nothing runs beside.
pub(crate) struct Connection {
    endpoint: Endpoint,
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

impl Connection {
    /// Connects to the first of the host's addresses that answers.
    pub(crate) async fn open(endpoint: &Endpoint, deadline: Instant) -> Result<Self, Lost> {
        let lost = |detail: String| Lost::NotSent(format!("cannot reach {endpoint}: {detail}"));
        let stream = timeout_at(deadline, connect(endpoint))
            .await
            .map_err(|_| lost("it does not answer in time".to_owned()))?
            .map_err(|error| lost(error.to_string()))?;
        // Small requests on a loopback or a local network: waiting to fill a packet only adds latency.
        stream.set_nodelay(true).map_err(|error| lost(error.to_string()))?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| lost(error.to_string()))?;
        Ok(Self { endpoint: endpoint.clone(), sender, driver: Box::pin(driver) })
    }

    /// Sends a request and reads its answer. After an error the connection is of no use.
    pub(crate) async fn send(&mut self, request: &Request, deadline: Instant) -> Result<Response, Lost> {
        let Self { endpoint, sender, driver } = self;
        let ready = timeout_at(deadline, async {
            tokio::select! {
                ready = sender.ready() => ready.map_err(|error| error.to_string()),
                _ = &mut *driver => Err("the connection was closed".to_owned()),
            }
        });
        match ready.await {
            Ok(Ok(())) => {}
            Ok(Err(detail)) => return Err(Lost::NotSent(format!("{endpoint}: {detail}"))),
            Err(_) => return Err(Lost::NotSent(format!("{endpoint}: it does not answer in time"))),
        }
        let request =
            request.build(endpoint).map_err(|error| Lost::NotSent(format!("request not sent: {error}")))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| describe(&error))?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let mut answer = std::pin::pin!(answer);
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
            Ok(Ok(response)) => Ok(response),
            Ok(Err(detail)) => Err(Lost::Sent(format!("{endpoint} broke off: {detail}"))),
            Err(_) => Err(Lost::Sent(format!("{endpoint} did not answer in time"))),
        }
    }
}

/// hyper's own text leaves the reason to `source`.
fn describe(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

async fn connect(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let mut last = None;
    for address in tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address")))
}

/// A path segment or query value, escaped.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    // A segment of dots alone would be taken for a way through the tree.
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
            let message = Endpoint::parse(text).expect_err(text);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn keys_are_escaped() {
        assert_eq!(escape("a/b c%ä"), "a%2Fb%20c%25%C3%A4");
        assert_eq!(escape(".."), "%2E%2E");
    }
}

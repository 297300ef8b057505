//! Served nodes on loopback and in temporary directories, and requests to them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{free_ports, quick};
use crate::wait::eventually;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate::Config;
use quorate_server::http::{Endpoint, HeaderMap, Method, Request, StatusCode, call};
use quorate_server::{ApiOptions, Listed, Running, ServeOptions, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The servers of one cluster.
pub struct Servers {
    directory: TempDir,
    listed: Vec<Listed>,
    api: ApiOptions,
    config: Config,
    running: BTreeMap<usize, Running>,
}

/// A request to one node.
#[derive(Debug, Clone)]
#[must_use]
pub struct Call {
    endpoint: Endpoint,
    request: Request,
}

impl Call {
    /// To a URL with a path.
    pub fn to(method: Method, url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("an http URL")?;
        let at = address.find('/').context("a path")?;
        let endpoint = Endpoint::parse(&address[..at])?;
        Ok(Self { endpoint, request: Request::new(method, &address[at..]) })
    }

    /// With one more header.
    pub fn header(self, name: &str, value: impl Into<String>) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    /// With a body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { request: self.request.body(body), ..self }
    }

    /// With a body of JSON.
    pub fn json(self, body: &Value) -> Self {
        Self { request: self.request.json(body.to_string()), ..self }
    }
}

/// What [`Answer::problem`] says of a problem with this status, code and outcome.
pub fn problem(status: u16, code: &str, outcome: &str) -> (u16, String, String) {
    (status, code.to_owned(), outcome.to_owned())
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request on a connection of its own and reads the whole answer. An error is a
    /// [`CallError`](quorate_server::http::CallError).
    pub async fn of(Call { endpoint, request }: Call) -> Result<Self> {
        let response = call(&endpoint, &request, Instant::now() + ANSWER_TIMEOUT).await?;
        Ok(Self { status: response.status, headers: response.headers, body: response.body.to_vec() })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The code of a problem, checked for everything a problem says.
    #[track_caller]
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        let text =
            |field: &str| body[field].as_str().unwrap_or_else(|| panic!("no {field}: {body}")).to_owned();
        let code = text("code");
        assert_eq!(text("type"), format!("urn:quorate:error:{code}"));
        assert_eq!(body["status"], self.status.as_u16());
        assert!(!text("title").is_empty() && !text("detail").is_empty());
        assert!(body.get("leader").is_some() && body.get("retry_after_ms").is_some(), "{body}");
        assert_eq!(body["retry_after_ms"].is_null(), self.header("retry-after").is_empty());
        (self.status.as_u16(), code, text("outcome"))
    }
}

impl Servers {
    /// Starts `count` nodes and waits for a leader.
    pub async fn start(count: usize) -> Result<Self> {
        Self::start_with(count, ApiOptions::default()).await
    }

    /// The same, with other settings of their APIs.
    pub async fn start_with(count: usize, api: ApiOptions) -> Result<Self> {
        Self::start_as(count, api, quick()).await
    }

    /// The same, with another configuration of the nodes.
    pub async fn start_as(count: usize, api: ApiOptions, config: Config) -> Result<Self> {
        let ports = free_ports(count)?;
        let entry = |(at, port)| Listed { id: format!("node{at}"), host: "127.0.0.1".into(), port };
        let listed = ports.into_iter().enumerate().map(entry).collect();
        let mut servers =
            Self { directory: tempfile::tempdir()?, listed, api, config, running: BTreeMap::new() };
        for at in 0..count {
            servers.start_one(at).await?;
        }
        servers.leader().await?;
        Ok(servers)
    }

    /// Starts a node that is not running.
    pub async fn start_one(&mut self, at: usize) -> Result<()> {
        let id = format!("node{at}");
        let options = ServeOptions {
            host: "127.0.0.1".into(),
            port: self.listed[at].port,
            cluster: self.listed.clone(),
            config: self.config.clone(),
            api: self.api.clone(),
            ..ServeOptions::new(&id, self.directory.path().join(&id))
        };
        let running = serve(options).await.with_context(|| format!("{id} does not start"))?;
        self.running.insert(at, running);
        Ok(())
    }

    /// A node's data directory.
    pub fn data(&self, at: usize) -> std::path::PathBuf {
        self.directory.path().join(&self.listed[at].id)
    }

    /// A running node.
    pub fn running(&self, at: usize) -> &Running {
        &self.running[&at]
    }

    /// The address of a path on a node.
    pub fn url(&self, at: usize, path: &str) -> String {
        format!("http://{}{path}", self.running[&at].api_addr())
    }

    /// A request to a node.
    pub fn request(&self, at: usize, method: Method, path: &str) -> Call {
        let endpoint = self.running[&at].api_addr().into();
        Call { endpoint, request: Request::new(method, path) }
    }

    /// `GET`.
    pub async fn get(&self, at: usize, path: &str) -> Result<Answer> {
        Answer::of(self.request(at, Method::GET, path)).await
    }

    /// `PUT`.
    pub async fn put(&self, at: usize, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        Answer::of(self.request(at, Method::PUT, path).body(body)).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, at: usize, path: &str, body: &Value) -> Result<Answer> {
        Answer::of(self.request(at, Method::POST, path).json(body)).await
    }

    /// `POST /command`.
    pub async fn command(&self, at: usize, body: &Value) -> Result<Answer> {
        self.post(at, "/command", body).await
    }

    /// The running node that leads, once all running nodes agree on it.
    pub async fn leader(&self) -> Result<usize> {
        let leader = eventually("one leader on all nodes", async || {
            let mut known = None;
            for at in self.running.keys() {
                let view = self.get(*at, "/v1/cluster").await.ok()?.json();
                let leader = view["leader"].as_str()?.to_owned();
                if known.get_or_insert_with(|| leader.clone()) != &leader {
                    return None;
                }
            }
            let at = known?.trim_start_matches("node").parse::<usize>().ok()?;
            self.running.contains_key(&at).then_some(at)
        });
        leader.await
    }

    /// Ends a node as a killed process would.
    pub async fn kill(&mut self, at: usize) {
        if let Some(running) = self.running.remove(&at) {
            running.shutdown(false).await;
        }
    }

    /// Ends a node in order.
    pub async fn stop(&mut self, at: usize) {
        if let Some(running) = self.running.remove(&at) {
            running.shutdown(true).await;
        }
    }

    /// Ends all of them.
    pub async fn stop_all(mut self) -> Result<()> {
        for at in self.running.keys().copied().collect::<Vec<_>>() {
            self.stop(at).await;
        }
        ensure!(self.running.is_empty());
        Ok(())
    }
}

//! A request in text, to the router of a real node in memory: no socket, so that only our own code is in the way.
//!
//! ```text
//! PUT /v1/kv/k?timeout_ms=9
//! idempotency-key: a/1
//!
//! the body, as it is
//! ```

use std::cell::RefCell;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use quorate::store::SimDisk;
use quorate::{GroupHandle, Node};
use quorate_server::api::ProblemBody;
use quorate_server::machine::DataMachine;
use quorate_server::{ApiOptions, AppState, GROUP, router};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// A node gets a successor after so many requests: all they wrote stays in its memory.
const REQUESTS_MAX: u64 = 20_000;

struct Served {
    runtime: Runtime,
    node: Node,
    group: GroupHandle<DataMachine>,
    router: Router,
    requests: u64,
}

thread_local! {
    static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) };
}

pub(super) fn run(input: &[u8]) {
    let Some(request) = request(input) else { return };
    SERVED.with_borrow_mut(|served| {
        let used_up = served.take_if(|served| served.requests >= REQUESTS_MAX);
        if let Some(Served { runtime, node, .. }) = used_up {
            runtime.block_on(node.stop());
        }
        served.get_or_insert_with(Served::start).ask(request);
    });
}

/// The request, if it is one that HTTP can carry. What stops actors or moves the leader is left out: it answers well,
/// but whatever comes after it waits.
fn request(input: &[u8]) -> Option<Request<Body>> {
    let at = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let (head, body) = (&input[..at], input.get(at + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, path) = first.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let mut request = Request::builder().method(&method).uri(path).body(Body::from(body.to_vec())).ok()?;
    if method == Method::POST
        && ["/v1/actors", "/v1/leader"].iter().any(|one| request.uri().path().starts_with(one))
    {
        return None;
    }
    for line in lines.take(16) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    // Undeclared JSON is refused before anything of it is looked at.
    request.headers_mut().entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    Some(request)
}

impl Served {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (node, group) = runtime.block_on(async {
            let node = Node::builder("node0", "nowhere").disk(Box::new(SimDisk::new()));
            let node = node.on_callers_runtime().inline_disk().start().await.expect("a node in memory");
            let group = node.group(GROUP, DataMachine::default()).await.expect("its group");
            (node, group)
        });
        let state = AppState::new(node.clone(), group.clone(), "localhost:1", ApiOptions::default());
        let mut served = Self { runtime, node, group, router: router(state), requests: 0 };
        served.settle();
        served
    }

    fn send(&self, request: Request<Body>) -> (Response<()>, Bytes) {
        self.runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a body in memory").to_bytes();
            (Response::from_parts(parts, ()), body)
        })
    }

    /// Writes something and waits for it: whatever was under way before is done then.
    fn settle(&mut self) {
        let request = Request::put("/v1/kv/settled").body(Body::from("1")).expect("a request");
        let (response, body) = self.send(request);
        assert_eq!(response.status(), StatusCode::OK, "{body:?}");
    }

    /// The last index of the log.
    fn last(&self) -> u64 {
        let status = self.runtime.block_on(self.group.status());
        status.role.expect("a replica that leads").last
    }

    fn ask(&mut self, request: Request<Body>) {
        self.requests += 1;
        let (asked, is_head) = (format!("{request:?}"), request.method() == Method::HEAD);
        let before = self.last();
        let (response, body) = self.send(request);
        let status = response.status();
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{asked}: {body:?}");
        if status.is_success() || is_head {
            return;
        }
        if status.is_redirection() {
            assert!(response.headers().contains_key(header::LOCATION), "{asked}");
            return;
        }
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{asked}: {body:?}");
        let problem: ProblemBody = serde_json::from_slice(&body).expect("a problem");
        assert!(!problem.code.is_empty() && problem.status == status.as_u16(), "{asked}: {problem:?}");
        let said: Value = serde_json::from_slice(&body).expect("JSON");
        match said["outcome"].as_str().expect("every problem has an outcome") {
            // It never happened: nothing is in the log, now or later.
            "refused" => {
                assert_eq!(self.last(), before, "{asked} was refused, and yet is in the log: {problem:?}");
            }
            "failed" => {}
            "unknown" => self.settle(),
            other => panic!("{asked}: outcome {other}"),
        }
    }
}

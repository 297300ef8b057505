//! A client of `/command`: what it asked, and what it may take the answer for.

use std::net::SocketAddr;
use std::time::Duration;

use quorate_testkit::history::{Call, Reply, Value};
use serde_json::{Value as Json, json};

use crate::http::{Http, Sent};

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It happened, and this is the answer.
    Reply(Reply),
    /// It will never happen.
    Refused,
    /// It may have happened, or may yet.
    Unknown,
}

/// A client that talks to one node at a time.
#[derive(Debug)]
pub(crate) struct Client {
    id: u32,
    http: Http,
    patience: Duration,
    freshness: &'static str,
}

impl Client {
    pub(crate) fn new(id: u32, node: SocketAddr, patience: Duration) -> Self {
        Self { id, http: Http::new(node, patience), patience, freshness: "" }
    }

    /// Its reads are what one node holds, old or not.
    pub(crate) fn stale(self) -> Self {
        Self { freshness: "&consistency=stale", ..self }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn go_to(&mut self, node: SocketAddr) {
        self.http = Http::new(node, self.patience);
    }

    /// Sends one command once. `once` is the sequence of its idempotency key.
    pub(crate) fn call(&mut self, key: &str, call: Call, once: Option<u64>) -> Told {
        // The node gives up before its client does: its answer says more than a connection that is cut off.
        let freshness = if call == Call::Read { self.freshness } else { "" };
        let path = format!("/command?timeout_ms={}{freshness}", self.patience.as_millis() * 2 / 3);
        let headers = once.map(|sequence| format!("idempotency-key: client{}/{sequence}\r\n", self.id));
        match self.http.send("POST", &path, &headers.unwrap_or_default(), &body(key, call).to_string()) {
            Sent::Answer { status, body } => told(call, status, &body),
            Sent::Unsent => Told::Refused,
            Sent::Lost => Told::Unknown,
        }
    }
}

fn body(key: &str, call: Call) -> Json {
    match call {
        Call::Read => json!({"operation": "get", "key": key}),
        Call::Write(value) => json!({"operation": "set", "key": key, "value": value.to_string()}),
        Call::CompareAndSet { expected, value } => json!({
            "operation": "cas", "key": key, "expected": expected.map(|value| value.to_string()),
            "value": value.to_string()
        }),
        Call::Delete => json!({"operation": "delete", "key": key}),
    }
}

/// What an answer means. One that breaks the contract of the API stops the test.
fn told(call: Call, status: u16, body: &[u8]) -> Told {
    let text = String::from_utf8_lossy(body);
    let answer: Json =
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {status} {text}"));
    // The client's mistakes and the server's: a test that did nothing but make them would show nothing.
    assert!(!matches!(status, 400 | 404 | 405 | 413 | 422 | 500), "{status} {text}");
    if status != 200 {
        return match answer["outcome"].as_str() {
            Some("refused" | "failed") => Told::Refused,
            Some("unknown") => Told::Unknown,
            Some(_) | None => panic!("an error without an outcome: {status} {text}"),
        };
    }
    let truth = |field: &str| answer[field].as_bool().unwrap_or_else(|| panic!("no {field}: {text}"));
    Told::Reply(match call {
        Call::Read => Reply::Value(value(&answer)),
        Call::Write(_) => Reply::Written,
        Call::CompareAndSet { .. } if truth("swapped") => Reply::Swapped,
        Call::CompareAndSet { .. } => Reply::Kept { current: value(&answer) },
        Call::Delete => Reply::Deleted { existed: truth("deleted") },
    })
}

fn value(answer: &Json) -> Option<Value> {
    let value = answer.get("value").unwrap_or_else(|| panic!("no value: {answer}"));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("never written: {answer}"));
    value.as_str().map(number)
}

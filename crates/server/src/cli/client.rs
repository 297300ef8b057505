//! Asks the cluster: endpoints in turn while nothing was sent, then one exit code.
//!
//! The rule (`safety.md` 13): exit 4 only if a write did not happen: no byte of it was sent, or a node said *refused*.
//! Otherwise 5. A node's `outcome` decides, not its status.

use std::time::Duration;

use quorate_server::http::{CallError, Connection, Endpoint, Request, Response};
use serde_json::Value;
use tokio::time::Instant;

use super::exit::{Exit, Failure};
use crate::settings::Settings;

/// Tells a node how long it may take, in milliseconds.
const TIMEOUT_HEADER: &str = "quorate-timeout-ms";

/// Whether a request changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No: it may be sent to another node, whatever happened.
    Read,
    /// Yes: once a byte was sent, it may not be sent again.
    Write,
}

/// The endpoints of a cluster and how long they may take.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// In the order in which they are tried.
    pub(crate) endpoints: Vec<Endpoint>,
    /// For a command with all its tries.
    pub(crate) timeout: Duration,
}

/// An answer other than a success.
#[derive(Debug, Clone)]
struct Refusal {
    failure: Failure,
    /// Nothing happened, and another node may accept it.
    try_next: bool,
}

impl Api {
    /// From the settings.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Failure> {
        let endpoints = settings.list("endpoints");
        let endpoints: Result<Vec<_>, _> = endpoints.iter().map(|text| Endpoint::parse(text)).collect();
        let endpoints = endpoints.map_err(|error| settings.wrong("endpoints", &error.to_string()))?;
        if endpoints.is_empty() {
            return Err(settings.wrong("endpoints", "name at least one, as http://localhost:8000").into());
        }
        let timeout = settings.span("timeout").unwrap_or(Duration::from_secs(5));
        if timeout.is_zero() {
            return Err(settings.wrong("timeout", "give more than nothing").into());
        }
        Ok(Self { endpoints, timeout })
    }

    /// Sends a request; the answer of a success.
    pub(crate) async fn send(&self, request: &Request, effect: Effect) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut last: Option<Failure> = None;
        for (tried, endpoint) in self.endpoints.iter().enumerate() {
            let left = u32::try_from(self.endpoints.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            let failure = match attempt(endpoint, request, Instant::now() + share).await {
                Ok(response) if response.status.is_success() => return Ok(response),
                Ok(response) => {
                    let refusal = read_problem(endpoint, &response, effect);
                    if !refusal.try_next {
                        return Err(refusal.failure);
                    }
                    refusal.failure
                }
                Err(error) if effect == Effect::Write && error.may_be_sent() => {
                    let remedy = "the write may have happened or may yet happen: read before you try again";
                    return Err(Failure::new(Exit::Unknown, format!("outcome unknown: {error}; {remedy}")));
                }
                // An answer of one node tells more than that another one was not reached.
                Err(CallError::Unreachable { .. }) if last.is_some() => continue,
                Err(error) => Failure::new(Exit::Unreachable, error.to_string()),
            };
            last = Some(failure);
        }
        let Failure { exit, message } = last.unwrap_or_else(|| Failure::usage("no endpoint was given"));
        let remedy = match exit {
            Exit::Unreachable if self.endpoints.len() == 1 => {
                "; name other nodes with --endpoints, or start this one"
            }
            _ => "",
        };
        Err(Failure { exit, message: format!("{message}{remedy}") })
    }

    /// As [`send`](Self::send), for an answer in JSON.
    pub(crate) async fn json(&self, request: &Request, effect: Effect) -> Result<Value, Failure> {
        let response = self.send(request, effect).await?;
        parse_json(&response, effect)
    }
}

/// Reads the body of a success.
pub(crate) fn parse_json(response: &Response, effect: Effect) -> Result<Value, Failure> {
    serde_json::from_slice(&response.body).map_err(|error| {
        let exit = if effect == Effect::Write { Exit::Unknown } else { Exit::Failed };
        Failure::new(exit, format!("the answer is not JSON ({error}): is the endpoint a quorate API?"))
    })
}

/// Asks one endpoint. The node gets a tenth less time than there is, so that its answer arrives before the deadline.
pub(crate) async fn attempt(
    endpoint: &Endpoint,
    request: &Request,
    deadline: Instant,
) -> Result<Response, CallError> {
    let mut connection = Connection::open(endpoint, deadline).await?;
    let left = deadline.saturating_duration_since(Instant::now());
    let given = left.saturating_sub((left / 10).min(Duration::from_millis(500)));
    let request = request.clone().header(TIMEOUT_HEADER, given.as_millis().max(1).to_string());
    connection.send(&request, deadline).await
}

/// Reads `application/problem+json`.
fn read_problem(endpoint: &Endpoint, response: &Response, effect: Effect) -> Refusal {
    let status = response.status;
    let problem: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let Some(outcome) = problem["outcome"].as_str() else {
        // Another API, or a proxy before this one: it may have passed a write on.
        let exit = match effect {
            Effect::Write if status.is_server_error() => Exit::Unknown,
            Effect::Write | Effect::Read => Exit::Failed,
        };
        let message = format!("{endpoint} answered {status} without a problem body: is it a quorate API?");
        return Refusal { failure: Failure::new(exit, message), try_next: false };
    };
    let code = problem["code"].as_str().unwrap_or_default();
    let exit = exit_of(outcome, code, status.as_u16(), effect);
    let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    let details = [text("detail"), text("title"), status.to_string()];
    let detail = details.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    // The detail of the code `unknown` begins with these words itself.
    let label = if exit == Exit::Unknown && code != "unknown" { "outcome unknown: " } else { "" };
    let code = if code.is_empty() { String::new() } else { format!(" [{code}]") };
    let failure = Failure::new(exit, format!("{label}{detail}{code}"));
    Refusal { failure, try_next: exit == Exit::Unreachable }
}

/// The exit code of a problem. Unknown codes of a newer node fall back on outcome and status.
fn exit_of(outcome: &str, code: &str, status: u16, effect: Effect) -> Exit {
    match (outcome, effect) {
        ("unknown", Effect::Write) => return Exit::Unknown,
        ("unknown", Effect::Read) => return Exit::Unreachable,
        _ => {}
    }
    match (code, status) {
        ("no_space", _) | (_, 507) => Exit::DiskFull,
        ("busy", _) | (_, 429) => Exit::Busy,
        ("faulted" | "no_such_path" | "no_such_group", _) => Exit::Failed,
        (_, 412) => Exit::Precondition,
        (_, 404) => Exit::NotFound,
        (_, 502..=504) => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_millis(300);

    async fn listener() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = listener.local_addr().expect("bound").into();
        (listener, endpoint)
    }

    /// Answers every request the same, and says how many it saw.
    async fn answering(listener: TcpListener, answer: &str) -> usize {
        let mut seen = 0;
        while let Ok(Ok((mut stream, _))) = tokio::time::timeout(SOON, listener.accept()).await {
            let mut buffer = [0; 4096];
            seen += usize::from(stream.read(&mut buffer).await.expect("read") > 0);
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
        seen
    }

    fn problem(status: &str, outcome: &str, code: &str) -> String {
        let body = format!("{{\"outcome\":\"{outcome}\",\"code\":\"{code}\",\"detail\":\"said\"}}");
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    async fn ask(endpoints: Vec<Endpoint>, effect: Effect) -> Failure {
        let api = Api { endpoints, timeout: SOON };
        api.send(&Request::put("/v1/kv/k", "v"), effect).await.expect_err("no success")
    }

    fn closed_port() -> Endpoint {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").into()
    }

    #[tokio::test]
    async fn rule_13_four_only_if_no_byte_was_sent() {
        assert_eq!(ask(vec![closed_port(), closed_port()], Effect::Write).await.exit, Exit::Unreachable);
        // It takes the request and never answers.
        let (silent, endpoint) = listener().await;
        let (other, elsewhere) = listener().await;
        let asked = ask(vec![endpoint, elsewhere], Effect::Write);
        let (failure, seen) = tokio::join!(asked, answering(other, "HTTP/1.1 200 OK\r\n\r\n"));
        assert_eq!((failure.exit, seen), (Exit::Unknown, 0), "not sent a second time: {failure}");
        drop(silent);
        // It takes the request and breaks off.
        let (broken, endpoint) = listener().await;
        let (failure, _) = tokio::join!(ask(vec![endpoint], Effect::Write), answering(broken, ""));
        assert_eq!(failure.exit, Exit::Unknown, "{failure}");
    }

    #[tokio::test]
    async fn rule_13_the_outcome_decides_and_not_the_status() {
        for (status, outcome, code, effect, exit) in [
            ("503 X", "refused", "no_leader", Effect::Write, Exit::Unreachable),
            ("503 X", "unknown", "unknown", Effect::Write, Exit::Unknown),
            ("504 X", "unknown", "unknown", Effect::Write, Exit::Unknown),
            ("409 X", "failed", "superseded", Effect::Write, Exit::Failed),
            ("409 X", "refused", "change_in_progress", Effect::Write, Exit::Failed),
            ("409 X", "unknown", "stale_sequence", Effect::Write, Exit::Unknown),
            ("412 X", "failed", "precondition_failed", Effect::Write, Exit::Precondition),
            ("429 X", "refused", "busy", Effect::Write, Exit::Busy),
            ("503 X", "refused", "no_space", Effect::Write, Exit::DiskFull),
            ("404 X", "failed", "not_found", Effect::Read, Exit::NotFound),
        ] {
            let (node, endpoint) = listener().await;
            let answer = problem(status, outcome, code);
            let (failure, _) = tokio::join!(ask(vec![endpoint], effect), answering(node, &answer));
            assert_eq!(failure.exit, exit, "{status} {outcome} {code}: {failure}");
            assert!(failure.message.contains("said"), "{failure}");
        }
    }

    #[test]
    fn rule_13_every_code_of_the_api_has_its_exit() {
        for code in quorate_server::api::Code::ALL {
            let about = code.about();
            let outcome = format!("{:?}", about.outcome).to_lowercase();
            let exit = exit_of(&outcome, about.name, about.status.as_u16(), Effect::Write);
            assert_eq!(exit == Exit::Unknown, outcome == "unknown", "{}", about.name);
            let refused = [Exit::Unreachable, Exit::Busy, Exit::DiskFull].contains(&exit);
            assert!(!refused || outcome == "refused", "{} is {outcome}, not refused", about.name);
        }
    }

    #[tokio::test]
    async fn what_was_refused_is_asked_of_the_next() {
        let (first, one) = listener().await;
        let (second, two) = listener().await;
        let refused = problem("503 X", "refused", "no_leader");
        let api = Api { endpoints: vec![closed_port(), one, two], timeout: Duration::from_secs(5) };
        let request = Request::get("/v1/status");
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let (answer, _, seen) = tokio::join!(
            api.json(&request, Effect::Write),
            answering(first, &refused),
            answering(second, ok)
        );
        assert_eq!((answer, seen), (Ok(serde_json::json!({})), 1));
    }
}

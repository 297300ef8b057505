//! Asks the cluster: its endpoints side by side for a read, and for a write in turn while nothing was sent; then one exit code.
//!
//! The rule (`safety.md` 13): exit 4 only if a write did not happen: no byte of it was sent, or a node said *refused*.
//! Otherwise 5. A node's `outcome` decides, not its status.

use std::ops::ControlFlow;
use std::time::Duration;

use quorate_server::http::{CallError, Connection, Endpoint, Request, Response};
use serde_json::Value;
use tokio::time::Instant;

use super::endpoints::SideBySide;
use super::exit::{Exit, Failure};
use crate::settings::Settings;

/// Tells a node how long it may take, in milliseconds.
const TIMEOUT_HEADER: &str = "quorate-timeout-ms";

/// What to do about a write that may have happened.
pub(crate) const READ_FIRST: &str =
    "the write may have happened or may yet happen: read before you try again";

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
    /// In the order in which they are started.
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
        Ok(Self { endpoints, timeout })
    }

    /// Sends a request; the answer of a success.
    pub(crate) async fn send(&self, request: &Request, effect: Effect) -> Result<Response, Failure> {
        match effect {
            Effect::Read => self.read(request).await,
            Effect::Write => self.write(request).await,
        }
    }

    /// Asks the endpoints side by side; the first answer that another node would not improve on is the answer.
    async fn read(&self, request: &Request) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        let request = request.clone();
        let mut asked = SideBySide::new(&self.endpoints, self.timeout, move |endpoint: Endpoint| {
            let request = request.clone();
            async move {
                let answer = attempt(&endpoint, &request, deadline).await;
                (endpoint, answer)
            }
        });
        let mut tried = Tried::default();
        while let Some((endpoint, answer)) = asked.next().await {
            match answer {
                Ok(response) => match tried.answered(&endpoint, response, Effect::Read) {
                    ControlFlow::Break(answer) => return answer,
                    ControlFlow::Continue(()) => {}
                },
                Err(error) => tried.lost(&endpoint, &error),
            }
        }
        Err(tried.failure(&self.endpoints))
    }

    /// Connects to the endpoints side by side, and sends the request on the first connection there is. Only what was refused is
    /// sent on the next one.
    async fn write(&self, request: &Request) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut connecting =
            SideBySide::new(&self.endpoints, self.timeout, move |endpoint: Endpoint| async move {
                let opened = Connection::open(&endpoint, deadline).await;
                (endpoint, opened)
            });
        let mut tried = Tried::default();
        while let Some((endpoint, opened)) = connecting.next().await {
            // A node that waits for a leader may refuse at the end of its time: the others then need some too.
            let left = u32::try_from(connecting.left() + 1).unwrap_or(u32::MAX);
            let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
            let answer = match opened {
                Ok(mut connection) => send_on(&mut connection, request, until).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(response) => match tried.answered(&endpoint, response, Effect::Write) {
                    ControlFlow::Break(answer) => return answer,
                    ControlFlow::Continue(()) => {}
                },
                Err(error) if error.may_be_sent() => {
                    return Err(Failure::new(
                        Exit::Unknown,
                        format!("outcome unknown: {error}; {READ_FIRST}"),
                    ));
                }
                Err(error) => tried.lost(&endpoint, &error),
            }
        }
        Err(tried.failure(&self.endpoints))
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

/// Asks one endpoint.
pub(crate) async fn attempt(
    endpoint: &Endpoint,
    request: &Request,
    deadline: Instant,
) -> Result<Response, CallError> {
    send_on(&mut Connection::open(endpoint, deadline).await?, request, deadline).await
}

/// The node gets a tenth less time than there is, so that its answer arrives before the deadline.
pub(crate) async fn send_on(
    connection: &mut Connection,
    request: &Request,
    deadline: Instant,
) -> Result<Response, CallError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let given = left.saturating_sub((left / 10).min(Duration::from_millis(500)));
    let request = request.clone().header(TIMEOUT_HEADER, given.as_millis().max(1).to_string());
    connection.send(&request, deadline).await
}

/// The endpoints that were tried, and why none of them is the answer yet.
#[derive(Debug, Default)]
struct Tried {
    /// What a node answered: it tells more than that another one was not reached.
    refused: Option<Failure>,
    lost: Vec<(Endpoint, String)>,
}

impl Tried {
    /// An answer: what the command ends with, or a refusal that the next node may not share.
    fn answered(
        &mut self,
        endpoint: &Endpoint,
        response: Response,
        effect: Effect,
    ) -> ControlFlow<Result<Response, Failure>> {
        if response.status.is_success() {
            return ControlFlow::Break(Ok(response));
        }
        let refusal = read_problem(endpoint, &response, effect);
        if !refusal.try_next {
            return ControlFlow::Break(Err(refusal.failure));
        }
        self.refused = Some(refusal.failure);
        ControlFlow::Continue(())
    }

    fn lost(&mut self, endpoint: &Endpoint, error: &CallError) {
        self.lost.push((endpoint.clone(), error.to_string()));
    }

    /// What the command ends with once all endpoints are tried: every one that was not reached is named, in the order in which
    /// they were given.
    fn failure(mut self, endpoints: &[Endpoint]) -> Failure {
        let place = |endpoint: &Endpoint| endpoints.iter().position(|other| other == endpoint);
        self.lost.sort_by_key(|(endpoint, _)| place(endpoint));
        let lost: Vec<String> = self.lost.into_iter().map(|(_, error)| error).collect();
        match self.refused {
            Some(refused) => refused,
            None if endpoints.len() == 1 => {
                let remedy = "name other nodes with --endpoints, or start this one";
                Failure::new(Exit::Unreachable, format!("{}; {remedy}", lost.join("; ")))
            }
            None => Failure::new(Exit::Unreachable, lost.join("; ")),
        }
    }
}

/// Why a node refused, of an answer that is no success.
pub(crate) fn refused(endpoint: &Endpoint, response: &Response, effect: Effect) -> Failure {
    read_problem(endpoint, response, effect).failure
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
        ("bad_member", _) => Exit::Usage,
        ("faulted" | "no_such_path" | "no_such_group", _) => Exit::Failed,
        ("members_outdated" | "transfer_refused", _) | (_, 412) => Exit::Precondition,
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
    /// How long a test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(60);

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
            ("409 X", "refused", "members_outdated", Effect::Write, Exit::Precondition),
            ("409 X", "refused", "transfer_refused", Effect::Write, Exit::Precondition),
            ("504 X", "unknown", "transfer_unfinished", Effect::Write, Exit::Unknown),
            ("504 X", "unknown", "change_unfinished", Effect::Write, Exit::Unknown),
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
    async fn a_slow_answer_counts_although_the_next_endpoint_is_asked_meanwhile() {
        let (first, one) = listener().await;
        let (second, two) = listener().await;
        let api = Api { endpoints: vec![one, two], timeout: Duration::from_secs(60) };
        let answering = async {
            let mut buffer = [0; 4096];
            let (mut slow, _) = first.accept().await.expect("asked first");
            assert!(slow.read(&mut buffer).await.expect("read") > 0);
            let (silent, _) = second.accept().await.expect("asked meanwhile");
            let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            slow.write_all(ok.as_bytes()).await.expect("it still waits");
            (slow, silent)
        };
        let request = Request::get("/v1/status");
        let both = async { tokio::join!(api.json(&request, Effect::Read), answering) };
        let (answer, _) = tokio::time::timeout(PATIENCE, both).await.expect("both are asked");
        assert_eq!(answer, Ok(serde_json::json!({})));
    }

    /// A listener whose queue is full: the system drops what is sent to it, as a firewall does.
    fn black_hole() -> (socket2::Socket, Vec<std::net::TcpStream>, Endpoint) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("bound");
        socket.listen(0).expect("listens");
        let address = socket.local_addr().expect("bound").as_socket().expect("IPv4");
        let connect = || std::net::TcpStream::connect_timeout(&address, SOON).ok();
        (socket, std::iter::from_fn(connect).collect(), address.into())
    }

    #[tokio::test]
    async fn an_endpoint_whose_packets_are_dropped_holds_no_write_up() {
        let (_socket, _queued, dropping) = black_hole();
        let (good, reached) = listener().await;
        // Far longer than the test waits: a share of it must not pass before the next endpoint is tried.
        let api = Api { endpoints: vec![dropping, reached], timeout: Duration::from_secs(86_400) };
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let request = Request::put("/v1/kv/k", "v");
        let answering = async {
            let (mut stream, _) = good.accept().await.expect("reached");
            let mut buffer = [0; 4096];
            assert!(stream.read(&mut buffer).await.expect("read") > 0);
            stream.write_all(ok.as_bytes()).await.expect("written");
        };
        let both = async { tokio::join!(api.send(&request, Effect::Write), answering) };
        let (answer, ()) = tokio::time::timeout(PATIENCE, both).await.expect("the good one is reached");
        assert!(answer.is_ok_and(|answer| answer.status.is_success()));
    }

    #[tokio::test]
    async fn every_endpoint_that_was_not_reached_is_named() {
        let (one, two) = (closed_port(), closed_port());
        let failure = ask(vec![one.clone(), two.clone()], Effect::Read).await;
        assert_eq!(failure.exit, Exit::Unreachable);
        for endpoint in [one, two] {
            assert!(failure.message.contains(&endpoint.to_string()), "{failure}");
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

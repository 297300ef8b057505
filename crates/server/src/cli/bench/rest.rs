//! Clients that use HTTP: one kept connection each, opened again after it broke.

use std::time::Duration;

use bytes::Bytes;
use quorate::Outcome;
use quorate_server::http::{CallError, Connection, Endpoint, Request, Response, escape};
use tokio::time::{Instant, timeout};

use super::workload::{Caller, Miss, Operation, Workload};
use crate::cli::client::Api;

/// After the first request that found no node.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct RestCaller {
    endpoints: Vec<Endpoint>,
    /// The endpoint that is used, by its place.
    next: usize,
    connection: Option<Connection>,
    /// Requests in a row that found no node, or lost it.
    lost: u32,
    value: Bytes,
    timeout: Duration,
}

/// The clients, spread over the endpoints.
pub(super) fn callers(api: &Api, workload: &Workload) -> Vec<RestCaller> {
    let caller = |client: u32| RestCaller {
        endpoints: api.endpoints.clone(),
        next: client as usize % api.endpoints.len(),
        connection: None,
        lost: 0,
        value: workload.value.clone(),
        timeout: workload.timeout,
    };
    (0..workload.load.clients).map(caller).collect()
}

impl Caller for RestCaller {
    async fn call(&mut self, operation: Operation, key: String) -> Result<(), Miss> {
        let path = format!("/v1/kv/{}", escape(&key));
        let request = match operation {
            Operation::Put => Request::put(path, self.value.clone()),
            Operation::Get => Request::get(path),
        };
        let sent = self.send(&request).await;
        self.lost = if sent.is_ok() { 0 } else { self.lost.saturating_add(1) };
        match sent {
            Ok(response) if response.status.is_success() => Ok(()),
            Ok(response) => Err(miss(&response)),
            Err(error) => {
                // Without a pause it would try a dead node as often as the machine can.
                drop(timeout(pause(self.lost), std::future::pending::<()>()).await);
                self.connection = None;
                self.next = (self.next + 1) % self.endpoints.len();
                // A read that broke off changed nothing.
                let unknown = error.may_be_sent() && operation == Operation::Put;
                let outcome = if unknown { Outcome::Unknown } else { Outcome::Refused };
                Err(Miss { outcome, detail: error.to_string() })
            }
        }
    }
}

impl RestCaller {
    async fn send(&mut self, request: &Request) -> Result<Response, CallError> {
        let deadline = Instant::now() + self.timeout;
        let connection = match self.connection.take() {
            Some(connection) => self.connection.insert(connection),
            None => self.connection.insert(Connection::open(&self.endpoints[self.next], deadline).await?),
        };
        connection.send(request, deadline).await
    }
}

/// Doubles with each request in a row that found no node.
fn pause(lost: u32) -> Duration {
    PAUSE_MAX.min(PAUSE_MIN * 2_u32.saturating_pow(lost.saturating_sub(1).min(16)))
}

fn miss(response: &Response) -> Miss {
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let outcome = serde_json::from_value(problem["outcome"].clone()).unwrap_or(Outcome::Unknown);
    let detail =
        problem["detail"].as_str().map_or_else(|| format!("status {}", response.status), str::to_owned);
    Miss { outcome, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_node_is_tried_less_and_less() {
        let pauses = [1, 2, 3, 100, u32::MAX].map(|lost| pause(lost).as_millis());
        assert_eq!(pauses, [10, 20, 40, 1_000, 1_000]);
    }
}

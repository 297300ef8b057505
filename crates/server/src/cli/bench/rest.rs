//! Clients that use HTTP: one kept connection each, opened again after it broke.

use std::time::Duration;

use bytes::Bytes;
use quorate::Outcome;
use quorate_server::http::{CallError, Connection, Endpoint, Request, Response, escape};
use tokio::time::Instant;

use super::workload::{Caller, Operation, Workload};
use crate::cli::client::Api;

pub(super) struct RestCaller {
    endpoints: Vec<Endpoint>,
    /// The endpoint that is used, by its place.
    next: usize,
    connection: Option<Connection>,
    value: Bytes,
    timeout: Duration,
}

/// The clients, spread over the endpoints.
pub(super) fn callers(api: &Api, workload: &Workload) -> Vec<RestCaller> {
    let caller = |client: u32| RestCaller {
        endpoints: api.endpoints.clone(),
        next: client as usize % api.endpoints.len(),
        connection: None,
        value: workload.value.clone(),
        timeout: workload.timeout,
    };
    (0..workload.load.clients).map(caller).collect()
}

impl Caller for RestCaller {
    async fn call(&mut self, operation: Operation, key: String) -> Result<(), Outcome> {
        let path = format!("/v1/kv/{}", escape(&key));
        let request = match operation {
            Operation::Put => Request::put(path, self.value.clone()),
            Operation::Get => Request::get(path),
        };
        match self.send(&request).await {
            Ok(response) if response.status.is_success() => Ok(()),
            Ok(response) => Err(outcome(&response)),
            Err(error) => {
                self.connection = None;
                self.next = (self.next + 1) % self.endpoints.len();
                // A read that broke off changed nothing.
                let unknown = error.may_be_sent() && operation == Operation::Put;
                Err(if unknown { Outcome::Unknown } else { Outcome::Refused })
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

fn outcome(response: &Response) -> Outcome {
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    serde_json::from_value(problem["outcome"].clone()).unwrap_or(Outcome::Unknown)
}

//! Clients that go by HTTP: one kept connection each, opened again after it broke.

use std::time::Duration;

use bytes::Bytes;
use quorate::Outcome;
use tokio::time::Instant;

use super::{Caller, Operation, Plan};
use crate::cli::client::Api;
use crate::cli::http::{Connection, Endpoint, Lost, Request, Response, escape};

pub(super) struct RestCaller {
    endpoints: Vec<Endpoint>,
    at: usize,
    connection: Option<Connection>,
    value: Bytes,
    timeout: Duration,
}

/// The clients, spread over the endpoints.
pub(super) fn callers(api: &Api, plan: &Plan) -> Vec<RestCaller> {
    let caller = |client: u32| RestCaller {
        endpoints: api.endpoints.clone(),
        at: client as usize % api.endpoints.len(),
        connection: None,
        value: plan.value.clone(),
        timeout: plan.timeout,
    };
    (0..plan.load.clients).map(caller).collect()
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
            Err(lost) => {
                self.connection = None;
                self.at = (self.at + 1) % self.endpoints.len();
                // A read that broke off did nothing.
                match (lost, operation) {
                    (Lost::Sent(_), Operation::Put) => Err(Outcome::Unknown),
                    (Lost::Sent(_), Operation::Get) | (Lost::NotSent(_), _) => Err(Outcome::Refused),
                }
            }
        }
    }
}

impl RestCaller {
    async fn send(&mut self, request: &Request) -> Result<Response, Lost> {
        let deadline = Instant::now() + self.timeout;
        let connection = match self.connection.take() {
            Some(connection) => self.connection.insert(connection),
            None => self.connection.insert(Connection::open(&self.endpoints[self.at], deadline).await?),
        };
        connection.send(request, deadline).await
    }
}

fn outcome(response: &Response) -> Outcome {
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    serde_json::from_value(problem["outcome"].clone()).unwrap_or(Outcome::Unknown)
}

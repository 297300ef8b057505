//! Clients that use the bridge, as an application with `quorate::Client` does. They share a few connections.

use quorate::machine::{KvCommand, KvQuery};
use quorate::{Client, ClientOptions, Consistency, RemoteGroup};
use quorate_server::GROUP;
use quorate_server::machine::{DataCommand, DataMachine, DataQuery};
use serde_json::Value;

use super::workload::{Caller, Miss, Operation, Workload};
use crate::cli::exit::{Exit, Failure};

/// Connections to all members.
pub(super) struct Members {
    clients: Vec<Client>,
    workload: Workload,
}

impl Members {
    /// Connects to the members in an answer of `GET /v1/cluster`.
    pub(super) async fn connect(cluster: &Value, workload: &Workload) -> Result<Self, Failure> {
        let members = cluster["members"].as_array().cloned().unwrap_or_default();
        let addresses: Vec<String> =
            members.iter().filter_map(|member| member["raft"].as_str().map(str::to_owned)).collect();
        let mut clients = Vec::new();
        for _ in 0..workload.load.connections.min(workload.load.clients) {
            let options = ClientOptions {
                timeout: workload.timeout,
                in_flight_max: workload.load.clients as usize,
                ..ClientOptions::default()
            };
            let client = Client::connect(addresses.clone(), options).await;
            clients.push(client.map_err(|error| Failure::failed(error.to_string()))?);
        }
        let members = Self { clients, workload: workload.clone() };
        members.warm_up().await?;
        Ok(members)
    }

    /// Connects the links and finds the leader before the measurement begins.
    async fn warm_up(&self) -> Result<(), Failure> {
        for client in &self.clients {
            let group = client.group::<DataMachine>(GROUP);
            let asked = group.query(DataQuery::Digest, Consistency::Linearizable).await;
            asked.map_err(|error| Failure::new(Exit::Unreachable, format!("by bridge: {error}")))?;
        }
        Ok(())
    }

    /// The clients of the workload, spread over the connections.
    pub(super) fn callers(&self) -> Vec<BridgeCaller> {
        let groups: Vec<_> = self.clients.iter().map(|client| client.group::<DataMachine>(GROUP)).collect();
        let caller = |client: u32| BridgeCaller {
            group: groups[client as usize % groups.len()].clone(),
            value: self.workload.value.clone(),
        };
        (0..self.workload.load.clients).map(caller).collect()
    }

    pub(super) async fn close(&self) {
        for client in &self.clients {
            client.close().await;
        }
    }
}

pub(super) struct BridgeCaller {
    group: RemoteGroup<DataMachine>,
    value: bytes::Bytes,
}

impl Caller for BridgeCaller {
    async fn call(&mut self, operation: Operation, key: String) -> Result<(), Miss> {
        match operation {
            Operation::Put => {
                let command = DataCommand::Kv(KvCommand::set(key, self.value.clone()));
                Ok(self.group.propose_without_session(command).await.map(drop)?)
            }
            Operation::Get => {
                let query = DataQuery::Kv(KvQuery::get(key));
                Ok(self.group.query(query, Consistency::Linearizable).await.map(drop)?)
            }
        }
    }
}

//! How many inbound connections there may be. Clients and nodes have places of their own, so that no number of clients locks
//! a member out.

use crate::identity::{PeerKind, Refusal, RefusalCode};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Nodes have one connection each, and admission knows them; a bridge that admits every name has this bound.
const NODES_MAX: usize = 128;

pub(super) struct Places {
    clients: Arc<Semaphore>,
    clients_max: usize,
    nodes: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(clients_max: usize) -> Self {
        let clients = Arc::new(Semaphore::new(clients_max));
        Self { clients, clients_max, nodes: Arc::new(Semaphore::new(NODES_MAX)) }
    }

    pub(super) fn take(&self, kind: PeerKind) -> Result<OwnedSemaphorePermit, Refusal> {
        let (places, who, max) = match kind {
            PeerKind::Client => (&self.clients, "clients", self.clients_max),
            _ => (&self.nodes, "nodes", NODES_MAX),
        };
        places.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{max} {who} are connected, and there is no place for another");
            Refusal::new(
                RefusalCode::NotNow,
                detail,
                "close connections that are not used, or use another node",
            )
        })
    }
}

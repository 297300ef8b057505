//! How many inbound connections there may be. Clients and nodes have places of their own, so that no number of clients locks
//! a member out.

use crate::identity::{PeerKind, Refusal, RefusalCode};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Nodes have one connection each, and admission knows them; a bridge that admits every name has this bound.
const NODES_MAX: usize = 128;

/// Connections about which admission decides at the same time; it may wait for a disk.
const DECISIONS_MAX: usize = 256;

pub(super) struct Places {
    decisions: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    clients_max: usize,
    nodes: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(clients_max: usize) -> Self {
        let clients = Arc::new(Semaphore::new(clients_max));
        let decisions = Arc::new(Semaphore::new(DECISIONS_MAX));
        Self { decisions, clients, clients_max, nodes: Arc::new(Semaphore::new(NODES_MAX)) }
    }

    /// Held while admission decides.
    pub(super) fn decide(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.decisions.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{DECISIONS_MAX} connections wait to be admitted");
            Refusal::new(
                RefusalCode::NotNow,
                detail,
                "try again; see the log of the refusing node for slow disks",
            )
        })
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

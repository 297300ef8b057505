//! The inbound connections of the bridge: at most one per node, and figures over all of them.

use super::counters::Counters;
use super::handshake::HandshakeError;
use super::shared::Connection;
use crate::identity::{PeerInfo, PeerKind};
use crate::lock::Lock;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct InboundConnections {
    by_node: Lock<BTreeMap<String, Arc<Connection>>>,
    pub(crate) counters: Arc<Counters>,
}

impl InboundConnections {
    /// Makes `connection` the one of its node until the guard is dropped. The node's older connection is closed, and
    /// nothing more is delivered from it. Clients have no name, so each may have many.
    pub(crate) fn enter(self: &Arc<Self>, connection: &Arc<Connection>) -> Entered {
        if connection.peer.kind != PeerKind::Client {
            let older = self.by_node.lock().insert(connection.peer.node.clone(), connection.clone());
            if let Some(older) = older {
                older.close("replaced by a newer connection of the same node");
                older.wait_for_delivery();
            }
        }
        Entered { table: self.clone(), connection: connection.clone() }
    }

    pub(crate) fn peers(&self) -> Vec<Arc<PeerInfo>> {
        self.by_node.lock().values().map(|connection| connection.peer.clone()).collect()
    }

    /// Counts and logs a connection that was not admitted.
    pub(crate) fn handshake_failed(&self, address: &str, error: &HandshakeError) {
        match error {
            HandshakeError::Frame(frame) => {
                self.counters.malformed.add(1);
                let remedy = "something else dials this port, or its version is too old";
                tracing::warn!(%address, what = %frame, remedy, "malformed frame in the handshake, connection closed");
            }
            HandshakeError::ByUs(_)
            | HandshakeError::ByThem(_)
            | HandshakeError::TimedOut(_)
            | HandshakeError::Io(_)
            | HandshakeError::Closed => tracing::warn!(%address, %error, "inbound connection not admitted"),
        }
    }
}

/// Takes the connection out of the table on drop, unless a newer one of the node has replaced it.
pub(crate) struct Entered {
    table: Arc<InboundConnections>,
    connection: Arc<Connection>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut by_node = self.table.by_node.lock();
        let node = &self.connection.peer.node;
        if by_node.get(node).is_some_and(|current| Arc::ptr_eq(current, &self.connection)) {
            by_node.remove(node);
        }
    }
}

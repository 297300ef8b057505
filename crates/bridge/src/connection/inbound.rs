//! The inbound connections of the bridge: at most one per node, and figures over all of them.

use super::counters::Counters;
use super::flaps::Flaps;
use super::handshake::HandshakeError;
use super::shared::Connection;
use crate::identity::{PeerInfo, PeerKind, RefusalCode};
use crate::lock::Lock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct InboundConnections {
    by_node: Lock<BTreeMap<String, Arc<Connection>>>,
    pub(crate) counters: Arc<Counters>,
    not_admitted: Lock<NotAdmitted>,
    /// Of the nodes whose last connection did not last.
    flaps: Lock<BTreeMap<String, Flaps>>,
}

impl InboundConnections {
    /// Makes `connection` the one of its node until the guard is dropped. The node's older connection is closed, and
    /// nothing more is delivered from it. Clients have no name, so each may have many.
    pub(crate) fn enter(self: &Arc<Self>, connection: &Arc<Connection>) -> Entered {
        if connection.peer.kind != PeerKind::Client {
            self.not_admitted.lock().nodes.remove(&connection.peer.node);
            let older = self.by_node.lock().insert(connection.peer.node.clone(), connection.clone());
            if let Some(older) = older {
                older.close("replaced by a newer connection of the same node");
                older.wait_for_delivery();
            }
        }
        Entered { table: self.clone(), connection: connection.clone() }
    }

    /// Whether a node's new connection is worth a line at once, and how many before it did not last.
    pub(crate) fn flaps(&self, node: &str) -> (bool, u64) {
        self.flaps.lock().get(node).map_or((true, 0), Flaps::up)
    }

    /// A node's connection ended after so long.
    pub(crate) fn ended(&self, node: &str, lasted: Duration) {
        let mut flaps = self.flaps.lock();
        if flaps.len() < NODES_TOLD_APART || flaps.contains_key(node) {
            flaps.entry(node.to_owned()).or_default().ended(lasted);
        }
    }

    pub(crate) fn peers(&self) -> Vec<Arc<PeerInfo>> {
        self.by_node.lock().values().map(|connection| connection.peer.clone()).collect()
    }

    /// Counts a connection that was not admitted, and logs it if that says something new.
    /// `is_peer` says whether a node of this name is dialled from here.
    pub(crate) fn handshake_failed(
        &self,
        address: &str,
        error: &HandshakeError,
        is_peer: impl Fn(&str) -> bool,
    ) {
        if matches!(error, HandshakeError::Frame(_)) {
            self.counters.malformed.add(1);
        }
        // The lock is released before the line is written.
        let line = self.not_admitted.lock().worth_a_line(error, is_peer);
        match line {
            None => {}
            Some(Line::Node) => {
                tracing::warn!(%address, %error, "a node is not admitted, and will try again");
            }
            Some(Line::Strangers(count)) => {
                tracing::warn!(%address, %error, count, "inbound connections not admitted, this is the last of them");
            }
        }
    }
}

/// Who was not admitted, so that the log has a line for each change and not for each attempt: a node that is refused dials
/// again several times a second, and anybody may dial a port.
#[derive(Default)]
struct NotAdmitted {
    nodes: BTreeMap<String, RefusalCode>,
    strangers: u64,
}

/// Refused names tracked at once; peers are always tracked, so made-up names cannot silence a peer's log line.
const NODES_TOLD_APART: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// A node, for this reason for the first time since it was last connected.
    Node,
    /// So many connections until now: the first, second, fourth ..
    Strangers(u64),
}

impl NotAdmitted {
    fn worth_a_line(&mut self, error: &HandshakeError, is_peer: impl Fn(&str) -> bool) -> Option<Line> {
        if let HandshakeError::ByUs { node, refusal } = error
            && !node.is_empty()
            && (self.nodes.len() < NODES_TOLD_APART || self.nodes.contains_key(node) || is_peer(node))
        {
            let before = self.nodes.insert(node.clone(), refusal.code.clone());
            return (before.as_ref() != Some(&refusal.code)).then_some(Line::Node);
        }
        self.strangers += 1;
        self.strangers.is_power_of_two().then_some(Line::Strangers(self.strangers))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Refusal;

    fn refused(node: &str, code: RefusalCode) -> HandshakeError {
        HandshakeError::ByUs { node: node.into(), refusal: Refusal::new(code, "detail", "remedy") }
    }

    #[test]
    fn a_refused_node_is_logged_once_for_each_reason_and_strangers_ever_less() {
        let mut not_admitted = NotAdmitted::default();
        let mut lines = |error: HandshakeError| not_admitted.worth_a_line(&error, |_| false);
        assert_eq!(lines(refused("a", RefusalCode::UnknownPeer)), Some(Line::Node));
        assert_eq!(lines(refused("a", RefusalCode::UnknownPeer)), None);
        assert_eq!(lines(refused("a", RefusalCode::WrongIncarnation)), Some(Line::Node));
        assert_eq!(lines(refused("b", RefusalCode::WrongIncarnation)), Some(Line::Node));
        let said = (0..1_000).filter(|_| lines(HandshakeError::Closed).is_some()).count();
        assert_eq!(said, 10, "1, 2, 4 .. 512");
    }

    #[test]
    fn names_that_strangers_make_up_take_no_memory() {
        let mut not_admitted = NotAdmitted::default();
        for at in 0..10_000 {
            not_admitted.worth_a_line(&refused(&format!("node{at}"), RefusalCode::UnknownPeer), |_| false);
        }
        assert_eq!(not_admitted.nodes.len(), NODES_TOLD_APART);
        let peer = refused("peer", RefusalCode::WrongIncarnation);
        let line = not_admitted.worth_a_line(&peer, |node| node == "peer");
        assert_eq!(line, Some(Line::Node), "a peer has its line all the same");
    }
}

//! Which nodes are connected, and since which of their starts: a start is not admitted while an earlier one of the same node is
//! heard of.
//!
//! The copy of a running node's data directory is started with the next boot number. By the number alone it looks like that node
//! after a restart, and the node itself like one that is out of date: it would be cut off by its copy. But a node that was
//! restarted has ended before, and its connections with it, or soon after: the system of a process that is gone may still send
//! what it held. So the newcomer is kept waiting for the keepalive's timeout. If the earlier start answers a ping that was sent
//! meanwhile, there are two processes; if it is only connected, the newcomer comes again.
//!
//! Owns: nothing but weak references. Bound: the connections of nodes, which have places.

use super::shared::Connection;
use crate::identity::{Hello, PeerInfo, PeerKind, Refusal, RefusalCode};
use crate::lock::Lock;
use crate::options::BridgeOptions;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::timeout;

const OTHER_INCARNATION: &str = "another data directory has this node's name now";

/// The connections of nodes, by node id.
#[derive(Default)]
pub(crate) struct Present(Lock<State>);

#[derive(Default)]
struct State {
    connections: BTreeMap<String, Vec<Weak<Connection>>>,
    /// The only incarnation that may be connected under a name, where the owner of the bridge has said so.
    only: BTreeMap<String, u64>,
}

impl State {
    fn of_node(&self, node: &str) -> Vec<Arc<Connection>> {
        self.connections.get(node).into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    fn is_shut_out(&self, peer: &PeerInfo) -> bool {
        let only = self.only.get(&peer.node);
        only.is_some_and(|only| *only != peer.incarnation && !peer.has_replaced(*only))
    }
}

/// Closes them; when this returns, nothing more is delivered from any.
fn close(connections: Vec<Arc<Connection>>, reason: &str) {
    for connection in connections {
        connection.close(reason);
        connection.wait_for_delivery();
    }
}

impl Present {
    pub(super) fn enter(&self, connection: &Arc<Connection>) {
        if connection.peer.kind != PeerKind::Peer {
            return;
        }
        let mut present = self.0.lock();
        // It was admitted before the owner of the bridge knew better.
        if present.is_shut_out(&connection.peer) {
            drop(present);
            connection.close(OTHER_INCARNATION);
            return;
        }
        let of_node = present.connections.entry(connection.peer.node.clone()).or_default();
        of_node.retain(|known| known.upgrade().is_some_and(|known| !known.is_closed()));
        of_node.push(Arc::downgrade(connection));
    }

    /// From now on a node of this name has this incarnation, or one that says that it has replaced that. Connections of others are
    /// closed.
    pub(crate) fn keep_only(&self, node: &str, incarnation: Option<u64>) {
        let others = {
            let mut present = self.0.lock();
            match incarnation {
                Some(incarnation) => present.only.insert(node.to_owned(), incarnation),
                None => present.only.remove(node),
            };
            let mut others = present.of_node(node);
            others.retain(|connection| present.is_shut_out(&connection.peer));
            others
        };
        close(others, OTHER_INCARNATION);
    }

    /// Closes the connections of a node that is no peer any more.
    pub(crate) fn end(&self, node: &str) {
        let all = {
            let mut present = self.0.lock();
            present.only.remove(node);
            present.of_node(node)
        };
        close(all, "the node is no peer any more");
    }

    /// Waits until no earlier start of the node is connected. Refuses this one if one is still heard of then.
    ///
    /// In steps of the keepalive's interval and not at once: a process that was paused itself reads, before the next step, that a
    /// connection has ended meanwhile.
    pub(super) async fn wait_for_earlier(
        &self,
        hello: &Hello,
        options: &BridgeOptions,
    ) -> Result<(), Refusal> {
        let interval = Duration::from_millis(options.keepalive_interval_ms);
        let steps = options.keepalive_timeout_ms.div_ceil(options.keepalive_interval_ms) + 1;
        let pongs: Vec<_> = self.earlier(hello).into_iter().map(|known| (known.pongs(), known)).collect();
        let answers = |connection: &Arc<Connection>| {
            let known = pongs.iter().find(|(_, known)| Arc::ptr_eq(known, connection));
            // The answer to a ping that was sent before may be among what a process that is gone has left.
            connection.pongs() >= known.map_or(0, |(pongs, _)| *pongs) + 2
        };
        for _ in 0..steps {
            let Some(earlier) = self.earlier(hello).into_iter().next() else { return Ok(()) };
            // Usually it has ended, and that is about to be read.
            drop(timeout(interval, earlier.closed()).await);
        }
        let earlier = self.earlier(hello);
        let Some(first) = earlier.first() else { return Ok(()) };
        let (node, boot) = (&hello.node, hello.boot);
        let (before, address) = (first.peer.boot, &first.peer.address);
        if !earlier.iter().any(answers) {
            let detail =
                format!("node {node} is still connected as boot {before} ({address}), this is boot {boot}");
            return Err(Refusal::new(
                RefusalCode::NotNow,
                detail,
                "it is admitted once that connection has ended",
            ));
        }
        Err(Refusal::new(
            RefusalCode::Twin,
            format!(
                "another process runs as node {node}, at boot {before} and connected from {address}; this is boot {boot}"
            ),
            "its data directory was copied while it ran: end one of the two and keep its directory; the one that was there first may \
             have acknowledged what the copy lacks",
        ))
    }

    /// Connections of starts before this one that are open.
    fn earlier(&self, hello: &Hello) -> Vec<Arc<Connection>> {
        if hello.kind != PeerKind::Peer {
            return Vec::new();
        }
        let of_node = self.0.lock().of_node(&hello.node);
        let earlier = of_node.into_iter().filter(|connection| {
            let peer = &connection.peer;
            !connection.is_closed() && peer.incarnation == hello.incarnation && peer.boot < hello.boot
        });
        earlier.collect()
    }
}

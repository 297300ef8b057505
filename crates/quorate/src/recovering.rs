//! Which peers have said that they recover, for the reasons why there is no leader. Nothing is decided by it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_core::NodeId;

use crate::lock::lock;

/// Written by the role, read by who is asked why there is no leader. What it says is as old as the last message of each peer.
#[derive(Debug, Default)]
pub(crate) struct RecoveringPeers {
    peers: Mutex<BTreeSet<NodeId>>,
    /// This node itself.
    here: AtomicBool,
}

impl RecoveringPeers {
    pub(crate) fn hear(&self, peer: &NodeId, recovers: bool) {
        let mut known = lock(&self.peers);
        if !recovers {
            known.remove(peer);
        } else if !known.contains(peer) {
            known.insert(peer.clone());
        }
    }

    /// Told after each step of the role.
    pub(crate) fn set_here(&self, recovers: bool) {
        self.here.store(recovers, Ordering::Relaxed);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.peers).iter().map(ToString::to_string).collect()
    }

    /// The same with this node, if it recovers.
    pub(crate) fn with(&self, me: &NodeId) -> Vec<String> {
        let here = self.here.load(Ordering::Relaxed).then(|| me.to_string());
        here.into_iter().chain(self.names()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_recovers_from_when_it_says_so_until_it_says_otherwise() {
        let peers = RecoveringPeers::default();
        let say = |peer: &str, recovers| peers.hear(&NodeId::new(peer).expect("a name"), recovers);
        say("node2", true);
        say("node1", true);
        say("node1", true);
        assert_eq!(peers.names(), ["node1", "node2"]);
        say("node2", false);
        assert_eq!(peers.names(), ["node1"]);
        peers.set_here(true);
        assert_eq!(peers.with(&NodeId::new("node0").expect("a name")), ["node0", "node1"]);
    }
}

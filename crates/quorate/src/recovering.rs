//! Which peers have said that they recover, for the reasons why there is no leader. Nothing is decided by it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_core::NodeId;
use tokio::sync::watch;

/// Written by the role, read by who is asked why there is no leader. What it says is as old as the last message of each peer.
#[derive(Debug)]
pub(crate) struct RecoveringPeers {
    peers: watch::Sender<BTreeSet<NodeId>>,
    /// This node itself.
    here: AtomicBool,
}

impl RecoveringPeers {
    pub(crate) fn new() -> Self {
        Self { peers: watch::channel(BTreeSet::new()).0, here: AtomicBool::new(false) }
    }

    pub(crate) fn hear(&self, peer: &NodeId, recovers: bool) {
        // Most messages say what is known.
        if self.peers.borrow().contains(peer) != recovers {
            let change = |known: &mut BTreeSet<NodeId>| {
                if recovers { known.insert(peer.clone()) } else { known.remove(peer) }
            };
            self.peers.send_if_modified(change);
        }
    }

    /// Told after each step of the role.
    pub(crate) fn set_here(&self, recovers: bool) {
        self.here.store(recovers, Ordering::Relaxed);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.peers.borrow().iter().map(ToString::to_string).collect()
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
        let peers = RecoveringPeers::new();
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

//! Which peers have said that they recover, for the reasons why there is no leader. Nothing is decided by it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use quorate_core::NodeId;

use crate::lock::lock;

/// Written by the role, read by who is asked why there is no leader. What it says is as old as the last message of each peer.
#[derive(Debug, Default)]
pub(crate) struct RecoveringPeers(Mutex<BTreeSet<NodeId>>);

impl RecoveringPeers {
    pub(crate) fn hear(&self, peer: &NodeId, recovers: bool) {
        let mut known = lock(&self.0);
        if !recovers {
            known.remove(peer);
        } else if !known.contains(peer) {
            known.insert(peer.clone());
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.0).iter().map(ToString::to_string).collect()
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
    }
}

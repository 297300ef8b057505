//! What a store needs to know to open.

use quorate_core::{Hash, NodeId};

/// What a store needs to know to open; each process may choose its own.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// This node. A directory of another node is refused.
    pub node: NodeId,
    /// The cluster id; needed at first start, and ignored later.
    pub cluster: Option<Hash>,
    /// A random number, from which the incarnation is drawn at first start.
    pub entropy: u64,
    /// Largest run in bytes; a single larger entry is a run of its own.
    pub run_bytes_max: usize,
    /// Run boundaries remembered per group, at most; with more, every second one is forgotten.
    pub boundaries_max: usize,
    /// Free bytes below which proposals are refused; twice the live log if that is more (`safety.md` 16).
    pub reserve_bytes_min: u64,
    /// Bytes of the ballast, a file that is deleted first when the disk is full at a start; zero for none.
    pub ballast_bytes: u64,
}

impl StoreOptions {
    /// The defaults for a node.
    pub fn new(node: NodeId, cluster: Option<Hash>, entropy: u64) -> Self {
        Self {
            node,
            cluster,
            entropy,
            run_bytes_max: 1 << 20,
            boundaries_max: 4_096,
            reserve_bytes_min: 256 << 20,
            ballast_bytes: 64 << 20,
        }
    }
}

//! What a store needs to know to open.

use quorate_core::{Hash, NodeId};

/// The reserve of a volume that is large enough.
const RESERVE_BYTES: u64 = 256 << 20;
/// Files that it must stay possible to make: those of a few hundred MiB of entries, of which each table and journal is one, with
/// what a compaction makes before it deletes.
const RESERVE_FILES: u64 = 128;
/// One of so many parts of a smaller volume is its reserve.
const RESERVE_PARTS: u64 = 4;
/// One of so many parts of a volume is the ballast at most.
const BALLAST_PARTS: u64 = 8;

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
    /// Free bytes below which proposals are refused; twice the live log if that is more (`safety.md` 16). By default
    /// 256 MiB, or a quarter of a volume that is smaller than 1 GiB.
    pub reserve_bytes_min: Option<u64>,
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
            reserve_bytes_min: None,
            ballast_bytes: 64 << 20,
        }
    }

    /// What must stay free on a volume of this size, whatever the log has.
    pub(crate) fn reserve_bytes(&self, total_bytes: u64) -> u64 {
        self.reserve_bytes_min.unwrap_or_else(|| RESERVE_BYTES.min(total_bytes / RESERVE_PARTS))
    }

    /// How many files must be left on a volume that can have so many.
    pub(crate) fn reserve_files(total: u64) -> u64 {
        RESERVE_FILES.min(total / RESERVE_PARTS)
    }

    /// How large the ballast is on a volume of this size.
    pub(crate) fn ballast_bytes(&self, total_bytes: u64) -> u64 {
        self.ballast_bytes.min(total_bytes / BALLAST_PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_volume_has_a_small_reserve_unless_one_is_given() {
        let mut options = StoreOptions::new(NodeId::new("node0").expect("a name"), None, 1);
        let of = |options: &StoreOptions, mib: u64| options.reserve_bytes(mib << 20) >> 20;
        for (volume, reserve) in [(64, 16), (200, 50), (1_024, 256), (1 << 20, 256)] {
            assert_eq!(of(&options, volume), reserve, "of {volume} MiB");
        }
        assert_eq!((options.ballast_bytes(200 << 20), options.ballast_bytes(1 << 40)), (25 << 20, 64 << 20));
        options.reserve_bytes_min = Some(300 << 20);
        assert_eq!((of(&options, 200), of(&options, 1 << 20)), (300, 300));
    }
}

//! State machines that panic: which nodes' did, and whether that makes the group faulted (`docs/safety.md` 11).
//!
//! One node's faulted machine costs that node its answers: it gives leadership away and goes on replicating and
//! voting. The same entry on a majority is the command's fault, and the group takes no more commands.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Membership, NodeId};

#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Ends of this node's machine, by the entry it ended at.
    here: BTreeMap<u64, u32>,
    faulted: BTreeMap<u64, BTreeSet<NodeId>>,
}

impl Faults {
    /// The machine of this node ended at `index`; true once that was as often as it may.
    pub(crate) fn machine_ended(&mut self, index: u64, restarts_max: u32) -> bool {
        let ends = self.here.entry(index).or_default();
        *ends += 1;
        *ends > restarts_max
    }

    /// The machine of `node` will not be restarted.
    pub(crate) fn faulted(&mut self, node: NodeId, index: u64) {
        self.faulted.entry(index).or_default().insert(node);
    }

    /// The entry at which a majority's machines faulted.
    pub(crate) fn of_majority(&self, membership: &Membership) -> Option<u64> {
        let by_quorum =
            |(_, nodes): &(&u64, &BTreeSet<NodeId>)| membership.is_quorum(|id| nodes.contains(id));
        self.faulted.iter().find(by_quorum).map(|(index, _)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_is_a_nodes_and_a_majoritys_the_groups() {
        let ids: Vec<NodeId> = ["a", "b", "c"].map(|n| NodeId::new(n).unwrap()).into();
        let membership = Membership { voters: ids.iter().cloned().collect(), ..Default::default() };
        let mut faults = Faults::default();
        assert!(!faults.machine_ended(7, 1));
        assert!(faults.machine_ended(7, 1));
        faults.faulted(ids[0].clone(), 7);
        faults.faulted(ids[1].clone(), 8);
        assert_eq!(faults.of_majority(&membership), None);
        faults.faulted(ids[1].clone(), 7);
        assert_eq!(faults.of_majority(&membership), Some(7));
    }
}

//! State machines that panic: which nodes' did, and whether that makes the group faulted (`docs/safety.md` 11).
//!
//! One node's faulted machine costs that node its answers: it gives leadership away and goes on replicating and
//! voting. The same entry on a majority is the command's fault, and the group takes no more commands. A node says of its
//! machine that it is down as long as it is, every [`REPEAT`]; one that says so no longer has been started again, and its machine runs.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{Membership, NodeId, Time};

/// How often a node whose machine faulted tells its peers.
pub(super) const REPEAT: Duration = Duration::from_secs(1);
/// What was not repeated for so long is forgotten: some messages may be lost.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// So many checks in a row, [`REPEAT`] apart, without a majority end the group's fault. Counted and not timed: a node that was
/// paused has heard nothing for longer than [`FORGOTTEN`], and hears of faults that are still there once it runs.
const CHECKS_UNTIL_OVER: u32 = 5;

#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Ends of this node's machine, by the entry it ended at.
    here: BTreeMap<u64, u32>,
    /// The entry at which each node's machine is down, and when that was heard last.
    faulted: BTreeMap<NodeId, (u64, Time)>,
    /// Checks in a row that found no majority.
    without_majority: u32,
}

impl Faults {
    /// The machine of this node ended at `index`; true once that was as often as it may.
    pub(crate) fn machine_ended(&mut self, index: u64, restarts_max: u32) -> bool {
        let ends = self.here.entry(index).or_default();
        *ends += 1;
        *ends > restarts_max
    }

    /// The machine of `node` is not restarted.
    pub(crate) fn faulted(&mut self, node: NodeId, index: u64, now: Time) {
        self.faulted.insert(node, (index, now));
    }

    /// The entry at which a majority's machines are down.
    pub(crate) fn of_majority(&mut self, membership: &Membership, now: Time) -> Option<u64> {
        self.faulted.retain(|_, (_, heard)| now.since(*heard) <= FORGOTTEN);
        let is_at = |id: &NodeId, index| self.faulted.get(id).is_some_and(|(at, _)| *at == index);
        let mut entries = self.faulted.values().map(|(index, _)| *index);
        let found = entries.find(|index| membership.is_quorum(|id| is_at(id, *index)));
        if found.is_some() {
            self.without_majority = 0;
        }
        found
    }

    /// Whether the fault of the group is over: asked every [`REPEAT`] as long as the group is faulted.
    pub(crate) fn are_over(&mut self, membership: Option<&Membership>, now: Time) -> bool {
        if membership.is_some_and(|membership| self.of_majority(membership, now).is_some()) {
            return false;
        }
        self.without_majority += 1;
        self.without_majority >= CHECKS_UNTIL_OVER
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
        let now = Time(0);
        faults.faulted(ids[0].clone(), 7, now);
        faults.faulted(ids[1].clone(), 8, now);
        assert_eq!(faults.of_majority(&membership, now), None);
        faults.faulted(ids[1].clone(), 7, now);
        assert_eq!(faults.of_majority(&membership, now), Some(7));
    }

    /// Machines that were down at their start, one after the other, each of them running again since: all at index zero.
    #[test]
    fn a_fault_that_is_not_repeated_does_not_count() {
        let ids: Vec<NodeId> = ["a", "b", "c"].map(|n| NodeId::new(n).unwrap()).into();
        let membership = Membership { voters: ids.iter().cloned().collect(), ..Default::default() };
        let mut faults = Faults::default();
        let at = |seconds: u64| Time(seconds * 1_000_000);
        faults.faulted(ids[0].clone(), 0, at(0));
        faults.faulted(ids[1].clone(), 0, at(60));
        assert_eq!(faults.of_majority(&membership, at(60)), None);
        faults.faulted(ids[0].clone(), 0, at(61));
        assert_eq!(faults.of_majority(&membership, at(61)), Some(0));
    }

    /// A node that was paused for a minute took commands for a second, and applied none of them.
    #[test]
    fn a_pause_of_this_node_ends_no_fault() {
        let ids: Vec<NodeId> = ["a", "b", "c"].map(|n| NodeId::new(n).unwrap()).into();
        let membership = Membership { voters: ids.iter().cloned().collect(), ..Default::default() };
        let mut faults = Faults::default();
        let at = |seconds: u64| Time(seconds * 1_000_000);
        let hear = |faults: &mut Faults, seconds| {
            ids[..2].iter().for_each(|id| faults.faulted(id.clone(), 7, at(seconds)));
        };
        let are_over = |faults: &mut Faults, seconds| faults.are_over(Some(&membership), at(seconds));
        hear(&mut faults, 0);
        assert!(!are_over(&mut faults, 1));
        assert!(!are_over(&mut faults, 61), "it has not yet heard what its peers said meanwhile");
        hear(&mut faults, 61);
        let over = (62..80).find(|seconds| are_over(&mut faults, *seconds));
        assert_eq!(over, Some(71), "forgotten after five seconds, and not heard of for five more");
    }
}

//! State machine safety: no two nodes apply different entries at one index (Raft paper, figure 3), and machines that
//! applied as much are in the same state.

use quorate_core::{Entry, Hash};

use crate::simulation::process::Process;

#[derive(Debug, Default)]
pub(crate) struct StateMachineSafety {
    applied: Vec<(Hash, Hash)>,
}

impl StateMachineSafety {
    pub(crate) fn applied(&mut self, node: &Process, entry: &Entry) {
        let place = entry.index.prev().0 as usize;
        let now = (entry.chain, node.applier.digests[place]);
        if place == self.applied.len() {
            self.applied.push(now);
        }
        let known = self.applied.get(place).expect("applied in order by everyone");
        assert_eq!(*known, now, "state machine safety: {} applies {} otherwise", node.id, entry.log_id());
    }
}

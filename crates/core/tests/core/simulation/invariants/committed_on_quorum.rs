//! Committed on quorum: when the commit index first reaches an entry, a majority of each half of the voters in force have it, and
//! all before it, on disk. Counted from the disks themselves, not from what anyone acknowledged.

use quorate_core::{Index, ReplicaState};

use crate::simulation::process::Process;
use crate::world::{Committed, place_of};

pub(crate) fn check(committed: &mut Committed, nodes: &[Process], node: &Process, state: &ReplicaState) {
    if state.commit() <= committed.last() {
        return;
    }
    let at = node.position(state.commit()).expect("the commit index is inside the log");
    assert!(
        state.membership().is_quorum(|voter| nodes[place_of(voter)].disk.holds(at)),
        "committed on quorum: {} commits {}, and no majority has it",
        node.id,
        at.index
    );
    for index in committed.last().0 + 1..=state.commit().0 {
        let at = node.position(Index(index)).expect("the commit index is inside the log");
        committed.push(at, state.term());
    }
}

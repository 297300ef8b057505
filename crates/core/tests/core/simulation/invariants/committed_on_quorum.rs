//! Committed on quorum: when the commit index first reaches an entry, a majority of the voters have it, and all before
//! it, on disk. Counted from the disks themselves, not from what anyone acknowledged.

use quorate_core::{Index, ReplicaState};

use crate::simulation::process::Process;
use crate::world::Committed;

pub(crate) fn check(
    committed: &mut Committed,
    nodes: &[Process],
    node: &Process,
    state: &ReplicaState,
    voters: usize,
) {
    if state.commit() <= committed.last() {
        return;
    }
    let at = node.position(state.commit()).expect("the commit index is inside the log");
    let have = nodes[..voters].iter().filter(|voter| voter.disk.holds(at)).count();
    assert!(
        have > voters / 2,
        "committed on quorum: {} commits {}, on {have} of {voters} disks",
        node.id,
        at.index
    );
    for index in committed.last().0 + 1..=state.commit().0 {
        let at = node.position(Index(index)).expect("the commit index is inside the log");
        committed.push(at, state.term());
    }
}

//! Situations that several tests begin with.

use super::Lab;

/// Node 1 of three lost its last entry and has everything again since, but node 2 is cut off. The index that would end its
/// recovery cannot be confirmed, because the leader alone is no majority without node 1.
pub(crate) fn recovering_without_a_majority() -> Lab {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.settle();
    lab.crash(1);
    lab.nodes[1].disk.lose_suffix(1);
    lab.start(1);
    lab.isolate(2);
    for _ in 0..8 {
        lab.heartbeat(0);
    }
    assert_eq!(lab.last(1), 2, "it has everything again");
    lab
}

//! Beginnings that several tests share.

use super::Lab;

/// Node 1 of three has lost its last entry and everything again since, but node 2 is cut off: nobody can confirm the index
/// that would end its recovery, for the leader and node 1 are no majority without node 1.
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

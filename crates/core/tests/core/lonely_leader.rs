//! A leader that is its group's only voter, and whose disk stalls: it has no peer to give leadership to, and waits without
//! spinning. Found by seeds 12 and 21 of the runtime simulation: its deadline stayed in the past, so its timer fired again at
//! once for as long as the disk stalled, and nothing else on the node's thread ran.

use crate::script::{Lab, Link};

#[test]
fn a_leader_alone_with_a_stalled_disk_does_not_spin() {
    let mut lab = Lab::elected(1);
    lab.propose(0, "stuck");
    for _ in 0..50 {
        lab.wait_ms(100);
        lab.tick(0);
        lab.deliver_on(Link { from: None, to: None });
        let deadline = lab.replica(0).deadline();
        assert!(deadline.is_none_or(|due| due > lab.now), "due at {deadline:?}, it is {:?}", lab.now);
    }
    lab.persist(0);
    lab.settle();
    assert!(lab.leads(0) && lab.commit(0) == lab.last(0));
}

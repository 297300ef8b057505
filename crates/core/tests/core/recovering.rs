//! A majority that recovers: nodes that stand for nothing must still know of each other why there is no leader.

use crate::script::Lab;
use crate::world::name;

/// Each of them said that the others would elect a leader, since it had heard nothing of the other one.
#[test]
fn nodes_that_recover_without_a_leader_tell_each_other() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.settle();
    for at in [1, 2] {
        lab.crash(at);
        lab.nodes[at].disk.lose_suffix(1);
        lab.start(at);
    }
    lab.crash(0);
    lab.wire.clear();
    lab.wait_ms(3_000);
    for at in [1, 2] {
        assert!(lab.state(at).hard_state().recovering);
        lab.tick(at);
    }
    for (from, to) in [(1, 2), (2, 1), (1, 0), (2, 0)] {
        let says = lab.wire.iter().filter(|m| m.from == name(from) && m.to == name(to));
        let says: Vec<_> = says.map(quorate_core::Message::says_recovering).collect();
        assert_eq!(says, [Some(true)], "n{from} to n{to}");
    }
    lab.settle();
    assert!([1, 2].iter().all(|at| lab.state(*at).hard_state().recovering && lab.follows(*at)));
}

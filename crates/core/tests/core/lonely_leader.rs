//! A leader that is its group's only voter: it has no peer to give leadership to. Asked to, it refuses at once; where its disk
//! stalls, it waits without spinning. The latter was found by seeds 12 and 21 of the runtime simulation: its deadline stayed in the past, so its timer fired again at
//! once for as long as the disk stalled, and nothing else on the node's thread ran.

use quorate_core::{Effect, Leader, LeaderEvent, RoleEvent, Sequence, Time, TransferRefusal};

use crate::alone::{alone, node};
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

/// It waited for five seconds, and the outcome was *unknown*.
#[test]
fn a_transfer_of_a_lone_voter_is_refused_at_once() {
    let mut leader = Leader::start(alone(), Time(0), 1_000).0;
    leader.step(Time(1), LeaderEvent::Role(RoleEvent::Persisted(Sequence(1))));
    let me = TransferRefusal::NotVoter { node: node(0) };
    for (to, why) in [(None, TransferRefusal::NoTarget), (Some(node(0)), me)] {
        let effects = leader.step(Time(2), LeaderEvent::Transfer { to });
        assert_eq!(effects, [Effect::TransferRefused(why)]);
        assert_eq!(leader.transferring_to(), None, "it takes commands");
    }
}

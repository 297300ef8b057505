//! The rules of `docs/safety.md` as far as the core carries them, each a test with its number.

mod lab;

use lab::{Lab, Link};
use quorate_core::{Body, Common, Notice, Refusal};

#[test]
fn rule_05_a_request_of_a_new_boot_voids_what_an_older_boot_acknowledged() {
    let mut lab = Lab::elected(3);
    // n1 acknowledges an entry; the acknowledgement is late, and n1 crashes and loses the entry.
    lab.cut_both(0, 2);
    lab.propose(0, "x");
    lab.deliver(0, 1);
    lab.persist(1);
    lab.stash(Link::between(1, 0));
    lab.heal();
    let kept = lab.nodes[1].disk.log.len() - 1;
    lab.crash(1);
    lab.nodes[1].disk.lose_suffix(kept);
    lab.start(1);
    // It asks for its read index; its answers to appends are lost, so the request is all the leader hears of this boot.
    lab.wait_ms(100);
    lab.tick(0);
    lab.deliver(0, 1);
    let asks = |body: &Body| matches!(body, Body::ReadIndexRequest(_));
    lab.wire.retain(|m| m.from != lab::name(1) || asks(&m.body));
    lab.deliver(1, 0);
    lab.deliver(0, 2);
    lab.deliver(2, 0);
    let before = lab.commit(0);
    lab.persist(0);
    lab.unstash();
    assert_eq!(lab.commit(0), before, "an acknowledgement of the boot before was counted");
}

#[test]
fn rule_05_a_reply_to_the_boot_before_does_not_end_recovering() {
    let mut lab = Lab::elected(3);
    // n1, recovering in its second boot, asks; the answer is late.
    let recover = |lab: &mut Lab| {
        lab.crash(1);
        lab.nodes[1].disk.hard_state.recovering = true;
        // The clock of a process begins at its start: the same moment comes again in every boot.
        lab.now = quorate_core::Time(50_000_000);
        lab.start(1);
        lab.read(0, 1);
        lab.deliver(0, 1);
        lab.persist(1);
    };
    recover(&mut lab);
    lab.deliver(1, 0);
    for _ in 0..2 {
        lab.deliver(0, 2);
        lab.deliver(2, 0);
    }
    lab.stash(Link::between(0, 1));
    let late: Vec<_> = lab.late.drain(..).filter(|m| matches!(m.body, Body::ReadIndexReply(_))).collect();
    assert_eq!(late.len(), 1, "the leader has answered the second boot");
    recover(&mut lab);
    lab.wire.clear();
    for message in late {
        lab.common(1, Common::Message(message));
    }
    assert!(lab.state(1).hard_state().recovering, "what was confirmed before this boot ended Recovering");
}

#[test]
fn rule_16_a_leader_without_space_refuses_and_gives_way() {
    let mut lab = Lab::elected(3);
    lab.common(0, Common::DiskFull(true));
    lab.propose(0, "x");
    assert_eq!(lab.nodes[0].refused, [Refusal::NoSpace]);
    lab.settle();
    assert!(!lab.leads(0), "a leader without space hands over");
    assert!(lab.leads(1) || lab.leads(2));
}

#[test]
fn rule_08_time_does_not_fall_when_memory_is_empty() {
    let mut lab = Lab::new(1, 0);
    lab.config.tail_bytes_max = 0;
    lab.start_all();
    lab.elect(0);
    lab.wall_ms = 9_000;
    lab.propose(0, "late clock");
    lab.settle();
    lab.wall_ms = 10;
    lab.propose(0, "early clock");
    lab.settle();
    let times: Vec<u64> = lab.nodes[0].disk.log.iter().map(|entry| entry.time_ms).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn rule_06_a_follower_behind_its_own_acknowledgement_is_refused() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.propose(0, "b");
    lab.settle();
    // An old copy of n1's disk: the boot number too is that of the copy.
    let boot = lab.nodes[1].boot;
    lab.crash(1);
    lab.nodes[1].disk.log.truncate(1);
    lab.nodes[1].boot = quorate_core::Boot(boot.0 - 1);
    lab.start(1);
    lab.heartbeat(0);
    let told = |notice: &Notice| matches!(notice, Notice::RolledBack { .. });
    assert!(lab.nodes[0].notices.iter().any(told), "{:?}", lab.nodes[0].notices);
    // It no longer counts, whatever it acknowledges: with n2 gone nothing is committed.
    lab.isolate(2);
    let before = lab.commit(0);
    lab.propose(0, "c");
    lab.settle();
    assert_eq!(lab.commit(0), before);
    // A restart, which says that it is another boot, lets it in again.
    lab.restart(1);
    lab.heartbeat(0);
    lab.restart(1);
    lab.heartbeat(0);
    lab.heartbeat(0);
    assert!(lab.commit(0) > before);
}

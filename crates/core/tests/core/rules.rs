//! The rules of `docs/safety.md` that core is responsible for, each a test with its number.

use crate::script::{Lab, Link, scenarios};
use crate::world::name;
use quorate_core::{Body, Index, Notice, Refusal, RoleEvent, Standing, Term};

#[test]
fn rule_05_a_request_of_a_new_boot_voids_what_an_older_boot_acknowledged() {
    let mut lab = Lab::elected(3);
    // n1 acknowledges an entry. The acknowledgement is delayed; n1 crashes and loses the entry.
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
    // It asks for a read index. Its replies to AppendEntries are lost, so the request is all that the leader hears of this boot.
    lab.wait_ms(100);
    lab.tick(0);
    lab.deliver(0, 1);
    let asks = |body: &Body| matches!(body, Body::ReadIndexRequest(_));
    lab.wire.retain(|m| m.from != name(1) || asks(&m.body));
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
    // n1, recovering in its second boot, asks for a read index; the answer is delayed.
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
        lab.common(1, RoleEvent::Message(message));
    }
    assert!(lab.state(1).hard_state().recovering, "what was confirmed before this boot ended Recovering");
}

#[test]
fn rule_16_a_leader_without_space_refuses_and_gives_way() {
    let mut lab = Lab::elected(3);
    // It hands nothing over as soon as it is elected, and only to who is in contact.
    for _ in 0..4 {
        lab.wait_ms(800);
        lab.heartbeat(0);
        lab.settle();
    }
    lab.common(0, RoleEvent::DiskFull(true));
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
    // n1's disk is replaced by an old copy, with the boot number of the copy.
    let boot = lab.nodes[1].boot;
    lab.crash(1);
    lab.nodes[1].disk.log.truncate(1);
    lab.nodes[1].boot = quorate_core::Boot(boot.0 - 1);
    lab.start(1);
    lab.heartbeat(0);
    let told = |notice: &Notice| matches!(notice, Notice::RolledBack { .. });
    assert!(lab.nodes[0].notices.iter().any(told), "{:?}", lab.nodes[0].notices);
    // Its acknowledgements no longer count: without n2 nothing is committed.
    lab.isolate(2);
    let before = lab.commit(0);
    lab.propose(0, "c");
    lab.settle();
    assert_eq!(lab.commit(0), before);
    // After a restart, with another boot number, it counts again.
    lab.restart(1);
    lab.heartbeat(0);
    lab.restart(1);
    lab.heartbeat(0);
    lab.heartbeat(0);
    assert!(lab.commit(0) > before);
}

#[test]
fn rule_01_a_reply_waits_for_term_and_vote() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    lab.campaign(0);
    lab.deliver_on(Link::default());
    lab.deliver_on(Link::default());
    assert!(lab.wire.is_empty(), "a candidate asks once its own vote is on disk");
    lab.persist(0);
    lab.deliver_on(Link::default());
    assert!(lab.wire.is_empty(), "a voter answers once its vote is on disk");
    let written = |at: usize, lab: &Lab| lab.nodes[at].disk.pending[0].clone();
    assert!(written(1, &lab).hard_state_changed && written(2, &lab).hard_state_changed);
    lab.persist(1);
    lab.deliver(1, 0);
    assert!(lab.leads(0));
    // Every later write repeats the newest term and vote.
    let lazy = written(0, &lab);
    assert!(!lazy.hard_state_changed);
    assert_eq!((lazy.hard_state.term, lazy.hard_state.voted_for), (Term(1), Some(name(0))));
}

#[test]
fn rule_02_a_learner_votes_and_never_stands_and_a_recovering_node_does_neither() {
    let mut lab = Lab::new(2, 1);
    lab.start_all();
    lab.crash(1);
    lab.nodes[1].disk.hard_state.recovering = true;
    lab.start(1);
    lab.campaign(0);
    lab.settle();
    assert!(!lab.leads(0), "n1 is recovering, and a learner's vote does not count");
    for at in [1, 2] {
        (0..3).for_each(|_| lab.tick_due(at));
        assert!(lab.follows(at), "{}", lab.describe(at));
    }
    assert_eq!(lab.state(2).hard_state().voted_for, None, "a pre-vote binds no node");
}

#[test]
fn rule_05_a_majority_must_confirm_without_the_one_that_recovers() {
    let mut lab = scenarios::recovering_without_a_majority();
    assert!(lab.state(1).hard_state().recovering, "n0 and n1 are no majority without n1");
    lab.heal();
    for _ in 0..12 {
        lab.heartbeat(0);
    }
    assert!(!lab.state(1).hard_state().recovering);
    assert!(lab.nodes[1].notices.iter().any(|notice| matches!(notice, Notice::Recovered { .. })));
    assert!(!lab.nodes[1].disk.hard_state.recovering, "the flag on disk too");
}

#[test]
fn rule_05_only_the_disk_ends_recovering() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.settle();
    lab.crash(1);
    lab.nodes[1].disk.lose_suffix(1);
    lab.start(1);
    // It receives everything and learns its read index, but its disk completes no write.
    for _ in 0..4 {
        lab.wait_ms(100);
        lab.tick(0);
        for _ in 0..4 {
            lab.deliver_on(Link::default());
            lab.persist(0);
            lab.persist(2);
        }
    }
    assert_eq!(lab.last(1), 2, "in memory");
    assert!(lab.state(1).hard_state().recovering);
    lab.settle();
    assert!(!lab.state(1).hard_state().recovering);
}

#[test]
fn rule_09_what_is_unacknowledged_is_resent_in_sequence_before_anything_new() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.propose(0, "b");
    let before: Vec<_> = lab.nodes[0].disk.pending.iter().cloned().collect();
    lab.store_away(0);
    lab.propose(0, "while it is away");
    assert!(lab.nodes[0].disk.pending.is_empty());
    lab.store_back(0);
    let again: Vec<_> = lab.nodes[0].disk.pending.iter().cloned().collect();
    assert_eq!(again[..2], before[..]);
    assert!(again.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.next()), "no gap");
    lab.settle();
    assert_eq!(lab.commit(0), 4);
    // A follower whose store is away ignores messages and does not campaign.
    lab.store_away(1);
    assert_eq!(lab.state(1).standing(), Standing::Awaiting);
    lab.propose(0, "c");
    lab.settle();
    assert_eq!(lab.last(1), 4);
    (0..3).for_each(|_| lab.tick_due(1));
    assert!(lab.follows(1));
}

#[test]
fn rule_10_a_leader_applies_before_its_own_sync_and_a_follower_does_not() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.deliver_on(Link { from: Some(0), to: None });
    lab.persist(1);
    lab.persist(2);
    lab.deliver_on(Link { from: None, to: Some(0) });
    assert_eq!((lab.nodes[0].applied.len(), lab.state(0).durable().0), (2, 1));
    lab.persist(0);
    // n1 learns that the next entry is committed before its own disk has it.
    lab.propose(0, "b");
    lab.deliver(0, 2);
    lab.persist(2);
    lab.persist(0);
    lab.deliver(2, 0);
    lab.deliver(0, 1);
    lab.wait_ms(100);
    lab.tick(0);
    lab.deliver(0, 1);
    assert_eq!((lab.commit(1), lab.nodes[1].applied.len()), (3, 2));
    lab.persist(1);
    assert_eq!(lab.nodes[1].applied.len(), 3);
}

#[test]
fn rule_12_the_holder_refuses_what_it_has_not_appended() {
    let mut lab = Lab::elected(3);
    lab.transfer(0, Some(1));
    lab.propose(0, "handing over");
    assert_eq!(lab.nodes[0].refused, [Refusal::Transferring]);
    lab.settle();
    lab.heartbeat(1);
    lab.isolate(1);
    lab.propose(1, "appended, and never committed");
    assert_eq!(lab.nodes[1].accepted.last().map(|(first, _, count)| (first.0, *count)), Some((3, 1)));
    let (refused, last) = (lab.nodes[1].refused.len(), lab.last(1));
    lab.wait_ms(1_100);
    lab.tick(1);
    assert!(lab.follows(1));
    assert_eq!(
        (lab.nodes[1].refused.len(), lab.last(1)),
        (refused, last),
        "its fate is the applier's to tell"
    );
}

#[test]
fn rule_14_an_incarnation_is_written_once_into_the_membership() {
    let mut lab = Lab::elected(3);
    for peer in 0..3 {
        lab.incarnation(0, peer, 70 + peer as u64);
    }
    lab.settle();
    lab.heartbeat(0);
    for at in 0..3 {
        let members = &lab.state(at).committed_membership().members;
        let known: Vec<u64> = members.values().map(|member| member.incarnation.0).collect();
        assert_eq!(known, [70, 71, 72], "n{at}");
        assert_eq!(lab.state(at).membership().voters.len(), 3);
    }
}

#[test]
fn rule_16_a_follower_without_space_acknowledges_nothing_new_and_still_votes() {
    let mut lab = Lab::elected(3);
    lab.common(1, RoleEvent::DiskFull(true));
    lab.isolate(2);
    let before = lab.commit(0);
    lab.propose(0, "x");
    lab.settle();
    assert_eq!((lab.commit(0), lab.last(1)), (before, 1));
    lab.heal();
    lab.isolate(0);
    lab.elect(2);
    assert_eq!(lab.nodes[1].disk.hard_state.voted_for, Some(name(2)));
    lab.common(1, RoleEvent::DiskFull(false));
    lab.propose(2, "y");
    // The leader sends entries to a peer that was full again after an election timeout.
    for _ in 0..15 {
        lab.heartbeat(2);
    }
    assert_eq!(lab.terms(1), lab.terms(2));
}

/// n0 has appended a command that n1 and n2, whose disks are full, did not take, and leads a new term.
fn a_command_left_before_a_no_op(bytes: usize, full_since: impl Fn(&mut Lab)) -> Lab {
    let mut lab = Lab::elected(3);
    for at in [1, 2] {
        lab.common(at, RoleEvent::DiskFull(true));
    }
    lab.propose_bytes(0, vec![7; bytes].into());
    lab.settle();
    assert_eq!((lab.last(0), lab.last(1), lab.last(2)), (2, 1, 1), "full disks take no command of this term");
    full_since(&mut lab);
    lab.restart(0);
    lab.elect(0);
    lab.read(0, 1);
    for _ in 0..30 {
        lab.heartbeat(0);
    }
    lab
}

/// n1 and n2 say that they have room, and are full again when the next command comes: otherwise n0 would not take it.
fn takes_one_more(lab: &mut Lab, bytes: usize) {
    for full in [false, true] {
        for at in [1, 2] {
            lab.common(at, RoleEvent::DiskFull(full));
        }
        if !full {
            lab.heartbeat(0);
        }
    }
    lab.propose_bytes(0, vec![7; bytes].into());
    lab.settle();
}

#[test]
fn rule_16_a_full_disk_takes_what_an_earlier_leader_left_before_a_no_op() {
    let mut lab = a_command_left_before_a_no_op(1_000, |_| {});
    assert_eq!(
        lab.nodes[0].reads.get(&1),
        Some(&Some(Index(3))),
        "the no-op is committed, and reads are answered"
    );
    takes_one_more(&mut lab, 1);
    assert_eq!((lab.last(0), lab.last(1), lab.last(2)), (4, 3, 3), "what comes after it has no place");
    // The next leader finds a command before its no-op again, and this one has a place, too: it is small.
    lab.restart(0);
    lab.elect(0);
    assert_eq!((lab.commit(0), lab.last(1), lab.last(2)), (5, 5, 5));
}

#[test]
fn rule_16_what_full_disks_take_is_bounded_through_restarts() {
    let large = a_command_left_before_a_no_op(300 << 10, |_| {});
    assert_eq!((large.last(1), large.last(2)), (1, 1), "more than a full disk takes");
    let restarted = a_command_left_before_a_no_op(1_000, |lab| {
        for at in [1, 2] {
            lab.restart(at);
            lab.common(at, RoleEvent::DiskFull(true));
        }
    });
    assert_eq!(
        (restarted.last(1), restarted.last(2)),
        (1, 1),
        "nothing was appended with room since the start"
    );
    // Two of 150 KiB are more than the bound, in whichever terms they come.
    let mut lab = a_command_left_before_a_no_op(150 << 10, |_| {});
    assert_eq!((lab.commit(0), lab.last(1)), (3, 3));
    takes_one_more(&mut lab, 150 << 10);
    lab.restart(0);
    lab.elect(0);
    assert_eq!((lab.last(1), lab.last(2)), (3, 3));
    lab.common(1, RoleEvent::DiskFull(false));
    for _ in 0..30 {
        lab.heartbeat(0);
    }
    assert_eq!((lab.commit(0), lab.last(1), lab.last(2)), (5, 5, 3), "there is room again");
}

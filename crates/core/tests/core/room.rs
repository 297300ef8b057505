//! A leader with room whose followers have none (`docs/safety.md` 16).

use crate::alone::{TERM, node, state};
use crate::script::Lab;
use crate::world::name;
use quorate_core::{
    AppendReply, AppendResult, Body, Boot, Index, Leader, LeaderEvent, Message, NodeId, Notice,
    ReadIndexRequest, Refusal, ReplicationSession, RoleEvent, Round, Time,
};

/// Which voters it said were full, each time that it said something of it.
fn said_of_disks(lab: &Lab, at: usize) -> Vec<Vec<NodeId>> {
    let of_disks = |notice: &Notice| match notice {
        Notice::MajorityNoSpace { full } => Some(full.clone()),
        _ => None,
    };
    lab.nodes[at].notices.iter().filter_map(of_disks).collect()
}

/// The leader took what no majority could take, and each caller heard *unknown* after its whole deadline.
#[test]
fn rule_16_a_leader_takes_nothing_while_too_few_voters_have_room() {
    let mut lab = Lab::elected(3);
    lab.common(1, RoleEvent::DiskFull(true));
    lab.heartbeat(0);
    lab.propose(0, "two of three have room");
    lab.settle();
    assert_eq!((lab.commit(0), lab.last(0)), (2, 2));
    lab.common(2, RoleEvent::DiskFull(true));
    lab.heartbeat(0);
    for _ in 0..3 {
        lab.propose(0, "one has");
        lab.incarnation(0, 2, 9);
        lab.heartbeat(0);
    }
    assert_eq!(lab.nodes[0].refused, [Refusal::NoSpaceAtPeers; 3]);
    assert_eq!(lab.last(0), 2, "what is refused has not entered the log, and no membership either");
    assert!(lab.leads(0));
    // Nothing is proposed: the heartbeats' answers say that there is room again.
    lab.common(1, RoleEvent::DiskFull(false));
    lab.heartbeat(0);
    assert_eq!(said_of_disks(&lab, 0), [vec![name(1), name(2)], vec![]], "once each way");
    for _ in 0..15 {
        lab.heartbeat(0);
    }
    lab.propose(0, "two have again");
    lab.settle();
    assert_eq!(lab.commit(0), lab.last(0));
    assert_eq!(lab.last(0), 4, "the membership waited, too");
    assert_eq!(lab.nodes[0].refused.len(), 3);
}

/// One that answers and is full, and one that does not answer: that is no majority either.
#[test]
fn rule_16_a_silent_voter_does_not_count_as_one_with_room() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    lab.common(1, RoleEvent::DiskFull(true));
    lab.heartbeat(0);
    lab.propose(0, "it may be on its way");
    lab.settle();
    assert!(lab.nodes[0].refused.is_empty());
    for _ in 0..15 {
        lab.heartbeat(0);
    }
    lab.propose(0, "it is silent");
    assert_eq!(lab.nodes[0].refused, [Refusal::NoSpaceAtPeers]);
    assert_eq!(said_of_disks(&lab, 0), [vec![name(1)]]);
    lab.heal();
    for _ in 0..15 {
        lab.heartbeat(0);
    }
    lab.propose(0, "it is back");
    lab.settle();
    assert_eq!((lab.commit(0), lab.nodes[0].refused.len()), (lab.last(0), 1));
}

#[test]
fn rule_16_what_an_earlier_boot_said_of_its_disk_counts_for_nothing() {
    let mut leader = Leader::start(state(Some(0)), Time(0), 1_000).0;
    let full = |leader: &mut Leader, from: usize, session: u64, boot: u64| {
        let reply = AppendReply {
            session: ReplicationSession(session),
            round: Round::ZERO,
            sent_at: Time(1),
            result: AppendResult::Matched { index: Index(2) },
            disk_full: true,
            recovering: false,
            machine_down: false,
            applied: None,
        };
        hears(leader, from, boot, Body::AppendReply(reply));
        leader.full_voters(Time(2))
    };
    let none: [NodeId; 0] = [];
    assert_eq!(full(&mut leader, 1, 1, 4), none);
    assert_eq!(full(&mut leader, 2, 2, 1), [node(1), node(2)]);
    // Its next start asks first, and has said nothing of its disk.
    hears(&mut leader, 1, 5, Body::ReadIndexRequest(ReadIndexRequest { id: 1, recovering: false }));
    assert_eq!(leader.full_voters(Time(2)), none);
    assert_eq!(full(&mut leader, 1, 4, 4), none, "late, from the start before");
    assert_eq!(full(&mut leader, 1, 4, 5), [node(1), node(2)]);
}

fn hears(leader: &mut Leader, from: usize, boot: u64, body: Body) {
    let message = Message { from: node(from), to: node(0), boot: Boot(boot), term: TERM, body };
    leader.step(Time(2), LeaderEvent::Role(RoleEvent::Message(message)));
}

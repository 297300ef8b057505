//! Bugs of log replication that shipped in other engines (`known-bugs.md` 24 to 45), each a test.

use crate::script::{Lab, Link};
use crate::world::{Replica, ReplicaEvent, name};
use quorate_core::{
    AppendEntries, AppendReply, AppendResult, Body, Boot, Entry, EntryKind, HardState, Hash, Index, Loaded,
    LogId, MembershipLog, Message, PeerLink, Position, ReplicaState, ReplicationSession, ReplicationState,
    RoleEvent, Round, Sequence, Tail, Term, Time, VoteKind, VoteRequest,
};

/// Entries of these terms after `before`, with payloads that differ by `salt`.
fn entries(before: Position, terms: &[u64], salt: &str) -> Vec<Entry> {
    let mut last = before;
    let mut out = Vec::new();
    for term in terms {
        let payload = bytes::Bytes::from(format!("{salt}{}", last.index.next()));
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(last, Term(*term), 1_000, EntryKind::Command, payload, leaf);
        last = entry.position();
        out.push(entry);
    }
    out
}

/// An append from n`from`, the leader of `term`.
fn append(
    lab: &mut Lab,
    from: usize,
    to: usize,
    term: u64,
    prev: Position,
    entries: Vec<Entry>,
    commit: u64,
) {
    let body = Body::AppendEntries(AppendEntries {
        session: ReplicationSession(1),
        prev: prev.log_id(),
        entries: entries.into(),
        commit: Index(commit),
        round: Round::ZERO,
        sent_at: lab.now,
        snapshot: None,
    });
    let message = Message { from: name(from), to: name(to), boot: Boot(1), term: Term(term), body };
    lab.common(to, RoleEvent::Message(message));
}

/// The matched indexes in the acknowledgements to a leader that are in flight.
fn acks(lab: &Lab, to: usize) -> Vec<u64> {
    let matched = |m: &Message| match &m.body {
        Body::AppendReply(AppendReply { result: AppendResult::Matched { index }, .. })
            if m.to == name(to) =>
        {
            Some(index.0)
        }
        _ => None,
    };
    lab.wire.iter().filter_map(matched).collect()
}

fn reply(lab: &mut Lab, from: usize, to: usize, session: u64, sent_at: Time, result: AppendResult) {
    let body = Body::AppendReply(AppendReply {
        session: ReplicationSession(session),
        round: Round::ZERO,
        sent_at,
        result,
        disk_full: false,
        recovering: false,
        machine_down: false,
        applied: None,
    });
    let (boot, term) = (Boot(1), Term(lab.term(to)));
    lab.common(to, RoleEvent::Message(Message { from: name(from), to: name(to), boot, term, body }));
}

fn session(lab: &Lab, leader: usize, peer: usize) -> u64 {
    lab.replica(leader).replicator(&name(peer)).expect("it leads").session().0
}

/// The messages of node `from` that are in flight, by name.
fn said(lab: &Lab, from: usize) -> Vec<&'static str> {
    lab.wire.iter().filter(|message| message.from == name(from)).map(|message| message.body.name()).collect()
}

#[test]
fn bug_03_a_vote_is_not_overtaken_by_entries() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    let ask = VoteRequest {
        kind: VoteKind::Real,
        campaign: Term(1),
        last: LogId::default(),
        forced: false,
        applied: None,
    };
    let (boot, term, body) = (Boot(1), Term(1), Body::VoteRequest(ask));
    lab.common(1, RoleEvent::Message(Message { from: name(0), to: name(1), boot, term, body }));
    // The candidate won with another vote, and its entries arrive while this vote is still being written.
    append(&mut lab, 0, 1, 1, Position::ORIGIN, entries(Position::ORIGIN, &[1], "x"), 0);
    let orders: Vec<_> =
        lab.nodes[1].disk.pending.iter().map(|w| (w.hard_state_changed, w.entries.len())).collect();
    assert_eq!(orders, [(true, 0), (false, 1)], "one queue: the vote, then the entry");
    assert!(said(&lab, 1).is_empty(), "nothing that depends on either has left");
    lab.persist_one(1);
    assert_eq!(said(&lab, 1), ["VoteReply"], "the acknowledgement waits for its entry");
    lab.persist_one(1);
    assert_eq!(said(&lab, 1), ["VoteReply", "AppendReply"]);
    // A completion of the later one means that the earlier one is durable too.
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    let body = Body::VoteRequest(VoteRequest {
        kind: VoteKind::Real,
        campaign: Term(1),
        last: LogId::default(),
        forced: false,
        applied: None,
    });
    lab.common(1, RoleEvent::Message(Message { from: name(0), to: name(1), boot, term, body }));
    append(&mut lab, 0, 1, 1, Position::ORIGIN, entries(Position::ORIGIN, &[1], "x"), 0);
    lab.common(1, RoleEvent::Persisted(Sequence(2)));
    assert_eq!(said(&lab, 1), ["VoteReply", "AppendReply"]);
    // An acknowledgement that brings nothing new still waits until its term is durable.
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    append(&mut lab, 0, 1, 3, Position::ORIGIN, Vec::new(), 0);
    assert!(!lab.nodes[1].disk.pending.is_empty(), "the term is being written");
    assert!(said(&lab, 1).is_empty(), "nothing is said before it is");
    lab.persist(1);
    assert_eq!(said(&lab, 1), ["AppendReply"]);
}

#[test]
fn bug_24_stale_append_keeps_tail() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    let run = entries(Position::ORIGIN, &[1, 1, 1], "x");
    append(&mut lab, 0, 1, 1, Position::ORIGIN, run.clone(), 0);
    append(&mut lab, 0, 1, 1, Position::ORIGIN, run[..1].to_vec(), 0);
    append(&mut lab, 0, 1, 1, Position::ORIGIN, Vec::new(), 0);
    assert_eq!(lab.last(1), 3);
    assert!(lab.nodes[1].disk.pending.iter().all(|write| write.truncate_from.is_none()));
}

#[test]
fn bug_25_a_previous_entry_below_the_log_is_a_match() {
    let run = entries(Position::ORIGIN, &[1, 1, 1, 1, 1, 1], "x");
    let membership = Lab::new(3, 0);
    let loaded = Loaded {
        me: name(1),
        boot: Boot(1),
        hard_state: HardState { term: Term(1), ..HardState::default() },
        tail: Tail::new(run[3].position()),
        memberships: MembershipLog::new(Index::ZERO, membership.founding()),
        commit: Index(4),
        applied: LogId { term: Term(1), index: Index(4) },
        unmet: std::collections::BTreeSet::new(),
        entropy: 1,
    };
    let state = ReplicaState::new(loaded, membership.config.clone());
    let (mut replica, _) = Replica::start(state, Time(0));
    let body = Body::AppendEntries(AppendEntries {
        session: ReplicationSession(1),
        prev: run[1].log_id(),
        entries: run[2..].to_vec().into(),
        commit: Index(6),
        round: Round::ZERO,
        sent_at: Time(0),
        snapshot: None,
    });
    let message = Message { from: name(0), to: name(1), boot: Boot(1), term: Term(1), body };
    replica.step(Time(1), ReplicaEvent::Role(RoleEvent::Message(message)));
    assert_eq!((replica.state().tail().last().index, replica.state().commit()), (Index(6), Index(6)));
}

#[test]
fn bug_27_late_and_repeated_rejections_move_nothing_below_what_matched() {
    let mut lab = Lab::elected(3);
    for word in ["a", "b", "c"] {
        lab.propose(0, word);
    }
    lab.settle();
    let (at, start) = (session(&lab, 0, 1), lab.replica(0).replicator(&name(1)).unwrap().state());
    assert_eq!(start, ReplicationState::Stream);
    let early = Time(lab.now.0 - 1);
    let conflict = AppendResult::Conflict { hint: LogId::default(), last: Index(0) };
    reply(&mut lab, 1, 0, at, early, conflict.clone());
    reply(&mut lab, 1, 0, at, early, conflict);
    assert_eq!(lab.replica(0).replicator(&name(1)).unwrap().state(), ReplicationState::Stream);
    lab.propose(0, "d");
    lab.settle();
    assert_eq!(lab.last(1), 5);
}

#[test]
fn bug_28_acks_of_an_earlier_session_do_not_count() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    lab.propose(0, "x");
    let (now, at) = (lab.now, session(&lab, 0, 1));
    lab.persist(0);
    let before = lab.commit(0);
    reply(&mut lab, 1, 0, at + 7, now, AppendResult::Matched { index: Index(2) });
    reply(&mut lab, 1, 0, at - 1, now, AppendResult::Matched { index: Index(2) });
    assert_eq!(lab.commit(0), before);
    reply(&mut lab, 1, 0, at, now, AppendResult::Matched { index: Index(2) });
    assert_eq!(lab.commit(0), 2);
}

/// n0 leads twice. A reply of n1 to a message of the first leadership is no reply to one of the second (seed 462).
#[test]
fn bug_28_55_an_answer_to_an_append_of_an_earlier_term_confirms_nothing() {
    let mut lab = Lab::elected(3);
    for id in 1..5 {
        lab.read(0, id);
        lab.settle();
    }
    lab.heartbeat(0);
    lab.wait_ms(100);
    lab.tick(0);
    lab.stash(Link::between(0, 1));
    lab.transfer(0, Some(2));
    lab.settle();
    // A new process counts its sessions and rounds from the beginning.
    lab.restart(0);
    lab.heartbeat(2);
    lab.heartbeat(2);
    lab.transfer(2, Some(0));
    lab.settle();
    assert!(lab.leads(0) && lab.term(0) == 3);
    lab.heartbeat(0);
    // n1 answers the late append of term 1, with round 4, in term 3.
    lab.isolate(2);
    lab.unstash();
    assert!(lab.wire.iter().any(|m| m.from == name(1)), "n1 says that the term is over");
    lab.settle();
    lab.cut_both(0, 1);
    lab.read(0, 9);
    lab.settle();
    assert_eq!(lab.nodes[0].reads.get(&9), None, "a round of term 1 confirmed one of term 3");
}

#[test]
fn bug_28_what_was_read_for_an_earlier_leadership_is_not_sent() {
    let mut lab = Lab::elected(3);
    let first = session(&lab, 0, 1);
    lab.transfer(0, Some(2));
    lab.settle();
    lab.heartbeat(2);
    lab.transfer(2, Some(0));
    lab.settle();
    lab.heartbeat(0);
    assert!(lab.leads(0));
    let prev = lab.state(0).tail().last();
    let foreign = entries(prev, &[3, 3], "not of this log");
    let late = ReplicaEvent::Fetched {
        peer: name(1),
        session: ReplicationSession(first),
        prev: prev.log_id(),
        entries: foreign,
    };
    lab.step(0, late);
    assert!(lab.wire.is_empty(), "it was sent");
}

#[test]
fn bug_29_a_followers_commit_ends_where_the_message_verified() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    let run = entries(Position::ORIGIN, &[1, 1, 1], "old");
    append(&mut lab, 0, 1, 1, Position::ORIGIN, run.clone(), 0);
    // The leader of term 2 has committed 3 entries; of ours it verified the first alone.
    append(&mut lab, 2, 1, 2, run[0].position(), Vec::new(), 3);
    assert_eq!(lab.commit(1), 1);
    append(&mut lab, 2, 1, 2, run[0].position(), Vec::new(), 900);
    assert_eq!(lab.commit(1), 1);
}

#[test]
fn bug_30_a_long_conflict_over_many_terms_takes_few_trips() {
    let mut lab = Lab::new(3, 0);
    let ours: Vec<u64> = (0..100).map(|at| 1 + 2 * (at / 10)).collect();
    let theirs: Vec<u64> = (0..120).map(|at| if at < 5 { 1 } else { 2 + 2 * (at / 10) }).collect();
    lab.preset(0, &ours, 30);
    lab.preset(1, &ours, 30);
    lab.preset(2, &theirs, 30);
    lab.start_all();
    lab.isolate(2);
    lab.elect(0);
    lab.heal();
    lab.wait(lab.config.heartbeat_interval);
    lab.tick(0);
    let mut trips = 0;
    while lab.terms(2) != lab.terms(0) {
        lab.deliver_on(Link::default());
        lab.persist(2);
        trips += 1;
        assert!(trips < 2 * 26, "more trips than there are terms");
    }
    assert!(trips <= 28, "{trips} half trips");
}

#[test]
fn bug_32_counters_return_to_zero() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "on its way");
    assert_ne!(lab.replica(0).replicator(&name(1)).unwrap().in_flight(), (0, 0));
    lab.step(0, ReplicaEvent::Role(RoleEvent::Link { peer: name(1), link: PeerLink::Down }));
    assert_eq!(lab.replica(0).replicator(&name(1)).unwrap().in_flight(), (0, 0));
    lab.step(0, ReplicaEvent::Role(RoleEvent::Link { peer: name(1), link: PeerLink::Up }));
    lab.settle();
    // Proposals reach the limit of uncommitted bytes again and again.
    let mut small = Lab::new(3, 0);
    small.config.uncommitted_bytes_max = 200;
    small.start_all();
    small.elect(0);
    for round in 0..20 {
        small.propose(0, "sixty-four bytes of header and this");
        small.propose(0, "again");
        small.settle();
        assert!(small.nodes[0].refused.is_empty(), "round {round}");
    }
}

#[test]
fn bug_33_completions_are_monotone_and_unknown_ones_change_nothing() {
    let mut lab = Lab::new(1, 0);
    lab.start_all();
    lab.elect(0);
    lab.propose(0, "a");
    lab.propose(0, "b");
    let newest = lab.nodes[0].disk.pending.back().unwrap().sequence;
    lab.common(0, RoleEvent::Persisted(newest));
    assert_eq!(lab.state(0).durable(), Index(3));
    lab.common(0, RoleEvent::Persisted(Sequence(newest.0 - 1)));
    lab.common(0, RoleEvent::Persisted(Sequence(newest.0 + 50)));
    assert_eq!(lab.state(0).durable(), Index(3));
    lab.propose(0, "c");
    assert_eq!(lab.state(0).durable(), Index(3), "a number said too early completes nothing later");
}

#[test]
fn bug_34_35_a_late_completion_does_not_count_for_what_replaced_it() {
    let mut lab = Lab::new(3, 0);
    lab.start_all();
    let old = entries(Position::ORIGIN, &[1, 1, 1], "old");
    append(&mut lab, 0, 1, 1, Position::ORIGIN, old.clone(), 0);
    // Before any of it is durable, the leader of term 2 replaces 2 and 3.
    let new = entries(old[0].position(), &[2, 2], "new");
    append(&mut lab, 2, 1, 2, old[0].position(), new, 0);
    let first = lab.nodes[1].disk.pending[0].sequence;
    lab.common(1, RoleEvent::Persisted(first));
    assert_eq!(lab.state(1).durable(), Index(1), "of the first write only entry 1 still counts");
    assert!(acks(&lab, 2).is_empty());
    lab.common(1, RoleEvent::Persisted(Sequence(first.0 + 1)));
    assert_eq!(acks(&lab, 2), [3]);
    // A truncation lowers the durable index.
    let again = entries(old[0].position(), &[3], "newest");
    append(&mut lab, 0, 1, 3, old[0].position(), again, 0);
    assert_eq!(lab.state(1).durable(), Index(1));
}

#[test]
fn bug_36_an_acknowledgement_waits_for_the_disk() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "a");
    lab.deliver(0, 1);
    // The replies to a repeated message and to a heartbeat claim no more than the disk has.
    lab.wait_ms(100);
    lab.tick(0);
    lab.deliver(0, 1);
    assert!(acks(&lab, 0).iter().all(|index| *index < 2), "{:?}", acks(&lab, 0));
    lab.persist(1);
    assert_eq!(acks(&lab, 0).iter().max(), Some(&2));
}

#[test]
fn bug_37_38_a_leader_counts_itself_once_its_disk_has_it() {
    let mut lab = Lab::new(1, 0);
    lab.start_all();
    lab.campaign(0);
    lab.persist_one(0);
    assert!(lab.leads(0), "its vote is on disk");
    assert_eq!(lab.commit(0), 0, "its no-op is not");
    lab.persist(0);
    assert_eq!(lab.commit(0), 1);
    lab.propose(0, "a");
    assert_eq!(lab.commit(0), 1);
    lab.persist(0);
    assert_eq!(lab.commit(0), 2);
}

#[test]
fn bug_40_an_idle_group_brings_a_follower_level() {
    let mut lab = Lab::elected(3);
    lab.isolate(2);
    for word in ["a", "b", "c"] {
        lab.propose(0, word);
    }
    lab.settle();
    lab.crash(2);
    lab.nodes[2].disk.log.clear();
    lab.nodes[2].disk.hard_state.recovering = true;
    lab.heal();
    lab.start(2);
    for _ in 0..30 {
        lab.heartbeat(0);
    }
    assert_eq!((lab.last(2), lab.commit(2)), (4, 4));
    assert!(!lab.state(2).hard_state().recovering);
}

#[test]
fn bug_42_splitting_leaves_no_hole() {
    let splits = [(1, 1 << 20, 1), (3, 1 << 20, 2), (64, 100, 64), (2, 150, 3)];
    // With and without a tail in memory: without one everything is read from the disk.
    let tails = [0, quorate_core::Config::default().tail_bytes_max];
    for ((entries_max, bytes_max, window), tail) in splits.iter().flat_map(|s| tails.map(|tail| (*s, tail))) {
        let mut lab = Lab::new(3, 0);
        lab.config.tail_bytes_max = tail;
        lab.config.append_entries_max = entries_max;
        lab.config.append_bytes_max = bytes_max;
        lab.config.window_messages_max = window;
        lab.config.apply_window_entries_max = 3;
        lab.start_all();
        lab.elect(0);
        for at in 0..40 {
            lab.propose_bytes(0, bytes::Bytes::from(vec![7; at * 5]));
        }
        lab.settle();
        lab.heartbeat(0);
        assert_eq!(lab.terms(1), lab.terms(0));
        for at in 0..3 {
            assert!(lab.nodes[at].applied.iter().zip(1..).all(|(entry, index)| entry.index.0 == index));
            assert_eq!(lab.nodes[at].applied.len(), 41, "n{at} of {entries_max} {bytes_max} {window}");
        }
    }
}

#[test]
fn bug_43_a_step_down_keeps_what_is_committed_and_refuses_reads() {
    let mut lab = Lab::elected(3);
    lab.propose(0, "committed");
    lab.settle();
    lab.isolate(0);
    lab.propose(0, "not committed");
    lab.read(0, 5);
    lab.wait_ms(1_100);
    lab.tick(0);
    assert!(lab.follows(0));
    assert_eq!((lab.commit(0), lab.last(0)), (2, 3));
    assert_eq!(lab.nodes[0].reads.get(&5), Some(&None));
    lab.elect(1);
    lab.heal();
    lab.heartbeat(1);
    assert_eq!(lab.terms(0), lab.terms(1));
}

#[test]
fn bug_44_a_hung_follower_costs_a_window_and_no_more() {
    let mut lab = Lab::new(3, 0);
    lab.config.window_messages_max = 4;
    lab.start_all();
    lab.elect(0);
    for at in 0..50 {
        lab.propose(0, &format!("{at}"));
        lab.deliver(0, 1);
        lab.persist(0);
        lab.persist(1);
        lab.deliver(1, 0);
        assert!(lab.replica(0).replicator(&name(2)).unwrap().in_flight().0 <= 4);
    }
    let sent = lab
        .wire
        .iter()
        .filter(|m| m.to == name(2) && matches!(&m.body, Body::AppendEntries(a) if !a.entries.is_empty()));
    assert!(sent.count() <= 4);
    assert_eq!(lab.commit(0), 51);
}

//! How a replicator splits entries into messages, and how far it sends ahead of acknowledgements.

use bytes::Bytes;
use quorate_core::{
    AppendEntries, Config, Entry, EntryKind, Hash, Index, LogId, NodeId, Position, ReplicationSession,
    ReplicationState, Replicator, ReplicatorEffect, ReplicatorEvent, Round, Term, Time,
};

const AGREED: LogId = LogId { term: Term(1), index: Index(4) };

/// Entries after [`AGREED`], each with so many bytes of payload.
fn entries(payloads: &[usize]) -> Vec<Entry> {
    let mut place = Position { index: AGREED.index, term: AGREED.term, chain: Hash::default() };
    let next = |length: &usize| {
        let payload = Bytes::from(vec![7; *length]);
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(place, Term(1), 0, EntryKind::Command, payload, leaf);
        place = entry.position();
        entry
    };
    payloads.iter().map(next).collect()
}

/// One that streams after [`AGREED`]; the leader's last entry is `last`.
fn streaming(config: &Config, last: u64) -> Replicator {
    let peer = NodeId::new("n1").expect("a name");
    let last = LogId { term: Term(1), index: Index(last) };
    let session = ReplicationSession(1);
    let (mut replicator, _) =
        Replicator::start(peer, session, config.clone(), Time(0), last, Index(4), Round::ZERO);
    replicator.step(Time(1), ReplicatorEvent::Matched(AGREED));
    assert_eq!(replicator.state(), ReplicationState::Stream);
    replicator
}

fn sent(effects: &[ReplicatorEffect]) -> Vec<&AppendEntries> {
    let appends = effects.iter().map(|effect| match effect {
        ReplicatorEffect::Send(append) | ReplicatorEffect::SendAhead(append) => Some(append),
        ReplicatorEffect::Fetch { .. } => None,
    });
    appends.flatten().collect()
}

/// The indexes of each message.
fn cut(effects: &[ReplicatorEffect]) -> Vec<Vec<u64>> {
    let indexes = |append: &&AppendEntries| append.entries.iter().map(|entry| entry.index.0).collect();
    sent(effects).iter().map(indexes).collect()
}

fn append(replicator: &mut Replicator, prev: LogId, entries: Vec<Entry>) -> Vec<ReplicatorEffect> {
    replicator.step(Time(2), ReplicatorEvent::Appended { prev, entries: entries.into() })
}

#[test]
fn a_message_ends_at_either_limit_and_has_one_entry_at_least() {
    let of_100 = entries(&[100])[0].encoded_bytes();
    for (entries_max, bytes_max, payloads, expected) in [
        (3, usize::MAX, &[100; 7][..], &[&[5, 6, 7][..], &[8, 9, 10], &[11]][..]),
        (9, 2 * of_100, &[100; 5], &[&[5, 6], &[7, 8], &[9]]),
        (9, 2 * of_100 - 1, &[100; 3], &[&[5], &[6], &[7]]),
        (9, 2 * of_100, &[100, 900, 100, 100], &[&[5], &[6], &[7, 8]]),
    ] {
        let config =
            Config { append_entries_max: entries_max, append_bytes_max: bytes_max, ..Config::default() };
        let mut replicator = streaming(&config, 4);
        let effects = append(&mut replicator, AGREED, entries(payloads));
        assert_eq!(cut(&effects), expected, "{entries_max} entries, {bytes_max} bytes");
        let bytes: usize = entries(payloads).iter().map(Entry::encoded_bytes).sum();
        assert_eq!(replicator.in_flight(), (expected.len(), bytes));
    }
}

#[test]
fn bug_32_the_window_has_room_for_so_many_messages_and_bytes_and_no_more() {
    let of_100 = entries(&[100])[0].encoded_bytes();
    let one_each = Config { append_entries_max: 1, ..Config::default() };
    for (messages_max, bytes_max, expected) in
        [(3, usize::MAX, 3), (64, 2 * of_100, 2), (64, 2 * of_100 + 1, 3)]
    {
        let config =
            Config { window_messages_max: messages_max, window_bytes_max: bytes_max, ..one_each.clone() };
        let mut replicator = streaming(&config, 4);
        let effects = append(&mut replicator, AGREED, entries(&[100; 6]));
        assert_eq!(sent(&effects).len(), expected, "{messages_max} messages, {bytes_max} bytes");
        // One is acknowledged: what did not fit is asked for, since it is the leader who has it.
        let first = LogId { term: Term(1), index: Index(5) };
        let effects = replicator.step(Time(3), ReplicatorEvent::Matched(first));
        let from = Index(5 + expected as u64);
        assert!(
            matches!(effects[..], [ReplicatorEffect::Fetch { from: at, .. }] if at == from),
            "{effects:?}"
        );
        assert_eq!(replicator.in_flight(), (expected - 1, (expected - 1) * of_100));
    }
}

#[test]
fn bug_24_only_a_later_match_ends_a_pause_and_moves_the_stream() {
    let mut replicator = streaming(&Config::default(), 4);
    append(&mut replicator, AGREED, entries(&[1; 3]));
    replicator.step(Time(3), ReplicatorEvent::NoSpace);
    assert_eq!((replicator.state(), replicator.in_flight()), (ReplicationState::Probe, (0, 0)));
    // What it said before its disk was full is no word of space.
    let effects = replicator.step(Time(4), ReplicatorEvent::Matched(AGREED));
    assert!(effects.is_empty() && replicator.state() == ReplicationState::Stream, "{effects:?}");
    let at = |index| LogId { term: Term(1), index: Index(index) };
    let effects = replicator.step(Time(5), ReplicatorEvent::Matched(at(6)));
    assert!(
        matches!(effects[..], [ReplicatorEffect::Fetch { from: Index(7), .. }]),
        "it has space: {effects:?}"
    );
    let entries = entries(&[1; 3]).split_off(2);
    let session = ReplicationSession(1);
    let effects =
        replicator.step(Time(6), ReplicatorEvent::Fetched { session, prev: at(6), entries: entries.into() });
    assert_eq!(cut(&effects), [[7]]);
    // An acknowledgement of what it had before does not move the stream back, nor one of what was sent.
    for index in [5, 6, 7] {
        assert!(replicator.step(Time(7), ReplicatorEvent::Matched(at(index))).is_empty());
    }
    let mut next = Replicator::clone(&replicator);
    let place = Position { index: Index(7), term: Term(1), chain: Hash::default() };
    let entry = Entry::follow(place, Term(1), 0, EntryKind::Noop, Bytes::new(), Hash::of(b""));
    assert_eq!(cut(&append(&mut next, at(7), vec![entry])), [[8]], "what follows goes out as it is");
    // One of more than was sent, as after a restart of this replicator's session's leader, moves it on.
    replicator.step(Time(8), ReplicatorEvent::Matched(at(9)));
    let place = Position { index: Index(9), term: Term(1), chain: Hash::default() };
    let entry = Entry::follow(place, Term(1), 0, EntryKind::Noop, Bytes::new(), Hash::of(b""));
    assert_eq!(cut(&append(&mut replicator, at(9), vec![entry])), [[10]]);
}

/// Heartbeats that queue behind megabytes depose their leader: what is in flight is overtaken, and nothing is claimed that the
/// peer may not have.
#[test]
fn a_heartbeat_overtakes_what_is_in_flight_and_claims_what_is_matched_alone() {
    let config = Config::default();
    let interval = config.heartbeat_interval;
    let mut replicator = streaming(&config, 4);
    append(&mut replicator, AGREED, entries(&[1; 3]));
    replicator.step(Time(3), ReplicatorEvent::Committed(Index(7)));
    let due = replicator.deadline().expect("the link is up");
    assert_eq!(due, Time(0) + interval, "since the last one that went ahead");
    for (at, event) in
        [(due, ReplicatorEvent::Tick), (due + interval / 2, ReplicatorEvent::Confirm(Round(5)))]
    {
        let effects = replicator.step(at, event);
        let ahead = effects.iter().find_map(|effect| match effect {
            ReplicatorEffect::SendAhead(append) => Some(append),
            _ => None,
        });
        let ahead = ahead.expect("it does not wait behind entries");
        assert_eq!((ahead.prev, ahead.commit, ahead.entries.len()), (AGREED, AGREED.index, 0));
        assert_eq!((ahead.round, ahead.sent_at), (replicator_round(&effects), at));
    }
    // Other groups may have megabytes on their way to this peer.
    let last = LogId { term: Term(1), index: Index(7) };
    replicator.step(due + interval, ReplicatorEvent::Matched(last));
    let effects = replicator.step(due + interval * 2, ReplicatorEvent::Tick);
    assert!(matches!(effects[..], [ReplicatorEffect::SendAhead(_)]), "one, and ahead: {effects:?}");
}

fn replicator_round(effects: &[ReplicatorEffect]) -> Round {
    sent(effects).last().expect("something was sent").round
}

/// A client that writes one command after the other: the next entries tell the commit index, and no message of its own does.
#[test]
fn an_idle_peer_hears_of_a_commit_with_the_next_entries_or_soon() {
    let soon = std::time::Duration::from_millis(2);
    let config = Config { untold_commit_max: soon, ..Config::default() };
    let mut replicator = streaming(&config, 4);
    let two = entries(&[1, 1]);
    append(&mut replicator, AGREED, two[..1].to_vec());
    replicator.step(Time(2), ReplicatorEvent::Matched(two[0].log_id()));
    assert_eq!(replicator.step(Time(3), ReplicatorEvent::Committed(Index(5))), []);
    assert_eq!(replicator.deadline(), Some(Time(3) + soon));
    let mut without = replicator.clone();

    let next = append(&mut replicator, two[0].log_id(), two[1..].to_vec());
    assert_eq!(sent(&next)[0].commit, Index(5));
    assert!(replicator.deadline() > Some(Time(3) + soon), "there is nothing more to tell");

    assert_eq!(without.step(Time(4), ReplicatorEvent::Tick), [], "it is not due");
    let due = without.step(Time(3) + soon, ReplicatorEvent::Tick);
    assert_eq!((sent(&due)[0].commit, sent(&due)[0].entries.len()), (Index(5), 0));
    assert_eq!(without.step(Time(3) + soon * 2, ReplicatorEvent::Tick), [], "once");

    // Acknowledged after the commit index moved: it has waited long enough.
    let mut late = streaming(&config, 4);
    append(&mut late, AGREED, two[..1].to_vec());
    late.step(Time(3), ReplicatorEvent::Committed(Index(5)));
    let due = late.step(Time(3) + soon, ReplicatorEvent::Matched(two[0].log_id()));
    assert_eq!(sent(&due)[0].commit, Index(5));
}

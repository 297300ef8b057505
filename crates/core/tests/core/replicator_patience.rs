//! A replicator whose leader confirms reads more often than it sends heartbeats: stale fetches and pauses still expire.
//! Found by simulation seeds 1000088 and 1000478: a peer that was full once got nothing but heartbeats from then on.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::{
    Config, Entry, EntryKind, Hash, Index, LogId, NodeId, Position, ReplicationSession, ReplicationState,
    Replicator, ReplicatorEffect, ReplicatorEvent, Round, Term, Time,
};

const LAST: LogId = LogId { term: Term(1), index: Index(9) };
const AGREED: LogId = LogId { term: Term(1), index: Index(4) };

fn streaming(config: &Config) -> Replicator {
    let peer = NodeId::new("n1").expect("a name");
    let (mut replicator, _) =
        Replicator::start(peer, ReplicationSession(1), config.clone(), Time(0), LAST, Index(9), Round::ZERO);
    let effects = replicator.step(Time(1), ReplicatorEvent::Matched(AGREED));
    assert_eq!(fetches(&effects), 1, "what the peer lacks is asked for");
    replicator
}

fn fetches(effects: &[ReplicatorEffect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, ReplicatorEffect::Fetch { .. })).count()
}

/// Confirmations every tenth of a heartbeat interval, for three election timeouts: how often entries were asked for.
fn fetches_under_confirmations(config: &Config, replicator: &mut Replicator) -> usize {
    let step = config.heartbeat_interval / 10;
    let until = Time(0) + config.election_timeout * 3;
    let (mut now, mut round, mut asked) = (Time(2), Round::ZERO, 0);
    while now < until {
        (now, round) = (now + step, round.next());
        asked += fetches(&replicator.step(now, ReplicatorEvent::Confirm(round)));
        let is_put_off = replicator.deadline().expect("the link is up") > now;
        assert!(is_put_off || replicator.in_flight().0 > 0, "the tick is put off each time");
    }
    asked
}

#[test]
fn a_peer_that_was_full_is_tried_again() {
    let config = config();
    let mut replicator = streaming(&config);
    replicator.step(Time(2), ReplicatorEvent::NoSpace);
    replicator.step(Time(3), ReplicatorEvent::Matched(AGREED));
    assert!(
        fetches_under_confirmations(&config, &mut replicator) > 0,
        "a full peer is paused, not forgotten"
    );
}

#[test]
fn entries_that_were_never_fetched_are_asked_for_again() {
    let config = config();
    let mut replicator = streaming(&config);
    assert!(
        fetches_under_confirmations(&config, &mut replicator) > 0,
        "a lost fetch does not end replication"
    );
}

#[test]
fn a_message_that_was_lost_does_not_hold_the_window() {
    let config = Config { window_messages_max: 1, ..config() };
    let mut replicator = streaming(&config);
    let before = Position { index: AGREED.index, term: AGREED.term, chain: Hash::default() };
    let entry = Entry::follow(before, Term(1), 0, EntryKind::Noop, Bytes::new(), Hash::of(b""));
    let fetched = ReplicatorEvent::Fetched {
        session: ReplicationSession(1),
        prev: AGREED,
        entries: vec![entry].into(),
    };
    replicator.step(Time(2), fetched);
    assert_eq!(replicator.in_flight().0, 1, "the window is full of messages that no peer will acknowledge");
    fetches_under_confirmations(&config, &mut replicator);
    assert_eq!(replicator.state(), ReplicationState::Probe, "it looks again where the peer is");
    assert_eq!(replicator.in_flight(), (0, 0));
}

/// Neither earlier, which would send what is on its way again, nor later.
#[test]
fn patience_ends_after_an_election_timeout() {
    let config = config();
    let mut replicator = streaming(&config);
    let asked_at = Time(1);
    let over = asked_at + config.election_timeout;
    let confirm = |round| ReplicatorEvent::Confirm(Round(round));
    assert_eq!(
        fetches(&replicator.step(Time(over.0 - 1), confirm(1))),
        0,
        "what was asked for may still come"
    );
    assert_eq!(fetches(&replicator.step(over, confirm(2))), 1);
    assert_eq!(fetches(&replicator.step(Time(over.0 + 1), confirm(3))), 0);
}

/// A tick that comes too early, or without a link, says nothing.
#[test]
fn heartbeats_are_sent_when_they_are_due() {
    let config = config();
    for (wait, link, sent) in [
        (config.heartbeat_interval, true, 1),
        (Duration::from_micros(19_999), true, 0),
        (config.heartbeat_interval, false, 0),
    ] {
        let mut replicator = streaming(&config);
        let since = Time(2);
        replicator.step(since, ReplicatorEvent::Confirm(Round(1)));
        if !link {
            replicator.step(since, ReplicatorEvent::LinkDown);
        }
        assert_eq!(replicator.deadline(), link.then(|| since + config.heartbeat_interval));
        let effects = replicator.step(since + wait, ReplicatorEvent::Tick);
        let appends = effects
            .iter()
            .filter(|effect| matches!(effect, ReplicatorEffect::Send(_) | ReplicatorEffect::SendAhead(_)));
        assert_eq!(appends.count(), sent, "after {wait:?}, link {link}");
    }
}

fn config() -> Config {
    Config {
        election_timeout: Duration::from_millis(100),
        heartbeat_interval: Duration::from_millis(20),
        ..Config::default()
    }
}

/// They were sent with every heartbeat, ten times a second.
#[test]
fn entries_that_a_peer_refuses_are_sent_ever_less_and_at_once_when_it_makes_progress() {
    let config = config();
    let mut replicator = streaming(&config);
    let (mut now, mut sent) = (Time(2), 0);
    while now < Time(0) + config.election_timeout * 60 {
        now = now + config.heartbeat_interval;
        let asked = fetches(&replicator.step(now, ReplicatorEvent::Tick));
        let asked = asked + fetches(&replicator.step(now, ReplicatorEvent::Matched(AGREED)));
        if asked > 0 {
            sent += 1;
            replicator.step(now, ReplicatorEvent::Refused);
        }
    }
    assert!((3..=7).contains(&sent), "{sent} times in sixty election timeouts");
    let more = LogId { term: Term(1), index: Index(5) };
    assert_eq!(fetches(&replicator.step(now, ReplicatorEvent::Matched(more))), 1, "it took one");
}

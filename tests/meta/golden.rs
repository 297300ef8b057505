//! The bytes of entries, memberships and messages between replicas, compared with files that are checked in: what other
//! versions have on disk and on their wires (`docs/formats.md`). `REWRITE=1` writes the files; a change of one is a
//! new version of the format, and needs a way to read the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use quorate_core::{
    AppendEntries, AppendReply, AppendResult, Body, Boot, Entry, EntryKind, HEADER_BYTES, Hash, Incarnation,
    Index, LogId, MachineProgress, Member, Membership, Message, NodeId, Position, ReadIndexReply,
    ReadIndexRequest, ReplicationSession, Round, Term, Time, VoteKind, VoteReply, VoteRequest, decode_run,
    encode_run, verify_run,
};

/// 32 bytes a line, as hex.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("a string takes all");
        }
        text.push('\n');
    }
    text
}

/// Compares with `golden/<name>.hex`, or writes it.
fn compare(name: &str, bytes: &[u8]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.hex"));
    let now = hex(bytes);
    if std::env::var("REWRITE").is_ok() {
        fs::create_dir_all(path.parent().context("it has one")?)?;
        fs::write(&path, &now)?;
    }
    let golden = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(
        golden == now,
        "{name}: the bytes have changed; see the header of tests/meta/golden.rs\nwas\n{golden}is\n{now}"
    );
    Ok(())
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn membership() -> Membership {
    let member = |raft: &str, api: &str, incarnation| Member {
        raft: raft.into(),
        api: api.into(),
        incarnation: Incarnation(incarnation),
        replaced: Vec::new(),
        demoted: false,
    };
    Membership {
        voters: BTreeSet::from([node("node0"), node("node1")]),
        outgoing: BTreeSet::from([node("node0")]),
        learners: BTreeSet::from([node("node2")]),
        members: BTreeMap::from([
            (node("node0"), member("10.0.0.1:7000", "10.0.0.1:8000", 0x0102_0304_0506_0708)),
            (node("node1"), member("10.0.0.2:7000", "", 1)),
            (node("node2"), member("10.0.0.3:7000", "", 0)),
        ]),
        joining: BTreeMap::new(),
        removed: Vec::new(),
        fingerprint: 0x1112_1314_1516_1718,
    }
}

/// One entry of each kind, in two terms.
fn entries() -> Vec<Entry> {
    let kinds = [
        (3, 1_700_000_000_000, EntryKind::Noop, Bytes::new()),
        (3, 1_700_000_000_001, EntryKind::Command, Bytes::from_static(b"\x01\x00command")),
        (0x0405, 1_700_000_000_001, EntryKind::Membership, membership().encode().into()),
    ];
    let (mut before, mut entries) = (Position::ORIGIN, Vec::new());
    for (term, time_ms, kind, payload) in kinds {
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(before, Term(term), time_ms, kind, payload, leaf);
        before = entry.position();
        entries.push(entry);
    }
    entries
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: Index(index) }
}

/// Every kind of body, and every variant inside.
fn bodies() -> Vec<(&'static str, Body)> {
    let request =
        |kind, forced| VoteRequest { kind, campaign: Term(8), last: log_id(7, 300), forced, applied: None };
    let reply = |kind, granted| VoteReply {
        kind,
        campaign: Term(8),
        granted,
        leads_better: false,
        recovering: false,
        no_voter: false,
    };
    let append = |entries: Vec<Entry>| AppendEntries {
        session: ReplicationSession(5),
        prev: log_id(0, 0),
        entries: entries.into(),
        commit: Index(2),
        round: Round(70_000),
        sent_at: Time(5_000_000_000),
        snapshot: None,
    };
    let offers = AppendEntries { snapshot: Some(Hash::of(b"offered")), ..append(Vec::new()) };
    let answer = |result| AppendReply {
        session: ReplicationSession(5),
        round: Round(70_000),
        sent_at: Time(5_000_000_000),
        result,
        disk_full: false,
        recovering: false,
        machine_down: false,
        applied: None,
    };
    let conflict = AppendResult::Conflict { hint: log_id(6, 255), last: Index(256) };
    let of_machine = Some(MachineProgress { index: Index(290), stuck: true });
    let yields = VoteRequest { applied: of_machine, ..request(VoteKind::Pre, false) };
    let better = VoteReply { leads_better: true, ..reply(VoteKind::Pre, false) };
    let recovers = VoteReply { recovering: true, ..reply(VoteKind::Pre, false) };
    let tells = VoteReply { no_voter: true, ..reply(VoteKind::Pre, false) };
    let matched = answer(AppendResult::Matched { index: Index(3) });
    let of_all = AppendReply {
        recovering: true,
        machine_down: true,
        applied: Some(Index(2)),
        disk_full: true,
        ..matched.clone()
    };
    vec![
        ("pre-vote-request-applied", Body::VoteRequest(yields)),
        ("pre-vote-reply-leads-better", Body::VoteReply(better)),
        ("pre-vote-reply-recovering", Body::VoteReply(recovers)),
        ("pre-vote-reply-no-voter", Body::VoteReply(tells)),
        ("append-reply-whole", Body::AppendReply(of_all)),
        ("pre-vote-request", Body::VoteRequest(request(VoteKind::Pre, false))),
        ("vote-request", Body::VoteRequest(request(VoteKind::Real, true))),
        ("pre-vote-reply", Body::VoteReply(reply(VoteKind::Pre, false))),
        ("vote-reply", Body::VoteReply(reply(VoteKind::Real, true))),
        ("heartbeat", Body::AppendEntries(append(Vec::new()))),
        ("heartbeat-snapshot", Body::AppendEntries(offers)),
        ("append", Body::AppendEntries(append(entries()))),
        ("append-reply-matched", Body::AppendReply(matched)),
        ("append-reply-conflict", Body::AppendReply(answer(conflict))),
        ("append-reply-refused", Body::AppendReply(answer(AppendResult::Refused { at: Index(3) }))),
        ("append-reply-no-space", Body::AppendReply(answer(AppendResult::NoSpace))),
        ("timeout-now", Body::TimeoutNow),
        ("read-index-request", Body::ReadIndexRequest(ReadIndexRequest { id: 1 << 48, recovering: true })),
        ("read-index-reply", Body::ReadIndexReply(ReadIndexReply { id: 1 << 48, index: Some(Index(9)) })),
        ("read-index-refused", Body::ReadIndexReply(ReadIndexReply { id: 1 << 48, index: None })),
    ]
}

#[test]
fn entries_are_byte_for_byte_as_ever() -> Result<()> {
    let entries = entries();
    let mut one = BytesMut::new();
    entries[1].encode(&mut one);
    assert_eq!(one.len(), HEADER_BYTES + entries[1].payload.len());
    compare("entry", &one)?;
    compare("run", &encode_run(&entries))?;
    let back = decode_run(&encode_run(&entries))?;
    assert_eq!(back, entries);
    verify_run(Position::ORIGIN, &back)?;
    Ok(())
}

#[test]
fn a_membership_is_byte_for_byte_as_ever() -> Result<()> {
    let bytes = membership().encode();
    compare("membership", &bytes)?;
    assert_eq!(Membership::decode(&bytes)?, membership());
    let renewed = Member { incarnation: Incarnation(2), ..membership().members[&node("node0")].clone() };
    let replaces = Membership { joining: BTreeMap::from([(node("node0"), renewed)]), ..membership() };
    let bytes = replaces.encode();
    compare("membership-joining", &bytes)?;
    assert_eq!(Membership::decode(&bytes)?, replaces);
    Ok(())
}

#[test]
fn messages_of_each_kind_are_byte_for_byte_as_ever() -> Result<()> {
    for (name, body) in bodies() {
        let message = Message { from: node("node0"), to: node("node1"), boot: Boot(4), term: Term(7), body };
        let bytes = message.encode();
        compare(&format!("message-{name}"), &bytes)?;
        assert_eq!(Message::decode(&bytes)?, message, "{name}");
    }
    Ok(())
}

/// A kind that is added and not written down here would have no golden file.
#[test]
fn every_kind_of_message_has_its_file() {
    let written: BTreeSet<&str> = bodies().iter().map(|(_, body)| variant(body)).collect();
    let all = [
        "Append",
        "AppendReply",
        "ReadIndexReply",
        "ReadIndexRequest",
        "TimeoutNow",
        "VoteReply",
        "VoteRequest",
    ];
    assert_eq!(written.into_iter().collect::<Vec<_>>(), all);
}

/// Without a wildcard: a new variant does not compile until it stands here.
fn variant(body: &Body) -> &'static str {
    match body {
        Body::VoteRequest(_) => "VoteRequest",
        Body::VoteReply(_) => "VoteReply",
        Body::AppendEntries(_) => "Append",
        Body::AppendReply(_) => "AppendReply",
        Body::TimeoutNow => "TimeoutNow",
        Body::ReadIndexRequest(_) => "ReadIndexRequest",
        Body::ReadIndexReply(_) => "ReadIndexReply",
    }
}

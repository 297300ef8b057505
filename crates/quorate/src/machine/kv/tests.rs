//! The map against a `BTreeMap`, through an executor.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_core::Index;

use super::*;
use crate::machine::testing::{Log, replied};
use crate::machine::{Executor, RestoreError};

type Model = BTreeMap<String, Versioned>;

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[ab]{1,3}", 1 => Just(String::new()), 1 => Just("k".repeat(KEY_BYTES_MAX + 1))]
}

fn values() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0..3_u8, 0..3).prop_map(Bytes::from)
}

fn commands() -> impl Strategy<Value = KvCommand> {
    let expected = prop_oneof![
        Just(KvExpected::Absent),
        values().prop_map(KvExpected::Value),
        (0..60_u64).prop_map(|index| KvExpected::Index(Index(index))),
        Just(KvExpected::Present),
    ];
    prop_oneof![
        3 => (keys(), values()).prop_map(|(key, value)| KvCommand::Set { key, value }),
        1 => keys().prop_map(|key| KvCommand::Delete { key }),
        2 => (keys(), expected, prop::option::of(values()))
            .prop_map(|(key, expected, value)| KvCommand::CompareAndSet { key, expected, value }),
    ]
}

fn put(model: &mut Model, key: String, value: Option<Bytes>, index: Index) -> Option<Versioned> {
    match value {
        Some(value) => model.insert(key, Versioned { value, index }),
        None => model.remove(&key),
    }
}

fn expect(model: &mut Model, command: KvCommand, index: Index) -> KvReply {
    if let Err(refusal) = command.check() {
        return KvReply::Refused(refusal);
    }
    match command {
        KvCommand::Set { key, value } => KvReply::Set { previous: put(model, key, Some(value), index) },
        KvCommand::Delete { key } => KvReply::Deleted { previous: put(model, key, None, index) },
        KvCommand::CompareAndSet { key, expected, value } => {
            let current = model.get(&key).cloned();
            let holds = match expected {
                KvExpected::Absent => current.is_none(),
                KvExpected::Value(value) => current.as_ref().map(|c| &c.value) == Some(&value),
                KvExpected::Index(index) => current.as_ref().map(|c| c.index) == Some(index),
                KvExpected::Present => current.is_some(),
            };
            if !holds {
                return KvReply::Kept { current };
            }
            KvReply::Swapped { previous: put(model, key, value, index) }
        }
    }
}

fn all(kv: &Executor<Kv>, prefix: &str, limit: u32) -> Vec<KvItem> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let query = KvQuery::List { prefix: prefix.to_owned(), after, limit };
        let KvAnswer::List { items, next } = kv.query(query).expect("answers") else { panic!("not a list") };
        assert!(items.len() <= limit.max(1) as usize);
        found.extend(items);
        match next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

proptest! {
    #[test]
    fn kv_is_a_btree_map(
        steps in prop::collection::vec(commands(), 1..60),
        prefix in "[ab]{0,2}",
        limit in 0..7_u32,
    ) {
        let (mut log, mut model) = (Log::default(), Model::new());
        let mut kv = Executor::new(Kv::default()).expect("captures");
        for command in steps {
            let entry = log.command(&command, None);
            let expected = expect(&mut model, command, entry.index);
            prop_assert_eq!(replied(kv.apply(&entry)), expected);
        }
        prop_assert_eq!(kv.query(KvQuery::Count), Ok(KvAnswer::Count(model.len() as u64)));
        for key in model.keys() {
            prop_assert_eq!(kv.query(KvQuery::get(key.as_str())), Ok(KvAnswer::Value(model.get(key).cloned())));
        }
        let listed = all(&kv, &prefix, limit);
        let expected: Vec<KvItem> = model
            .into_iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, Versioned { value, index })| KvItem { key, value, index })
            .collect();
        prop_assert_eq!(listed, expected);
    }
}

fn set(kv: &mut Executor<Kv>, log: &mut Log, key: &str, value: impl Into<Bytes>) -> KvReply {
    replied(kv.apply(&log.command(&KvCommand::set(key, value), None)))
}

#[test]
fn a_snapshot_is_of_its_moment_though_writes_go_on() {
    let mut log = Log::default();
    let mut kv = Executor::new(Kv::default()).expect("captures");
    for key in 0..1_000 {
        let _ = set(&mut kv, &mut log, &format!("{key:04}"), "before");
    }
    let digest = kv.query(KvQuery::Digest).expect("answers");
    let (at, snapshot) = kv.snapshot().expect("captures");
    for key in 0..1_000 {
        let _ = set(&mut kv, &mut log, &format!("{key:04}"), "after");
        let _ = replied(kv.apply(&log.command(&KvCommand::delete(format!("{:04}", key / 2)), None)));
    }
    let bytes = snapshot.into_bytes().expect("writes");
    let mut source = &bytes[..];
    let reader = SnapshotReader::new(&mut source, bytes.len() as u64);
    let back = Executor::<Kv>::restore(kv.zero(), Some(reader)).expect("restores");
    assert_eq!((at.index, back.applied()), (Index(1_000), at));
    assert_eq!(back.query(KvQuery::Digest), Ok(digest));
    let items = all(&back, "", 300);
    assert_eq!(items.len(), 1_000);
    assert!(items.iter().all(|item| item.value == "before"));
}

#[test]
fn limits_are_replies() {
    let mut log = Log::default();
    let mut kv = Executor::new(Kv::default()).expect("captures");
    assert_eq!(set(&mut kv, &mut log, "", "v"), KvReply::Refused(KvRefusal::KeyEmpty));
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    assert_eq!(
        set(&mut kv, &mut log, &too_long, "v"),
        KvReply::Refused(KvRefusal::KeyTooLong { bytes: KEY_BYTES_MAX as u64 + 1 })
    );
    assert_eq!(
        set(&mut kv, &mut log, "k", vec![0; VALUE_BYTES_MAX + 1]),
        KvReply::Refused(KvRefusal::ValueTooLarge { bytes: VALUE_BYTES_MAX as u64 + 1 })
    );
    assert_eq!(set(&mut kv, &mut log, "k", vec![0; VALUE_BYTES_MAX]), KvReply::Set { previous: None });
}

#[test]
fn a_page_is_bounded_in_bytes() {
    let mut log = Log::default();
    let mut kv = Executor::new(Kv::default()).expect("captures");
    for key in ["a", "b", "c", "d", "e", "f"] {
        let _ = set(&mut kv, &mut log, key, vec![0; VALUE_BYTES_MAX]);
    }
    let KvAnswer::List { items, next } = kv.query(KvQuery::list("", 100)).expect("answers") else {
        panic!("not a list")
    };
    assert_eq!((items.len(), next.as_deref()), (3, Some("c")));
    assert_eq!(all(&kv, "", 100).len(), 6);
}

#[test]
fn watchers_are_told_what_changed_and_only_that() {
    let mut log = Log::default();
    let mut kv = Executor::new(Kv::default()).expect("captures");
    let mut events = |command: KvCommand| kv.apply(&log.command(&command, None)).expect("applies").events;
    let event = |body: Option<&'static str>| Event { key: "k".into(), body: body.map(Bytes::from) };
    assert_eq!(events(KvCommand::set("k", "v")), [event(Some("v"))]);
    assert_eq!(events(KvCommand::compare_and_set("k", KvExpected::Absent, "w")), []);
    assert_eq!(events(KvCommand::compare_and_set("k", KvExpected::Index(Index(1)), "w")), [event(Some("w"))]);
    assert_eq!(events(KvCommand::delete("k")), [event(None)]);
    assert_eq!(events(KvCommand::delete("k")), []);
    assert_eq!(events(KvCommand::set("", "v")), []);
}

#[test]
fn snapshots_of_another_version_or_with_a_key_twice_are_refused() {
    let restore = |version: u32, keys: &[&str]| {
        let mut bytes = Vec::new();
        let head = Head { version, count: keys.len() as u64, digest: AppliedDigest::default() };
        write(&mut bytes, &head).expect("writes");
        for key in keys {
            write(&mut bytes, &(key, Index(1), Bytes::new())).expect("writes");
        }
        let mut source = &bytes[..];
        Kv::restore(SnapshotReader::new(&mut source, bytes.len() as u64)).map(|kv| kv.map.len())
    };
    assert_eq!(restore(1, &["a", "b"]).expect("restores"), 2);
    assert!(matches!(restore(2, &[]), Err(RestoreError::Version { found: 2, known: 1, .. })));
    assert!(matches!(restore(1, &["a", "a"]), Err(RestoreError::Invalid { .. })));
}

//! One group's log.

use bytes::Bytes;
use quorate::store::StoreError;
use quorate_core::{Entry, EntryKind, Hash, Index, LogId, Term};

use super::script::{Script, entries, founding, hard, options};
use super::storage::Storage;

pub(super) fn append_and_read(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    assert!(script.log(group).is_empty());
    let mut all = script.append(group, 1, 3, 10);
    all.extend(script.append(group, 1, 1, 0));
    all.extend(script.append(group, 2, 5, 700));
    assert_eq!(script.log(group), all);
    let script = script.reopen();
    assert_eq!(script.log(group), all);
    let one = script.store.read(group, Index(2), Index(9), 1).expect("a read");
    assert_eq!(one, all[1..2], "at least one entry, however small the limit");
    let some = script.store.read(group, Index(2), Index(4), usize::MAX).expect("a read");
    assert_eq!(some, all[1..4]);
    for entry in &all {
        assert_eq!(script.store.locate(group, entry.index).expect("a place"), entry.position());
    }
}

pub(super) fn runs_are_capped(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let all = script.append(group, 1, 40, 200);
    let (mut script, rows) = script.rows();
    assert!(rows > 4, "40 entries of 264 bytes do not fit in one run of 1 KiB");
    assert_eq!(script.log(group), all);
    script = script.verified();
    let big = script.append(group, 1, 2, 5_000);
    let script = script.reopen();
    assert_eq!(script.log(group), [all, big].concat(), "an entry above the cap has a run of its own");
}

pub(super) fn truncate_inside_a_run(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let old = script.append(group, 1, 10, 10);
    let new = script.replace(group, 2, 6, 2, 10);
    let expected = [&old[..5], &new].concat();
    assert_eq!(script.log(group), expected);
    let script = script.reopen();
    assert_eq!(script.log(group), expected);
}

pub(super) fn truncate_at_a_run_start(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let first = script.append(group, 1, 5, 10);
    script.append(group, 1, 5, 10);
    script.append(group, 1, 5, 10);
    script.write(group, 2, Some(6), Vec::new());
    assert_eq!(script.log(group), first);
    script.write(group, 2, Some(1), Vec::new());
    assert!(script.log(group).is_empty());
    let again = script.append(group, 2, 3, 10);
    let script = script.reopen();
    assert_eq!(script.log(group), again);
}

pub(super) fn overwrite(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    for term in 1..8 {
        let from = 1 + (term * 3) % 5;
        let last = script.load(group).tail.last().index.0;
        if from <= last {
            script.replace(group, term, from, term, 20);
        } else {
            script.append(group, term, term, 20);
        }
        script = script.verified();
        let log = script.log(group);
        assert!(log.iter().enumerate().all(|(at, entry)| entry.index.0 == at as u64 + 1));
    }
}

pub(super) fn writes_fold(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let old = script.append(group, 1, 4, 10);
    let a = entries(old[3].position(), 1, 3, 10);
    let b = entries(a[0].position(), 2, 2, 10);
    let c = entries(old[1].position(), 3, 1, 10);
    let write = |term, truncate_from: Option<u64>, entries: Vec<_>| quorate::store::GroupWrite {
        group,
        hard_state: hard(term, None),
        truncate_from: truncate_from.map(Index),
        entries: entries.into(),
    };
    let folded = vec![write(1, None, a.clone()), write(2, Some(6), b.clone())];
    script.store.write(folded).expect("a batch");
    assert_eq!(script.log(group), [old.clone(), a[..1].to_vec(), b].concat());
    let d = entries(c[0].position(), 3, 2, 10);
    let folded = vec![write(3, Some(3), c.clone()), write(3, None, d.clone())];
    script.store.write(folded).expect("a batch");
    let expected = [old[..2].to_vec(), c, d].concat();
    assert_eq!(script.log(group), expected);
    assert_eq!(script.reopen().log(group), expected);
}

pub(super) fn compact_inside_a_run(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let mut all = script.append(group, 1, 10, 10);
    all.extend(script.append(group, 1, 10, 10));
    for through in [4_u64, 10, 13, 20] {
        let start = script.store.compact(group, Index(through)).expect("a compaction");
        assert_eq!(start, all[through as usize - 1].position());
        script.store.reclaim().expect("dead runs are freed");
        script.store.settle_anchor().expect("the anchor settles");
        for _ in 0..2 {
            assert_eq!(script.load(group).start, start);
            assert_eq!(script.log(group), all[through as usize..]);
            let below = script.store.read(group, Index(through), Index(through), 1);
            assert!(matches!(below, Err(StoreError::Outside { .. })), "reads are clamped to the marker");
            script = script.reopen();
        }
    }
    let more = script.append(group, 2, 3, 10);
    assert_eq!(script.reopen().log(group), more);
}

pub(super) fn truncate_after_compaction(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let old = script.append(group, 1, 10, 10);
    script.append(group, 1, 5, 10);
    script.store.compact(group, Index(4)).expect("a compaction");
    script.replace(group, 2, 13, 1, 10);
    let new = script.replace(group, 3, 7, 2, 10);
    let expected = [&old[4..6], &new].concat();
    assert_eq!(script.log(group), expected);
    script = script.reopen();
    assert_eq!(script.log(group), expected);
    let new = script.replace(group, 4, 5, 2, 10);
    assert_eq!(script.log(group), new, "the whole log was replaced, in a row that began below the marker");
    script = script.reopen();
    assert_eq!(script.log(group), new);
    let more = script.append(group, 5, 1, 10);
    assert_eq!(script.reopen().log(group), [new, more].concat());
}

pub(super) fn terms(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    for term in [1, 1, 2, 5] {
        script.append(group, term, 4, 10);
    }
    script.replace(group, 6, 15, 1, 10);
    script.store.compact(group, Index(2)).expect("a compaction");
    for _ in 0..2 {
        let loaded = script.store.load(group, 0).expect("a load");
        let at = |index| loaded.tail.term_at(Index(index)).map(|term| term.0);
        let found: Vec<_> = (1..=16).map(at).collect();
        let expected = [0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 5, 5, 6, 0];
        let expected: Vec<_> = expected.iter().map(|term| (*term > 0).then_some(*term)).collect();
        assert_eq!(found, expected);
        assert_eq!(loaded.tail.start(), LogId { term: Term(1), index: Index(2) });
        script = script.reopen();
    }
}

pub(super) fn memberships(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let four = founding(&["node0", "node1", "node2", "node3"]);
    let five = founding(&["node0", "node1", "node2", "node3", "node4"]);
    for members in [&four, &five] {
        script.append(group, 1, 2, 10);
        let last = script.load(group).tail.last();
        let payload = Bytes::from(members.encode());
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(last, Term(1), 9, EntryKind::Membership, payload, leaf);
        script.write(group, 1, None, vec![entry]);
    }
    for _ in 0..2 {
        let memberships = script.load(group).memberships;
        assert_eq!(memberships.current(), &five);
        assert_eq!(memberships.current_index(), Index(6));
        assert_eq!(memberships.at(Index(5)), &four);
        assert_eq!(memberships.at(Index(2)), &founding(&["node0", "node1", "node2"]));
        script = script.reopen();
    }
    script.store.compact(group, Index(4)).expect("a compaction");
    assert_eq!(script.load(group).memberships.at(Index(4)), &four);
    script.write(group, 2, Some(6), Vec::new());
    for _ in 0..2 {
        assert_eq!(script.load(group).memberships.current(), &four, "a truncation brings it back");
        script = script.reopen();
    }
}

pub(super) fn tail_is_bounded(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend(script.append(group, 1, 2, 100));
    }
    for _ in 0..2 {
        let loaded = script.store.load(group, 1_000).expect("a load");
        assert!(loaded.tail.bytes() <= 1_000 && loaded.tail.bytes() > 600, "about what was asked for");
        let base = loaded.tail.base();
        assert_eq!(base, all[base.index.0 as usize - 1].position());
        assert_eq!(loaded.tail.last(), all[39].position());
        script = script.reopen();
    }
}

pub(super) fn reads_stay_inside(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let all = script.append(group, 1, 4, 10);
    let read = script.store.read(group, Index(3), Index(99), usize::MAX).expect("a read");
    assert_eq!(read, all[2..], "never past the end");
    for index in [0, 5, 99] {
        let outside = script.store.read(group, Index(index), Index(index), 1);
        assert!(matches!(outside, Err(StoreError::Outside { .. })), "index {index} is not there");
    }
    assert!(matches!(script.store.compact(group, Index(5)), Err(StoreError::Outside { .. })));
    let unknown = quorate_core::GroupId(1);
    assert!(matches!(script.store.load(unknown, 1), Err(StoreError::NotOpen { .. })));
}

pub(super) fn few_boundaries(storage: &mut dyn Storage) {
    let mut few = options();
    few.boundaries_max = 8;
    let mut script = Script::open_with(storage, few);
    let group = script.group("orders");
    let mut all = Vec::new();
    for _ in 0..100 {
        all.extend(script.append(group, 1, 1, 10));
    }
    for _ in 0..2 {
        for from in [1_u64, 2, 49, 50, 99, 100] {
            let read = script.store.read(group, Index(from), Index(from + 2), usize::MAX).expect("a read");
            assert_eq!(read, all[from as usize - 1..(from as usize + 2).min(100)]);
        }
        script = script.reopen();
    }
    script.store.compact(group, Index(30)).expect("a compaction");
    let new = script.replace(group, 2, 60, 1, 10);
    let expected = [&all[30..59], &new].concat();
    assert_eq!(script.log(group), expected);
    assert_eq!(script.reopen().log(group), expected);
}

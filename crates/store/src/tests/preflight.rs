//! The preflight on journals that fjall itself wrote: this guards the record format.

use crate::disk::{Journal, check_journal as check, journal_written, write_last_batch};
use crate::{Batch, Disk, FjallDisk, FjallOptions, Keyspace};

/// A journal of fjall with this number of test batches after what opening wrote, and the end of each.
fn journal(batches: u8) -> (Vec<u8>, Vec<usize>) {
    journal_of((0..batches).map(|number| vec![number; 300]).collect())
}

/// A journal with a batch for each of these values.
fn journal_of(values: Vec<Vec<u8>>) -> (Vec<u8>, Vec<usize>) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = FjallOptions { cache_bytes: 1 << 20, worker_threads: 1, ..FjallOptions::default() };
    let mut disk = FjallDisk::lock(directory.path(), options).expect("a free directory");
    disk.create_database().expect("a database");
    let mut ends = Vec::new();
    let read = || std::fs::read(directory.path().join("db/0.jnl")).expect("a journal");
    let end = |bytes: &[u8]| match check(bytes, None) {
        Journal::Clean { end, .. } => usize::try_from(end).expect("small"),
        other => panic!("fjall's own journal is clean: {other:?}"),
    };
    for (number, value) in (0..).zip(values) {
        let mut batch = Batch::new();
        batch.put(Keyspace::Log, vec![number; 16], value.into());
        batch.put(Keyspace::Hard, vec![number], vec![number; 20].into());
        batch.remove(Keyspace::Log, vec![number, 1]);
        disk.commit(&batch).expect("a batch");
        ends.push(end(&read()));
    }
    let bytes = read();
    let last = *ends.last().expect("at least one");
    (bytes[..last].to_vec(), ends)
}

/// Pages the system calls clean may not be on the disk. Exactly the last batch is written again.
#[test]
fn bug_72_the_whole_last_batch_and_no_other_is_written_again() {
    let (bytes, ends) = journal(4);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("0.jnl");
    let (before, end) = (ends[2], ends[3]);
    let mut lost = bytes.clone();
    lost[before..].fill(0);
    std::fs::write(&path, &lost).expect("written");
    write_last_batch(&path, &bytes, end as u64).expect("written again");
    assert!(std::fs::read(&path).expect("it reads") == bytes, "the last batch is whole again");
    lost[0] ^= 1;
    std::fs::write(&path, &lost).expect("written");
    write_last_batch(&path, &bytes, end as u64).expect("written again");
    let found = std::fs::read(&path).expect("it reads");
    assert!(
        found[..before] == lost[..before] && found[before..] == bytes[before..],
        "and no other was touched"
    );
}

#[test]
fn bug_70_every_cut_of_the_last_batch_is_a_torn_tail() {
    let (bytes, ends) = journal(4);
    let (before, last) = (ends[2], ends[3]);
    for end in before + 1..last {
        for zeros in [0, 4096] {
            let mut cut = bytes[..end].to_vec();
            cut.resize(end + zeros, 0);
            match check(&cut, None) {
                Journal::Torn { end, .. } => assert_eq!(end, before as u64),
                other => panic!("cut at {end}: {other:?}"),
            }
        }
    }
}

#[test]
fn bug_70_every_flipped_byte_of_an_old_batch_is_damage() {
    let (bytes, ends) = journal(4);
    for at in 0..ends[2] {
        let mut bad = bytes.clone();
        bad[at] ^= 0x40;
        let verdict = check(&bad, None);
        let harmless = matches!(verdict, Journal::Clean { .. });
        // A sequence number has no checksum: one that still ascends changes nothing.
        assert!(matches!(verdict, Journal::Damaged { .. }) || harmless, "byte {at}: {verdict:?}");
        if harmless {
            let start = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
            assert!((5..13).contains(&(at - start)) || start == 0, "byte {at} is under a checksum");
        }
    }
}

#[test]
fn bug_70_a_zeroed_page_in_the_middle_is_damage() {
    let (bytes, ends) = journal(20);
    let mut bad = bytes;
    bad[ends[4] - 100..ends[8] + 50].fill(0);
    assert!(matches!(check(&bad, None), Journal::Damaged { .. }));
}

/// A client's payload may look like anything, also like a journal.
#[test]
fn bug_70_a_payload_that_looks_like_batches_is_a_torn_tail_when_cut() {
    let (plain, ends) = journal(4);
    // An empty batch is 26 constant bytes.
    let mut nothing = vec![1];
    nothing.extend([0; 12]);
    nothing.push(3);
    nothing.extend(xxhash_rust::xxh3::xxh3_64(&[]).to_le_bytes());
    nothing.extend(b"FJL\x03");
    // A whole batch whose sequence number may come next: the number has no checksum.
    let mut next = Vec::new();
    for ahead in 0..8 {
        let mut batch = plain[ends[2]..ends[3]].to_vec();
        let number = u64::from_le_bytes(batch[5..13].try_into().expect("eight bytes"));
        batch[5..13].copy_from_slice(&(number + ahead).to_le_bytes());
        next.extend(batch);
    }
    for (what, forged) in [("nothing", nothing), ("next", next)] {
        let values = vec![vec![0; 300], vec![1; 300], [vec![7; 50], forged, vec![7; 50]].concat()];
        let (bytes, ends) = journal_of(values);
        for cut in ends[1] + 1..ends[2] {
            let verdict = check(&bytes[..cut], None);
            let torn = matches!(verdict, Journal::Torn { end, .. } if end == ends[1] as u64);
            assert!(torn, "{what}, cut at {cut}: {verdict:?}");
        }
    }
}

/// Sequence numbers ascend over all journals of a database: a journal in the place of another is damage, not a shorter log.
#[test]
fn bug_70_bug_71_a_journal_in_the_place_of_another_is_damage() {
    let (bytes, ends) = journal(6);
    let (older, newer) = bytes.split_at(ends[2]);
    let last = |verdict| match verdict {
        Journal::Clean { last, .. } => last,
        other => panic!("whole batches: {other:?}"),
    };
    let (first, second) = (last(check(older, None)), last(check(newer, None)));
    assert!(first < second);
    assert_eq!(last(check(newer, first)), second, "in their order they are clean");
    assert_eq!(last(check(&[], first)), first, "a journal without a batch keeps the number");
    assert!(matches!(check(older, second), Journal::Damaged { at: 0, .. }), "the older one behind the newer");
    assert!(matches!(check(older, first), Journal::Damaged { at: 0, .. }), "the same one twice");
}

#[test]
fn what_is_written_ends_at_the_last_byte_that_is_not_zero() {
    for len in [0, 1, 4_095, 4_096, 4_097, 3 * 4_096 + 5] {
        assert_eq!(journal_written(&vec![0; len]), 0, "{len} zeros");
        for last in [0, 1, 4_094, 4_095, 4_096, len.saturating_sub(1)] {
            let mut bytes = vec![0; len];
            if let Some(byte) = bytes.get_mut(last) {
                *byte = 1;
                assert_eq!(journal_written(&bytes), last + 1, "byte {last} of {len}");
            }
        }
    }
}

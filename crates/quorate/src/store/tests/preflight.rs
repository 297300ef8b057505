//! The preflight against journals that fjall itself wrote: the guard of the record format.

use super::super::preflight::{Verdict, check};
use super::super::{Batch, Disk, FjallDisk, FjallOptions, Keyspace};

/// A journal of fjall with these many batches of ours after what opening wrote, and where each ends.
fn journal(batches: u8) -> (Vec<u8>, Vec<usize>) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = FjallOptions { cache_bytes: 1 << 20, worker_threads: 1, ..FjallOptions::default() };
    let mut disk = FjallDisk::lock(directory.path(), options).expect("a free directory");
    disk.create_database().expect("a database");
    let mut ends = Vec::new();
    let read = || std::fs::read(directory.path().join("db/0.jnl")).expect("a journal");
    let end = |bytes: &[u8]| match check(bytes) {
        Verdict::Clean { end } => usize::try_from(end).expect("small"),
        other => panic!("fjall's own journal is clean: {other:?}"),
    };
    for number in 0..batches {
        let mut batch = Batch::new();
        batch.put(Keyspace::Log, vec![number; 16], vec![number; 300].into());
        batch.put(Keyspace::Hard, vec![number], vec![number; 20].into());
        batch.remove(Keyspace::Log, vec![number, 1]);
        disk.commit(&batch).expect("a batch");
        ends.push(end(&read()));
    }
    let bytes = read();
    let last = *ends.last().expect("at least one");
    (bytes[..last].to_vec(), ends)
}

#[test]
fn bug_70_every_cut_of_the_last_batch_is_a_torn_tail() {
    let (bytes, ends) = journal(4);
    let (before, last) = (ends[2], ends[3]);
    for end in before + 1..last {
        for zeros in [0, 4096] {
            let mut cut = bytes[..end].to_vec();
            cut.resize(end + zeros, 0);
            match check(&cut) {
                Verdict::Torn { end, .. } => assert_eq!(end, before as u64),
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
        let verdict = check(&bad);
        let harmless = matches!(verdict, Verdict::Clean { .. });
        // Bytes of a sequence number are under no checksum: one that still ascends changes nothing.
        assert!(matches!(verdict, Verdict::Damaged { .. }) || harmless, "byte {at}: {verdict:?}");
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
    assert!(matches!(check(&bad), Verdict::Damaged { .. }));
}

//! `safety.md` 6: what a newer build wrote is not damage. A downgraded binary refuses to start, and sets nothing aside.

use bytes::Bytes;
use quorate_core::{Entry, EntryKind, HEADER_BYTES, Hash, Index, Position, Term, decode_run};

use super::refusals::{group, reopened, stays_refused, vote};
use super::votes::settled;
use super::workload::open;
use crate::log::run_key;
use crate::{Batch, Crash, Disk, DiskError, GroupWrite, Keyspace, OpenError, SimDisk, SimImage, StoreError};

/// The image with the last row of the log, of entries 8 to 10, changed; `change` gets the position before it.
fn with_last_row(image: &SimImage, change: impl FnOnce(Position, &mut [u8])) -> SimImage {
    let disk = SimDisk::from_image(image.clone());
    let (store, _) = open(&disk).expect("it opens");
    let before = store.locate(group(), Index(7)).expect("it is there");
    let key = run_key(group(), Index(8));
    let mut row = disk.get(Keyspace::Log, &key).expect("it reads").expect("the last run").to_vec();
    change(before, &mut row);
    let mut batch = Batch::new();
    batch.put(Keyspace::Log, key, row.into());
    disk.clone().commit(&batch).expect("it writes");
    disk.crash(Crash::Lost)
}

/// Makes the chain hash of the entry at `at` match its bytes.
fn chain(before: Position, row: &mut [u8], at: usize, end: usize) {
    let mut hasher = blake3::Hasher::new();
    let payload = blake3::hash(&row[at + HEADER_BYTES..end]);
    hasher.update(&before.chain.0).update(&row[at..at + 32]).update(payload.as_bytes());
    row[at + 32..at + HEADER_BYTES].copy_from_slice(hasher.finalize().as_bytes());
}

#[test]
fn rule_06_what_a_newer_build_wrote_is_refused_and_nothing_is_set_aside() {
    let (image, world) = settled();
    let (end, last) = (HEADER_BYTES + 10, 2 * (HEADER_BYTES + 10));
    let mut images = Vec::new();
    for (byte, value) in [(0, 2), (1, 3), (1, 200), (2, 1), (3, 1)] {
        images.push(with_last_row(&image, |before, row| {
            row[byte] = value;
            chain(before, row, 0, end);
        }));
        // The last entry of the row; the earlier ones are whole.
        images.push(with_last_row(&image, |_, row| {
            let entries = decode_run(&Bytes::copy_from_slice(row)).expect("a whole row");
            row[last + byte] = value;
            chain(entries[1].position(), row, last, row.len());
        }));
    }
    // An unknown version: this build knows only its number.
    images.push(with_last_row(&image, |_, row| {
        row[1..].fill(0xa7);
        row[0] = 2;
    }));
    // A membership that this build cannot read is refused when it is written, too.
    let disk = SimDisk::from_image(image.clone());
    let (mut store, _) = open(&disk).expect("it opens");
    let payload = Bytes::from_static(&[0xc1; 20]);
    let leaf = Hash::of(&payload);
    let entry = Entry::follow(world[&group()].last(), Term(2), 1_000, EntryKind::Membership, payload, leaf);
    let write = GroupWrite { entries: vec![entry].into(), ..vote(2, Some("node1")) };
    let stopped = store.write(vec![write]);
    assert!(matches!(stopped, Err(StoreError::Disk(DiskError::Future { .. }))), "{stopped:?}");
    drop(store);
    images.push(disk.crash(Crash::Lost));
    for (at, image) in images.iter().enumerate() {
        let refused = stays_refused("a newer build's", image);
        assert!(matches!(refused, OpenError::Disk(DiskError::Future { .. })), "{at}: {refused}");
        assert!(refused.to_string().contains("start the newer quorate"), "{at}: the remedy is said");
    }
    // A rotten byte is still damage.
    for byte in [0, 1, 2, 3, last, last + 1, last + 2] {
        let rotten = with_last_row(&image, |_, row| row[byte] ^= 0x40);
        let (_, report) = reopened(&rotten).expect("it recovers");
        assert!(report.groups.iter().all(|group| group.recovering), "byte {byte}");
    }
}

//! Damage of any byte, any length, and lengths that claim more than there is: a typed error each time.

use std::sync::Arc;

use super::{at, bytes, file, group, head, publish, put, read, state};
use crate::{CHUNK_BYTES_MAX, SimDisk, SnapshotDisk, SnapshotError, Snapshots};

/// A published snapshot, and its bytes.
fn published(state_bytes: usize) -> (Arc<dyn SnapshotDisk>, Snapshots, Vec<u8>) {
    let disk: Arc<dyn SnapshotDisk> = Arc::new(SimDisk::new());
    let snapshots = Snapshots::new(disk.clone());
    publish(&snapshots, head(1), &state(state_bytes)).expect("published");
    let whole = bytes(&disk, &file(1));
    (disk, snapshots, whole)
}

/// Puts other bytes into the file's place. They must be damage, at a place inside them, and a list must not hide them.
fn is_damage(disk: &Arc<dyn SnapshotDisk>, snapshots: &Snapshots, other: &[u8], what: &str) {
    put(disk, &file(1), other);
    match read(snapshots, 1) {
        Err(SnapshotError::Damaged { place, offset, .. }) => {
            assert!(place.contains(&file(1)) && offset <= other.len() as u64, "{what}: {place} at {offset}");
        }
        found => panic!("{what}: {found:?}"),
    }
    let verified = snapshots.open(group(), at(1)).and_then(|file| file.verify());
    assert!(verified.is_err_and(|error| error.is_damage()), "{what}");
    let list = snapshots.list(group()).expect("it lists");
    let found = list.found.iter().map(|info| info.head.at.index);
    let damaged = list.damaged.iter().map(|damaged| damaged.index);
    assert_eq!(found.chain(damaged).filter(|index| *index == at(1).index).count(), 1, "{what}");
}

#[test]
fn every_flipped_byte_and_every_cut_is_damage() {
    for size in [0, 40] {
        let (disk, snapshots, whole) = published(size);
        for byte in 0..whole.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut flipped = whole.clone();
                flipped[byte] ^= bit;
                is_damage(&disk, &snapshots, &flipped, &format!("byte {byte} ^ {bit}"));
            }
            is_damage(&disk, &snapshots, &whole[..byte], &format!("cut at {byte}"));
        }
        for more in [&[0][..], &[0; 60], &whole] {
            is_damage(&disk, &snapshots, &[&whole, more].concat(), "more behind the end");
        }
        put(&disk, &file(1), &whole);
        assert_eq!(read(&snapshots, 1).expect("it is whole again"), state(size));
    }
}

/// A whole chunk or end of another place or another file is no part of this one.
#[test]
fn a_chunk_has_its_place() {
    let (disk, snapshots, whole) = published(2 * CHUNK_BYTES_MAX + 9);
    let chunk = CHUNK_BYTES_MAX + 12;
    let first = whole.len() - 60 - (12 + 9) - 2 * chunk;
    let (header, chunks) = whole.split_at(first);
    let (one, rest) = chunks.split_at(chunk);
    let (two, rest) = rest.split_at(chunk);
    let (last, end) = rest.split_at(12 + 9);
    for (what, parts) in [
        ("exchanged", [header, two, one, last, end]),
        ("repeated", [header, one, one, last, end]),
        ("missing", [header, one, &[], last, end]),
    ] {
        is_damage(&disk, &snapshots, &parts.concat(), what);
    }
    publish(&snapshots, head(2), &state(2 * CHUNK_BYTES_MAX + 9)).expect("published");
    let other = bytes(&disk, &file(2));
    let other_first = other.len() - (whole.len() - first);
    is_damage(&disk, &snapshots, &[header, &other[other_first..]].concat(), "of another snapshot");
    for byte in [first + 13, first + chunk, whole.len() - 65] {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1;
        is_damage(&disk, &snapshots, &flipped, &format!("byte {byte}"));
    }
    put(&disk, &file(1), &other);
    assert!(matches!(snapshots.open(group(), at(1)), Err(SnapshotError::Other { .. })), "misnamed");
    assert_eq!(snapshots.list(group()).expect("listed").damaged.len(), 1);
}

/// The lengths are believed only as far as a chunk goes.
#[test]
fn a_claimed_length_costs_nothing() {
    let (disk, snapshots, whole) = published(40);
    let chunk = whole.len() - 60 - (12 + 40);
    let most = u32::try_from(CHUNK_BYTES_MAX).expect("small");
    for at_byte in [5, chunk] {
        for claim in [41, most, most + 1, u32::MAX] {
            let mut claims = whole.clone();
            claims[at_byte..at_byte + 4].copy_from_slice(&claim.to_be_bytes());
            is_damage(&disk, &snapshots, &claims, &format!("{claim} at {at_byte}"));
        }
    }
}

#[test]
fn a_newer_version_is_no_damage_and_a_flipped_one_is() {
    let (disk, snapshots, mut newer) = published(0);
    newer[4] = 2;
    is_damage(&disk, &snapshots, &newer, "flipped");
    let header = newer.len() - 60;
    let sum = blake3::hash(&newer[..header - 8]);
    newer[header - 8..header].copy_from_slice(&sum.as_bytes()[..8]);
    put(&disk, &file(1), &newer);
    let said = snapshots.open(group(), at(1)).map(drop);
    assert!(matches!(said, Err(SnapshotError::Future { found: 2, known: 1, .. })), "{said:?}");
}

//! What a disk must do by itself.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate::store::{Batch, Disk, Keyspace, SECTOR_BYTES};

use super::storage::Storage;

fn keys(disk: &dyn Disk, keyspace: Keyspace, from: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let scanned = disk.scan(keyspace, from, &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    });
    scanned.expect("a database scans");
    keys
}

fn put(batch: &mut Batch, keyspace: Keyspace, key: &[u8], value: &[u8]) {
    batch.put(keyspace, key.to_vec(), Bytes::copy_from_slice(value));
}

pub(super) fn batch_is_atomic_and_ordered(storage: &mut dyn Storage) {
    let mut disk = storage.disk();
    assert!(!disk.database_exists().expect("an empty storage answers"), "nothing is there at first");
    disk.create_database().expect("a database is made");
    let mut batch = Batch::new();
    for key in [[9_u8, 0], [1, 2], [1, 1]] {
        put(&mut batch, Keyspace::Log, &key, &key);
    }
    put(&mut batch, Keyspace::Hard, b"h", &vec![7; 100_000]);
    put(&mut batch, Keyspace::Hard, b"twice", b"first");
    put(&mut batch, Keyspace::Hard, b"twice", b"second");
    disk.commit(&batch).expect("a batch commits");
    let mut batch = Batch::new();
    batch.remove(Keyspace::Log, vec![9, 0]);
    batch.remove(Keyspace::Log, vec![8]);
    disk.commit(&batch).expect("removing what is not there is fine");
    for _ in 0..2 {
        assert_eq!(keys(&*disk, Keyspace::Log, &[]), [vec![1, 1], vec![1, 2]]);
        assert_eq!(keys(&*disk, Keyspace::Log, &[1, 2]), [vec![1, 2]]);
        let value = disk.get(Keyspace::Hard, b"h").expect("a row reads");
        assert_eq!(value.map(|value| value.len()), Some(100_000));
        let value = disk.get(Keyspace::Hard, b"twice").expect("a row reads");
        assert_eq!(value.as_deref(), Some(b"second".as_slice()));
        assert_eq!(disk.get(Keyspace::Log, b"h").expect("a missing row is none"), None);
        drop(disk);
        disk = storage.disk();
        assert!(disk.database_exists().expect("it answers"));
        assert_eq!(disk.open_database().expect("what was made opens"), None, "nothing was torn");
    }
}

pub(super) fn drop_range_keeps_the_rest(storage: &mut dyn Storage) {
    let mut disk = storage.disk();
    disk.create_database().expect("a database is made");
    for key in 0..20_u8 {
        let mut batch = Batch::new();
        put(&mut batch, Keyspace::Log, &[key], &[key; 50]);
        disk.commit(&batch).expect("a batch commits");
    }
    disk.drop_range(Keyspace::Log, &[5], &[15]).expect("a range drops");
    for _ in 0..2 {
        let rest = keys(&*disk, Keyspace::Log, &[]);
        for key in (0..5).chain(15..20_u8) {
            assert!(rest.contains(&vec![key]), "row {key} lies outside the dropped range");
        }
        drop(disk);
        disk = storage.disk();
        disk.open_database().expect("what was made opens");
    }
}

pub(super) fn sectors_come_back(storage: &mut dyn Storage) {
    let mut disk = storage.disk();
    assert!(!disk.anchor_exists().expect("an empty storage answers"));
    disk.create_anchor(&[[1; SECTOR_BYTES], [2; SECTOR_BYTES]]).expect("an anchor is made");
    disk.write_sector(1, &[3; SECTOR_BYTES]).expect("a sector is written");
    disk.write_sector(9, &[4; SECTOR_BYTES]).expect("an anchor grows");
    disk.sync_anchor().expect("an anchor syncs");
    drop(disk);
    let disk = storage.disk();
    assert!(disk.anchor_exists().expect("it answers"));
    for (sector, byte) in [(0, 1), (1, 3), (5, 0), (9, 4), (100, 0)] {
        let read = disk.read_sector(sector).expect("every sector reads");
        assert!(read.iter().all(|found| *found == byte), "sector {sector} holds {byte}");
    }
}

pub(super) fn database_set_aside_is_gone(storage: &mut dyn Storage) {
    let mut disk = storage.disk();
    disk.create_database().expect("a database is made");
    let mut batch = Batch::new();
    put(&mut batch, Keyspace::Hard, b"key", b"value");
    disk.commit(&batch).expect("a batch commits");
    let first = disk.set_database_aside().expect("an open database is set aside");
    assert!(!disk.database_exists().expect("it answers"));
    disk.create_database().expect("another is made");
    assert_eq!(disk.get(Keyspace::Hard, b"key").expect("a missing row is none"), None);
    let second = disk.set_database_aside().expect("and is set aside");
    assert_ne!(first, second, "one does not replace the other");
}

//! Commits while fjall's thread is busy, or has ended (decision 0017).

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::{Batch, Disk, DiskError, FjallDisk, FjallOptions, Keyspace};

fn disk(directory: &Path) -> FjallDisk {
    let options = FjallOptions {
        log_memtable_bytes: 64 << 10,
        hard_memtable_bytes: 2 << 10,
        ..FjallOptions::default()
    };
    FjallDisk::lock(directory, options).expect("a free directory")
}

fn commit(disk: &mut FjallDisk, keyspace: Keyspace, number: u64, bytes: usize) -> Result<(), DiskError> {
    let mut batch = Batch::new();
    batch.put(keyspace, number.to_be_bytes().to_vec(), vec![7; bytes].into());
    disk.commit(&batch)
}

fn tables(directory: &Path, keyspace: u64) -> usize {
    let tables = directory.join(format!("db/keyspaces/{keyspace}/tables"));
    std::fs::read_dir(tables).map_or(0, Iterator::count)
}

/// Without the room made here, fjall fills its thread's queue in this time, and the thread waits for itself permanently.
#[test]
fn rule_16_a_busy_engine_goes_on_afterwards() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut disk = disk(directory.path());
    disk.create_database().expect("a database");
    let held = disk.hold();
    for number in 0..3 {
        commit(&mut disk, Keyspace::Log, number, 70 << 10).expect("there is room");
    }
    for number in 0..2_500 {
        commit(&mut disk, Keyspace::Hard, number, 80).expect("there is room");
    }
    assert_eq!(
        (tables(directory.path(), 1), tables(directory.path(), 2)),
        (0, 0),
        "nothing could be written yet"
    );
    drop(held);
    let done = (0..20_000).any(|number| {
        commit(&mut disk, Keyspace::Hard, number, 80).expect("there is room");
        commit(&mut disk, Keyspace::Log, number, 1 << 10).expect("there is room");
        tables(directory.path(), 1) > 0 && tables(directory.path(), 2) > 0
    });
    assert!(done, "the engine's thread writes no tables any more");
}

/// A commit that waits for fjall's thread fails when the thread ends.
#[test]
fn rule_16_no_caller_waits_for_an_engine_that_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut disk = disk(directory.path());
    disk.create_database().expect("a database");
    let held = disk.hold();
    let (says, said) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let ended = (0..100).find_map(|number| {
                let _ = says.send(None);
                commit(&mut disk, Keyspace::Log, number, 4 << 20).err()
            });
            let _ = says.send(Some(ended));
        });
        // After a while without an answer the commit is waiting.
        while said.recv_timeout(Duration::from_secs(1)).is_ok_and(|word| word.is_none()) {}
        assert!(matches!(said.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)), "it does not wait");
        std::fs::remove_dir_all(directory.path().join("db/keyspaces/1/tables")).expect("removed");
        drop(held);
        match said.recv_timeout(Duration::from_secs(60)) {
            Ok(Some(Some(DiskError::Poisoned { .. }))) => {}
            other @ (Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                panic!("it was told {other:?}")
            }
        }
    });
}

/// A database whose keyspaces have fjall's own limits still opens, and has room.
#[test]
fn a_database_of_before_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut old = disk(directory.path());
    old.create_database_that_seals();
    commit(&mut old, Keyspace::Log, 1, 300).expect("there is room");
    drop(old);
    let mut disk = disk(directory.path());
    assert_eq!(disk.open_database().expect("it opens"), None);
    assert_eq!(disk.get(Keyspace::Log, &1_u64.to_be_bytes()).expect("a read"), Some(vec![7; 300].into()));
    for number in 2..1_500 {
        commit(&mut disk, Keyspace::Hard, number, 80).expect("there is room");
    }
    assert!(tables(directory.path(), 2) > 0, "small memtables become tables");
}

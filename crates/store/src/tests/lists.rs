//! After a failed change of fjall's list of tables nothing is dropped (decision 0016). `kth_call.rs` makes the change fail.

use crate::{Batch, Disk, DiskError, FjallDisk, FjallOptions, Keyspace};

#[test]
fn rule_06_nothing_is_dropped_after_a_change_of_the_list_of_tables_failed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut disk = FjallDisk::lock(directory.path(), FjallOptions::default()).expect("a free directory");
    disk.create_database().expect("a database");
    let mut batch = Batch::new();
    batch.put(Keyspace::Log, vec![1; 16], vec![2; 300].into());
    disk.commit(&batch).expect("a batch");
    disk.drop_range(Keyspace::Log, &[0], &[1]).expect("nothing failed yet");

    // `vN` and `current` of the next number are on disk, and fjall has the previous number in memory: as after a failed sync.
    let keyspaces = std::fs::read_dir(directory.path().join("db/keyspaces")).expect("there");
    let mut changed = Vec::new();
    for keyspace in keyspaces.map(|keyspace| keyspace.expect("readable").path()).filter(|path| path.is_dir())
    {
        let mut current = std::fs::read(keyspace.join("current")).expect("there");
        let number = u64::from_le_bytes(current[..8].try_into().expect("eight bytes"));
        let list = std::fs::read(keyspace.join(format!("v{number}"))).expect("there");
        current[..8].copy_from_slice(&(number + 1).to_le_bytes());
        for (name, bytes) in [(format!("v{}", number + 1), list), ("current".to_owned(), current)] {
            std::fs::write(keyspace.join(&name), &bytes).expect("written");
            changed.push((keyspace.join(&name), bytes));
        }
    }

    let dropped = disk.drop_range(Keyspace::Log, &[0], &[1]);
    assert!(
        matches!(&dropped, Err(DiskError::Poisoned { place }) if place.contains("keyspaces")),
        "{dropped:?}"
    );
    for (path, bytes) in changed {
        assert!(std::fs::read(&path).expect("there") == bytes, "{} was written again", path.display());
    }
    assert_eq!(disk.open_database().expect("it opens"), None);
    assert_eq!(disk.get(Keyspace::Log, &[1; 16]).expect("a read"), Some(vec![2; 300].into()));
}

/// fjall's thread flushes and compacts meanwhile: a change in progress is not a failure.
#[test]
fn what_the_engine_does_meanwhile_is_no_failed_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = FjallOptions { log_memtable_bytes: 4 << 10, ..FjallOptions::default() };
    let mut disk = FjallDisk::lock(directory.path(), options).expect("a free directory");
    disk.create_database().expect("a database");
    for number in 0..600_u64 {
        let mut batch = Batch::new();
        for group in 0..3_u64 {
            batch.put(
                Keyspace::Log,
                [group.to_be_bytes(), number.to_be_bytes()].concat(),
                vec![7; 900].into(),
            );
        }
        disk.commit(&batch).expect("a batch");
        let (from, to) = ([0_u64.to_be_bytes(); 2].concat(), [0, number / 2].map(u64::to_be_bytes).concat());
        disk.drop_range(Keyspace::Log, &from, &to).expect("nothing failed");
    }
}

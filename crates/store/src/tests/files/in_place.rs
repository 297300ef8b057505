//! Files that are deleted, moved or replaced under an open store: it takes no more writes, and says which file it was.

use std::fs;
use std::path::Path;

use quorate_core::{GroupId, Position};

use super::directory::{GROUP, copy, directory, entries, fill, founding, open};
use crate::{DiskError, FailureKind, GroupWrite, Store, StoreError, StoreFatal};

/// Writes one more entry.
fn write(store: &mut Store) -> Result<(), StoreError> {
    let group = GroupId::of_name(GROUP);
    let loaded = store.load(group, 0)?;
    let entries = entries(loaded.tail.last(), 1);
    store.write(vec![GroupWrite {
        group,
        hard_state: loaded.hard_state,
        truncate_from: None,
        entries: entries.into(),
    }])
}

fn is_gone(result: Result<(), StoreError>, of: &Path) -> Result<(), String> {
    match result {
        Err(StoreError::Disk(DiskError::Gone { place, .. })) if place == of.display().to_string() => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_write_to_a_database_that_was_deleted_is_not_acknowledged() {
    let (_owner, path) = directory();
    let (mut store, _) = open(&path).expect("it opens");
    write(&mut store).expect("it is in its place");
    // fjall's thread may make a file meanwhile.
    let deleted = (0..1_000).any(|_| fs::remove_dir_all(path.join("db")).is_ok());
    assert!(deleted, "it is deleted");
    is_gone(write(&mut store), &path.join("db/lock")).expect("the batch is in deleted files only");
    assert!(matches!(write(&mut store), Err(StoreError::Failed)), "and nothing after it");
    let fatal = StoreFatal::Failed(std::sync::Arc::new(
        DiskError::Gone { place: String::new(), detail: String::new() }.into(),
    ));
    assert_eq!(fatal.kind(), FailureKind::FilesGone);
}

#[test]
fn a_write_to_a_database_that_was_replaced_is_not_acknowledged() {
    let (_owner, path) = directory();
    let copied = path.with_extension("copy");
    copy(&path.join("db"), &copied);
    let (mut store, _) = open(&path).expect("it opens");
    fs::rename(path.join("db"), path.join("moved")).expect("renamed");
    fs::rename(&copied, path.join("db")).expect("renamed");
    is_gone(write(&mut store), &path.join("db/lock")).expect("the batch is in the one that was moved away");
}

#[test]
fn what_is_gone_is_noticed_without_a_write() {
    let (_owner, whole) = directory();
    for name in
        ["lock", "anchor", "db", "db/lock", "db/version", "db/0.jnl", "db/keyspaces", "db/keyspaces/1"]
    {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("data");
        copy(&whole, &path);
        let (mut store, _) = open(&path).expect("it opens");
        store.check_in_place().unwrap_or_else(|error| panic!("{name}: too early: {error}"));
        let (of, aside) = (path.join(name), path.join("moved-away"));
        fs::rename(&of, &aside).expect("renamed");
        let said = store.check_in_place().expect_err(name);
        assert!(matches!(said, StoreError::Disk(DiskError::Gone { .. })), "{name}: {said}");
        assert!(
            matches!(write(&mut store), Err(StoreError::Failed)),
            "{name}: nothing is acknowledged after it"
        );
        drop(store);
        fs::rename(&aside, &of).expect("renamed");
        drop(open(&path).unwrap_or_else(|error| panic!("{name}: put back: {error}")));
    }
}

/// A file that somebody puts there and takes away again is none that is open.
#[test]
fn a_strangers_file_beside_an_open_database_ends_nothing() {
    let (_owner, path) = directory();
    let (mut store, _) = open(&path).expect("it opens");
    for name in ["db/99.jnl", "db/backup.jnl", "db/notes"] {
        fs::write(path.join(name), b"").expect("written");
        store.check_in_place().unwrap_or_else(|error| panic!("{name}: {error}"));
        fs::remove_file(path.join(name)).expect("removed");
        store.check_in_place().unwrap_or_else(|error| panic!("{name} removed: {error}"));
    }
    write(&mut store).expect("it works on");
    fs::rename(path.join("db/0.jnl"), path.join("moved-away")).expect("renamed");
    fs::write(path.join("db/0.jnl"), b"").expect("written");
    let said = store.check_in_place().expect_err("another file has its name");
    assert!(matches!(said, StoreError::Disk(DiskError::Gone { .. })), "{said}");
}

/// `truncate`, or a job that copies logs away and cuts them: the file stays, and what was written is gone.
#[test]
fn a_file_that_was_cut_ends_the_store_by_name() {
    let (_owner, whole) = directory();
    for (name, bytes) in [("db/0.jnl", 0), ("db/0.jnl", 100), ("anchor", 4_096), ("db/version", 0)] {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("data");
        copy(&whole, &path);
        let (mut store, _) = open(&path).expect("it opens");
        write(&mut store).expect("it is whole");
        store.check_in_place().unwrap_or_else(|error| panic!("{name}: too early: {error}"));
        let cut = fs::File::options().write(true).open(path.join(name)).expect("it is there");
        cut.set_len(bytes).expect("cut");
        // What is written next goes to the end of what is left: it is longer again, and has lost what was before.
        let said = if name == "db/0.jnl" { write(&mut store) } else { store.check_in_place() };
        let said = said.expect_err(name);
        let is_named =
            matches!(&said, StoreError::Disk(DiskError::Cut { place, .. }) if place.ends_with(name));
        assert!(is_named && said.to_string().contains("bytes, and had"), "{name}: {said}");
        assert!(
            matches!(write(&mut store), Err(StoreError::Failed)),
            "{name}: nothing is acknowledged after it"
        );
        let fatal = StoreFatal::Failed(std::sync::Arc::new(said));
        assert_eq!(fatal.kind(), FailureKind::FilesGone);
    }
}

/// Nothing is written: the look once a second finds it.
#[test]
fn a_journal_that_was_cut_is_noticed_without_a_write() {
    let (_owner, path) = directory();
    let (mut store, _) = open(&path).expect("it opens");
    let cut = fs::File::options().write(true).open(path.join("db/0.jnl")).expect("it is there");
    cut.set_len(0).expect("cut");
    let said = store.check_in_place().expect_err("it is shorter");
    assert!(matches!(said, StoreError::Disk(DiskError::Cut { .. })), "{said}");
}

/// Tables are written, journals begun, lists renamed: that is the engine at work.
#[test]
fn what_the_engine_changes_itself_is_in_its_place() {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("data");
    fill(&path, 0, 0);
    let (mut store, _) = open(&path).expect("it opens");
    let group = store.open_group(GROUP, &founding()).expect("a group opens");
    let hard_state = store.load(group, 0).expect("it loads").hard_state;
    let mut hard_state = Some(hard_state);
    for entry in entries(Position::ORIGIN, 120) {
        let term = quorate_core::HardState { term: entry.term, voted_for: None, recovering: false };
        let hard_state =
            hard_state.take().filter(|hard| hard.covers(entry.term)).unwrap_or_else(|| term.into());
        store
            .write(vec![GroupWrite { group, hard_state, truncate_from: None, entries: vec![entry].into() }])
            .expect("a write");
        store.check_in_place().expect("it is in its place");
    }
}

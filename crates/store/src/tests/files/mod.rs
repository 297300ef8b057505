//! Real files of a data directory, each damaged in turn: the answer is a typed error, a node that recovers, or what was
//! written. Never a wrong answer, never a silent loss (`safety.md` 6, `known-bugs.md` 70, 71).

use std::fs;
use std::path::{Path, PathBuf};

use quorate_core::{GroupId, Index, Position};

use self::directory::{
    ENTRIES, GROUP, OTHER, Outcome, copy, directory, entries, fill, lock, open, open_with, seal, write,
};
use crate::disk::journal_written;
use crate::{DiskError, OpenError, OpenNotice};

mod damage;
mod directory;
mod first_start;
mod in_place;
mod only_copy;
mod put_back;
mod strangers;

fn outcome(path: &Path, what: &str) -> Outcome {
    directory::outcome(path).unwrap_or_else(|wrong| panic!("{what}: {wrong}"))
}

#[test]
fn rule_06_files_of_an_older_copy_are_seen() {
    let owner = tempfile::tempdir().expect("a directory");
    let (path, old) = (owner.path().join("data"), owner.path().join("old"));
    fill(&path, 0, ENTRIES / 2);
    copy(&path, &old);
    fill(&path, ENTRIES / 2, ENTRIES);
    for (name, expected) in [("db", Outcome::Recovering), ("anchor", Outcome::Refused)] {
        let target = owner.path().join(format!("mixed-{name}"));
        copy(&path, &target);
        if name == "db" {
            fs::remove_dir_all(target.join(name)).expect("deleted");
            copy(&old.join(name), &target.join(name));
        } else {
            fs::copy(old.join(name), target.join(name)).expect("copied");
        }
        assert_eq!(outcome(&target, name), expected, "{name}");
    }
}

#[test]
fn rule_06_a_missing_half_is_refused() {
    let (_owner, path) = directory();
    let scratch = tempfile::tempdir().expect("a directory");
    let (no_anchor, no_database) = (scratch.path().join("a"), scratch.path().join("b"));
    copy(&path, &no_anchor);
    copy(&path, &no_database);
    fs::remove_file(no_anchor.join("anchor")).expect("deleted");
    fs::remove_dir_all(no_database.join("db")).expect("deleted");
    assert!(matches!(open(&no_anchor), Err(OpenError::DatabaseWithoutAnchor { .. })));
    assert!(matches!(open(&no_database), Err(OpenError::AnchorWithoutDatabase { .. })));
}

#[test]
fn rule_06_a_journal_damaged_in_the_middle_is_set_aside_with_its_evidence() {
    let (_owner, path) = directory();
    let journal = path.join("db/0.jnl");
    let mut bytes = fs::read(&journal).expect("a journal reads");
    let end = journal_written(&bytes);
    bytes[end / 2] ^= 1;
    fs::write(&journal, &bytes).expect("written");
    let (_, report) = open(&path).expect("it recovers");
    let aside = report.notices.iter().find_map(|notice| match notice {
        OpenNotice::SetAside { to, .. } => Some(PathBuf::from(to)),
        _ => None,
    });
    let kept = fs::read(aside.expect("it is said").join("0.jnl")).expect("the evidence is kept");
    assert_eq!(kept, bytes, "to the byte");
}

#[test]
fn bug_70_an_unfinished_last_batch_is_cut_and_said() {
    let (_owner, path) = directory();
    let journal = path.join("db/0.jnl");
    let bytes = fs::read(&journal).expect("a journal reads");
    let end = journal_written(&bytes);
    let mut torn = bytes[..end].to_vec();
    // A batch whose end did not reach the disk.
    torn.extend(&bytes[..200.min(end)]);
    torn.truncate(end + 40);
    fs::write(&journal, &torn).expect("written");
    let (store, report) = open(&path).expect("an ordinary power cut");
    assert!(matches!(report.notices.as_slice(), [OpenNotice::TornTail(_)]), "{:?}", report.notices);
    drop(store);
    assert_eq!(outcome(&path, "torn"), Outcome::Correct);
}

/// The window of `ANCHOR_LAG_MAX`: a batch that the anchor does not know yet looks like an unfinished write. Once it knows, the
/// same damage is detected. With small memtables fjall's thread may write the memtable with the last batch to a table: then
/// there is a second copy, nothing is lost, and no loss may be reported.
#[test]
fn rule_03_inside_the_window_only_what_the_anchor_does_not_know_can_be_lost() {
    for settles in [false, true] {
        assert!(loses_its_last_batch(settles, 1 << 20), "without tables the journal is the only copy");
        for _ in 0..3 {
            loses_its_last_batch(settles, 4 << 10);
        }
    }
}

/// Cuts the end of a journal and checks what follows; returns whether that was the only copy.
fn loses_its_last_batch(settles: bool, memtable_bytes: u64) -> bool {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("data");
    let (mut store, _) = open_with(&path, memtable_bytes).expect("it opens");
    write(&mut store, 0, ENTRIES + 3);
    if settles {
        store.settle_anchor().expect("it settles");
    }
    drop(store);
    let journal = path.join("db/0.jnl");
    let mut bytes = fs::read(&journal).expect("a journal reads");
    let end = journal_written(&bytes);
    bytes.truncate(end - 10);
    fs::write(&journal, &bytes).expect("written");
    let (store, report) = open_with(&path, memtable_bytes).expect("it opens");
    let torn = report.notices.iter().any(|notice| matches!(notice, OpenNotice::TornTail(_)));
    assert!(torn, "{:?}", report.notices);
    let end_of =
        |name: &str| report.groups.iter().find(|group| group.name == name).expect("it is there").last.index;
    // The last batch was of the second group: its log ends one entry earlier, and the rest is as written.
    assert_eq!(end_of(GROUP), Index(ENTRIES + 3));
    let is_lost = end_of(OTHER) == Index(ENTRIES + 2);
    assert!(is_lost || end_of(OTHER) == Index(ENTRIES + 3), "{:?}", report.groups);
    let recovers = settles && is_lost;
    assert!(report.groups.iter().all(|group| group.recovering == recovers), "{:?}", report.groups);
    for name in [GROUP, OTHER] {
        let all = entries(Position::ORIGIN, end_of(name).0);
        let found = store.read(GroupId::of_name(name), Index(1), Index(u64::MAX), usize::MAX);
        assert_eq!(found.expect("it reads"), all, "{name}, settled: {settles}");
    }
    is_lost
}

#[test]
fn rule_06_a_gap_in_journal_numbers_is_corruption() {
    let (_owner, whole) = directory();
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("gap");
    copy(&whole, &path);
    seal(&path);
    // A missing sealed journal: what follows it is there.
    fs::rename(path.join("db/1.jnl"), path.join("db/2.jnl")).expect("renamed");
    assert_eq!(outcome(&path, "gap"), Outcome::Recovering);
}

/// A link to itself exists and cannot be examined. (For root, a missing permission is no obstacle.)
#[test]
fn what_cannot_be_looked_at_is_not_taken_for_missing() {
    for name in ["db/version", "anchor", "db"] {
        let (_keep, path) = directory();
        let (file, aside) = (path.join(name), path.join("aside"));
        fs::rename(&file, &aside).expect("moves");
        std::os::unix::fs::symlink(&file, &file).expect("links");
        let said = open(&path).expect_err("cannot be looked at");
        assert!(matches!(said, OpenError::Disk(DiskError::Io { .. })), "{name}: {said}");
        fs::remove_file(&file).expect("removes");
        fs::rename(&aside, &file).expect("moves back");
        let (_store, report) = open(&path).expect("nothing was done to it");
        assert_eq!(report.notices, Vec::new(), "{name}");
    }
}

/// The file has no checksum: the journals beside it decide which format the database has.
#[test]
fn rule_06_a_damaged_version_is_no_newer_format_and_a_newer_format_is_no_damage() {
    let (_owner, whole) = directory();
    let scratch = tempfile::tempdir().expect("a directory");
    let of = |name: &str, version: &[u8], magic: Option<u8>| {
        let path = scratch.path().join(name);
        copy(&whole, &path);
        fs::write(path.join("db/version"), version).expect("written");
        if let Some(magic) = magic {
            let journal = path.join("db/0.jnl");
            let mut bytes = fs::read(&journal).expect("a journal reads");
            let ends: Vec<usize> = (3..bytes.len()).filter(|at| bytes[at - 3..*at] == *b"FJL").collect();
            assert!(ends.len() > 10, "each batch ends with its format");
            for at in ends {
                bytes[at] = magic;
            }
            fs::write(&journal, bytes).expect("written");
        }
        path
    };
    for bit in 0..32_usize {
        let mut version = *b"FJL\x03";
        version[bit / 8] ^= 1 << (bit % 8);
        let path = of(&format!("bit{bit}"), &version, None);
        assert_eq!(outcome(&path, "a flipped bit"), Outcome::Recovering, "{version:?}");
    }
    let newer = of("newer", b"FJL\x04", Some(4));
    let said = open(&newer).expect_err("a newer build wrote it");
    assert!(matches!(said, OpenError::Disk(DiskError::Future { found: 4, .. })), "{said}");
    assert!(newer.join("db").exists() && !newer.join("db.damaged-1").exists(), "it is left alone");
}

/// fjall's lock is empty, and its directory is locked already: nothing is lost with it.
#[test]
fn a_missing_lock_of_the_engine_is_made_again() {
    let (_owner, path) = directory();
    fs::remove_file(path.join("db/lock")).expect("deleted");
    assert_eq!(outcome(&path, "no db/lock"), Outcome::Correct);
}

/// After a failed sync the system may hold a batch that is not on the disk and call it clean: it is written again.
#[test]
fn bug_72_the_last_batch_is_written_again_before_anything_builds_on_it() {
    let (_owner, path) = directory();
    let journal = path.join("db/0.jnl");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options()
        .write(true)
        .open(&journal)
        .and_then(|file| file.set_modified(long_ago))
        .expect("its time is set");
    let before = fs::read(&journal).expect("a journal reads");
    // fjall would write to it, too; it is kept out by its own lock, which the test holds.
    let engine = fs::File::options().write(true).open(path.join("db/lock")).expect("it is there");
    engine.lock().expect("it is free");
    let said = open(&path).expect_err("the engine is locked");
    assert!(matches!(said, OpenError::Disk(DiskError::Locked { .. })), "{said}");
    let after = fs::metadata(&journal).and_then(|found| found.modified()).expect("it has a time");
    assert!(after > long_ago, "nothing was written to it");
    assert_eq!(fs::read(&journal).expect("a journal reads"), before, "to the byte");
}

#[test]
fn a_second_process_is_refused() {
    let (_owner, path) = directory();
    let held = lock(&path).expect("the first");
    assert!(matches!(lock(&path), Err(DiskError::Locked { .. })));
    drop(held);
    assert!(lock(&path).is_ok());
}

//! Real files of a data directory, each damaged in turn: the answer is a typed error, a node that recovers, or what was
//! written. Never a wrong answer, never a silent loss (`safety.md` 6, `known-bugs.md` 70, 71).

use std::fs;
use std::path::{Path, PathBuf};

use quorate::store::{DiskError, OpenError, OpenNotice};

use self::directory::{ENTRIES, Outcome, copy, directory, fill, lock, open};

mod damage;
mod directory;

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
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty");
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
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
    let mut torn = bytes[..end].to_vec();
    // A batch whose end never reached the disk.
    torn.extend(&bytes[..200.min(end)]);
    torn.truncate(end + 40);
    fs::write(&journal, &torn).expect("written");
    let (store, report) = open(&path).expect("an ordinary power cut");
    assert!(matches!(report.notices.as_slice(), [OpenNotice::TornTail(_)]), "{:?}", report.notices);
    drop(store);
    assert_eq!(outcome(&path, "torn"), Outcome::Correct);
}

#[test]
fn rule_06_a_gap_in_journal_numbers_is_corruption() {
    let (_owner, path) = directory();
    // A sealed journal that is missing: the newest is number two, and there is no number one.
    fs::copy(path.join("db/0.jnl"), path.join("db/2.jnl")).expect("copied");
    assert_eq!(outcome(&path, "gap"), Outcome::Recovering);
}

/// A link to itself: there, and not to be looked at. (As root a missing permission would not do.)
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

#[test]
fn a_second_process_is_refused() {
    let (_owner, path) = directory();
    let held = lock(&path).expect("the first");
    assert!(matches!(lock(&path), Err(DiskError::Locked { .. })));
    drop(held);
    assert!(lock(&path).is_ok());
}

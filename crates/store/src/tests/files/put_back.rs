//! A database that was set aside is put back: `mv db db.unused; mv db.damaged-1 db`. Its number says that it is an earlier one,
//! what the anchor remembers of it says whether anything is missing (`docs/reference/data-directory.md`).

use std::fs;
use std::path::Path;

use quorate_core::{GroupId, Position};

use super::directory::{
    ENTRIES, GROUP, OTHER, Outcome, copy, directory, entries, fill, founding, goes_on, open,
};
use super::outcome;
use crate::disk::journal_written;
use crate::{GroupWrite, OpenNotice, OpenReport};

/// Flips a bit in the middle of the journal, and on the next call flips it back.
fn flip(database: &Path) {
    let journal = database.join("0.jnl");
    let mut bytes = fs::read(&journal).expect("a journal reads");
    let end = journal_written(&bytes);
    bytes[end / 2] ^= 1;
    fs::write(&journal, &bytes).expect("written");
}

/// A database that was set aside for nothing: a bit was flipped, and is flipped back.
fn set_aside(path: &Path) {
    flip(&path.join("db"));
    let (_, report) = open(path).expect("it recovers");
    assert!(report.groups.iter().all(|group| group.recovering), "{:?}", report.groups);
    flip(&path.join("db.damaged-1"));
}

/// The documented commands.
fn put_back(path: &Path) {
    fs::rename(path.join("db"), path.join("db.unused")).expect("renamed");
    fs::rename(path.join("db.damaged-1"), path.join("db")).expect("renamed");
}

fn said(report: &OpenReport) -> Option<(u32, bool)> {
    report.notices.iter().find_map(|notice| match notice {
        OpenNotice::PutBack { database, proven } => Some((*database, *proven)),
        _ => None,
    })
}

#[test]
fn rule_06_a_database_that_was_set_aside_for_nothing_is_put_back_whole() {
    let (_owner, path) = directory();
    set_aside(&path);
    put_back(&path);
    let (store, report) = open(&path).expect("it is the right one");
    assert_eq!(said(&report), Some((0, true)), "{:?}", report.notices);
    assert!(
        report.groups.iter().all(|group| !group.recovering),
        "no node would ever lead: {:?}",
        report.groups
    );
    drop(store);
    assert_eq!(outcome(&path, "put back"), Outcome::Correct, "nothing is missing, and nothing to report");
    goes_on(&path, Outcome::Correct).expect("it goes on");
    // The other one now comes before it, and has nothing of all that.
    fs::rename(path.join("db"), path.join("db.damaged-1")).expect("renamed");
    fs::rename(path.join("db.unused"), path.join("db")).expect("renamed");
    let (_, report) = open(&path).expect("it recovers");
    assert!(report.groups.iter().all(|group| group.recovering), "{:?}", report.groups);
}

#[test]
fn rule_06_what_the_next_database_acknowledged_is_not_forgotten_with_it() {
    let (_owner, path) = directory();
    set_aside(&path);
    let (mut store, _) = open(&path).expect("it opens");
    let group = store.open_group(GROUP, &founding()).expect("a group opens");
    let hard_state = store.load(group, 0).expect("it loads").hard_state;
    assert!(hard_state.is_recovering());
    let entries = entries(Position::ORIGIN, 1);
    store
        .write(vec![GroupWrite { group, hard_state, truncate_from: None, entries: entries.into() }])
        .expect("a write");
    // Not settled: it may be acknowledged already.
    drop(store);
    put_back(&path);
    let (mut store, report) = open(&path).expect("it is the right one");
    assert_eq!(said(&report), Some((0, false)), "{:?}", report.notices);
    let recovering =
        |name: &str| report.groups.iter().find(|group| group.name == name).expect("it is there").recovering;
    assert!(recovering(GROUP), "what was acknowledged since may be missing");
    assert!(!recovering(OTHER), "nothing was");
    let group = store.open_group(GROUP, &founding()).expect("a group opens");
    assert_eq!(store.load(group, 0).expect("it loads").tail.last().index.0, ENTRIES, "its log is there");
    drop(store);
    let (_, report) = open(&path).expect("it opens");
    assert_eq!(report.notices, Vec::new(), "said once");
    assert!(report.groups.iter().any(|group| group.recovering), "and marked until it has caught up");
}

#[test]
fn rule_06_an_older_copy_of_what_was_set_aside_recovers() {
    let owner = tempfile::tempdir().expect("a directory");
    let (path, old) = (owner.path().join("data"), owner.path().join("old"));
    fill(&path, 0, ENTRIES / 2);
    copy(&path, &old);
    fill(&path, ENTRIES / 2, ENTRIES);
    set_aside(&path);
    fs::remove_dir_all(path.join("db.damaged-1")).expect("removed");
    copy(&old.join("db"), &path.join("db.damaged-1"));
    put_back(&path);
    let (_, report) = open(&path).expect("it recovers");
    assert_eq!(said(&report), Some((0, false)), "{:?}", report.notices);
    assert!(report.groups.iter().all(|group| group.recovering), "{:?}", report.groups);
}

/// A vote of the time in between is in the anchor, and stays.
#[test]
fn rule_01_a_later_term_outlives_the_database_that_is_put_back() {
    let (_owner, path) = directory();
    set_aside(&path);
    let (mut store, _) = open(&path).expect("it opens");
    let group = store.open_group(GROUP, &founding()).expect("a group opens");
    let later: quorate_core::HardRecord =
        quorate_core::HardState { term: quorate_core::Term(9), voted_for: None, recovering: true }.into();
    let write =
        GroupWrite { group, hard_state: later.clone(), truncate_from: None, entries: Vec::new().into() };
    store.write(vec![write]).expect("a write");
    drop(store);
    put_back(&path);
    let (store, report) = open(&path).expect("it is the right one");
    assert_eq!(said(&report), Some((0, true)), "{:?}", report.notices);
    let loaded = store.load(GroupId::of_name(GROUP), 0).expect("it loads");
    assert_eq!(loaded.hard_state, later.unmarked());
}

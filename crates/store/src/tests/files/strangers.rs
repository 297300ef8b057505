//! Files that somebody put into the database's directory, and an engine that gives up: neither is damage. What the engine would
//! misread, delete or fail on is refused by its name, the rest is reported; nothing is renamed, deleted or written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::directory::{Outcome, copy, directory, files, goes_on, open};
use super::outcome;
use crate::disk::guarded;
use crate::{DiskError, OpenError, OpenNotice};

/// Puts something at a path.
type Put = fn(&Path);

fn touch(path: &Path) {
    fs::write(path, b"").expect("written");
}

fn text(path: &Path) {
    fs::write(path, b"a note of an operator").expect("written");
}

fn make(path: &Path) {
    fs::create_dir(path).expect("made");
}

/// A copy of the only journal.
fn journal(path: &Path) {
    fs::copy(path.with_file_name("0.jnl"), path).expect("copied");
}

/// A copy of a keyspace.
fn keyspace(path: &Path) {
    copy(&path.with_file_name("1"), path);
}

/// A copy of a table.
fn table(path: &Path) {
    let tables = path.parent().expect("inside");
    let first = files(tables).into_iter().next().expect("there is a table");
    fs::copy(first, path).expect("copied");
}

/// Each file below a directory with its bytes, and each empty directory.
fn all(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(path).into_iter().map(|file| (file.clone(), fs::read(&file).expect("a file reads"))).collect()
}

/// A directory with tables in the keyspace `log`, and a journal of which little more than what is written is there.
fn ground() -> (tempfile::TempDir, PathBuf) {
    let (owner, first) = directory();
    // fjall writes tables on a thread of its own, and a store that is closed may not wait for it.
    for _ in 0..100 {
        if !files(&first.join("db/keyspaces/1/tables")).is_empty() {
            break;
        }
        drop(open(&first).expect("a directory opens"));
    }
    let path = owner.path().join("ground");
    copy(&first, &path);
    (owner, path)
}

#[test]
fn a_file_that_the_engine_would_misread_is_named_and_nothing_is_changed() {
    let (_owner, path) = ground();
    let strangers: &[(&str, Put)] = &[
        ("db/backup.jnl", touch),
        ("db/99.jnl", touch),
        ("db/99.jnl", text),
        ("db/7.jnl", journal),
        ("db/1.jnl", journal),
        ("db/+7.jnl", journal),
        ("db/00.jnl", journal),
        ("db/1.JNL", journal),
        ("db/1.jnl", make),
        ("db/keyspaces/x", make),
        ("db/keyspaces/7", make),
        ("db/keyspaces/7", keyspace),
        ("db/keyspaces/01", keyspace),
        ("db/keyspaces/1/version", text),
        ("db/keyspaces/1/v-notes", text),
        ("db/keyspaces/1/v999999", text),
        ("db/keyspaces/1/blobs", make),
        ("db/keyspaces/1/tables/notes", text),
        ("db/keyspaces/1/tables/0x", table),
        ("db/keyspaces/1/tables/007", table),
        ("db/keyspaces/1/tables/77", make),
    ];
    for (name, put) in strangers {
        let stranger = path.join(name);
        put(&stranger);
        let before = all(&path);
        for attempt in 0..2 {
            let said = open(&path).expect_err(name);
            let named = stranger.display().to_string();
            let is_named =
                matches!(&said, OpenError::Disk(DiskError::Stray { place, .. }) if *place == named);
            assert!(is_named, "{name}, attempt {attempt}: {said}");
            assert!(!path.join("db.damaged-1").exists(), "{name}: a healthy database was set aside");
        }
        assert!(all(&path) == before, "{name}: something was changed");
        let removed =
            if stranger.is_dir() { fs::remove_dir_all(&stranger) } else { fs::remove_file(&stranger) };
        removed.expect("removed");
        assert_eq!(outcome(&path, name), Outcome::Correct, "{name}: after it was moved away");
    }
}

#[test]
fn a_name_that_is_no_text_is_refused() {
    let (_owner, path) = ground();
    let stranger = path.join("db").join(OsStr::from_bytes(b"copy-\xff"));
    touch(&stranger);
    let said = open(&path).expect_err("the engine fails on it");
    assert!(matches!(said, OpenError::Disk(DiskError::Stray { .. })), "{said}");
    fs::remove_file(&stranger).expect("removed");
    assert_eq!(outcome(&path, "moved away"), Outcome::Correct);
}

#[test]
fn a_file_that_the_engine_passes_over_is_reported_and_left_alone() {
    let (_owner, path) = ground();
    let strangers: &[(&str, Put)] = &[
        ("db/0.jnl.bak", text),
        ("db/README", text),
        ("db/notes", make),
        ("db/keyspaces/notes", text),
        ("db/keyspaces/1/readme", text),
        ("db/keyspaces/1/tables/.DS_Store", text),
    ];
    for (name, put) in strangers {
        put(&path.join(name));
    }
    for _ in 0..2 {
        let (store, report) = open(&path).expect("they are harmless");
        let [OpenNotice::UnknownFiles { first, count }] = report.notices.as_slice() else {
            panic!("{:?}", report.notices);
        };
        assert_eq!(*count, strangers.len());
        for (name, _) in strangers {
            assert!(first.contains(&path.join(name).display().to_string()), "{name}: {first:?}");
        }
        drop(store);
        assert_eq!(outcome(&path, "strangers"), Outcome::Mended, "reported, and everything is there");
    }
    for (name, _) in strangers {
        assert!(path.join(name).exists(), "{name} is gone");
        let stranger = path.join(name);
        let removed =
            if stranger.is_dir() { fs::remove_dir_all(&stranger) } else { fs::remove_file(&stranger) };
        removed.expect("removed");
    }
    goes_on(&path, Outcome::Correct).expect("without them there is nothing to report");
}

/// A place where a file system is to be mounted, and is not.
#[test]
fn an_empty_directory_is_no_damaged_database() {
    let (_owner, path) = ground();
    let aside = path.join("elsewhere");
    fs::rename(path.join("db"), &aside).expect("renamed");
    make(&path.join("db"));
    make(&path.join("db/lost+found"));
    let said = open(&path).expect_err("there is no database");
    assert!(matches!(said, OpenError::AnchorWithoutDatabase { .. }), "{said}");
    fs::remove_dir_all(path.join("db")).expect("nothing was put into it");
    fs::rename(&aside, path.join("db")).expect("renamed");
    assert_eq!(outcome(&path, "mounted"), Outcome::Correct);
}

/// A panic is believed to be damage only if a checksum says so.
#[test]
fn a_panic_of_the_engine_is_no_damage_by_itself() {
    let (_owner, path) = ground();
    let database = path.join("db");
    let give_up = || guarded::<()>(&database, || panic!("should be absolute path"));
    let said = give_up();
    let is_refusal = matches!(&said, Err(DiskError::Engine { place, detail })
        if *place == database.display().to_string() && detail.contains("should be absolute path"));
    assert!(is_refusal, "{said:?}");
    let table = files(&database.join("keyspaces/1/tables")).into_iter().next().expect("there is a table");
    let whole = fs::read(&table).expect("a file reads");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::remove_file(&table).expect("it is a link");
    fs::write(&table, &flipped).expect("written");
    let said = give_up();
    let is_damage =
        matches!(&said, Err(DiskError::Damaged { place, .. }) if *place == table.display().to_string());
    assert!(is_damage, "{said:?}");
    fs::remove_file(&table).expect("removed");
    assert!(matches!(give_up(), Err(DiskError::Damaged { .. })), "a list names it, and it is missing");
    fs::write(&table, &whole).expect("written");
    assert!(matches!(give_up(), Err(DiskError::Engine { .. })), "whole again");
}

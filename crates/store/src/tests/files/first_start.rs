//! A first start that ended before it was through: what it left is no damage.

use std::fs;
use std::path::Path;

use quorate_core::{Boot, Hash, Incarnation};

use super::directory::{copy, directory, lock, node, open};
use crate::anchor::{Anchor, DatabaseStatus, IdentityRecord};
use crate::{Disk, OpenNotice};

/// A directory whose anchor says that the database is being made, and a database.
fn interrupted(path: &Path) {
    let mut disk = lock(path).expect("a directory");
    let identity = IdentityRecord {
        cluster: Hash::of(b"cluster"),
        node: node("node0"),
        incarnation: Incarnation(0x5eed),
        boot: Boot::ZERO,
        status: DatabaseStatus::Initialising,
        database: 0,
        groups: 0,
        starts: Vec::new(),
    };
    Anchor::create(&mut disk, identity).expect("an anchor");
    disk.create_database().expect("a database");
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("a name")).collect();
    names.sort();
    names
}

#[test]
fn what_a_first_start_left_is_made_anew_without_a_word() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("whole", |_| {}),
        ("an empty directory", |db| {
            fs::remove_dir_all(db).expect("deleted");
            fs::create_dir(db).expect("made");
        }),
        ("without a keyspace", |db| fs::remove_dir_all(db.join("keyspaces/2")).expect("deleted")),
        ("without keyspaces", |db| fs::remove_dir_all(db.join("keyspaces")).expect("deleted")),
        ("without a version", |db| fs::remove_file(db.join("version")).expect("deleted")),
    ];
    for (what, change) in changes {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("data");
        interrupted(&path);
        change(&path.join("db"));
        let (_store, report) = open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.notices.is_empty(), "{what}: {:?}", report.notices);
        assert_eq!(names(&path), ["anchor", "ballast", "db", "lock"], "{what}");
    }
}

/// Somebody has put it there.
#[test]
fn a_database_in_use_is_kept_whatever_the_anchor_says() {
    let (_owner, whole) = directory();
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("data");
    interrupted(&path);
    fs::remove_dir_all(path.join("db")).expect("deleted");
    copy(&whole.join("db"), &path.join("db"));
    let (_store, report) = open(&path).expect("it opens");
    assert!(matches!(&report.notices[..], [OpenNotice::SetAside { .. }]), "{:?}", report.notices);
    assert!(names(&path).contains(&"db.damaged-1".to_owned()));
}

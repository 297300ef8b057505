//! The only voter of a group has the only copy of its log: a damaged database is left where it is, and the node refuses to start.

use std::fs;
use std::path::Path;

use quorate_core::{HardState, Position, Term};

use super::directory::{GROUP, copy, entries, node, of_voters, open};
use crate::anchor::Anchor;
use crate::disk::journal_written;
use crate::{Disk, FjallDisk, FjallOptions, GroupWrite, OpenError};

/// A settled directory of a group with these voters.
fn filled(path: &Path, voters: &[&str]) {
    let (mut store, _) = open(path).expect("a directory opens");
    let group = store.open_group(GROUP, &of_voters(voters)).expect("a group opens");
    let hard_state = HardState { term: Term(2), voted_for: Some(node("node0")), recovering: false };
    for entry in entries(Position::ORIGIN, 20) {
        let hard_state = hard_state.clone().into();
        let write = GroupWrite { group, hard_state, truncate_from: None, entries: vec![entry].into() };
        store.write(vec![write]).expect("a write");
    }
    store.settle_anchor().expect("the anchor settles");
}

fn damage(path: &Path) {
    let journal = path.join("db/0.jnl");
    let mut bytes = fs::read(&journal).expect("a journal reads");
    let end = journal_written(&bytes);
    bytes[end / 2] ^= 1;
    fs::write(&journal, &bytes).expect("written");
}

fn stays_refused(path: &Path) {
    let before = fs::read(path.join("anchor")).expect("the anchor reads");
    for _ in 0..3 {
        let said = open(path).expect_err("there is no other copy");
        assert!(matches!(&said, OpenError::OnlyCopy { group, .. } if group == GROUP), "{said}");
    }
    assert!(path.join("db/0.jnl").exists() && !path.join("db.damaged-1").exists(), "it was set aside");
    assert!(fs::read(path.join("anchor")).expect("the anchor reads") == before, "the anchor was written");
}

#[test]
fn rule_06_the_only_copy_is_not_set_aside() {
    let owner = tempfile::tempdir().expect("a directory");
    let (path, other) = (owner.path().join("alone"), owner.path().join("together"));
    filled(&path, &["node0"]);
    damage(&path);
    stays_refused(&path);
    filled(&other, &["node0", "node1"]);
    damage(&other);
    let (_, report) = open(&other).expect("the other node has a copy");
    assert!(report.groups.iter().all(|group| group.recovering), "{:?}", report.groups);
}

/// A directory that an earlier build made says it after one start of this build.
#[test]
fn rule_06_an_anchor_that_does_not_say_so_learns_it_at_a_start() {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("alone");
    filled(&path, &["node0"]);
    let forget = || {
        let mut disk = FjallDisk::lock(&path, FjallOptions::default()).expect("a free directory");
        let disk: &mut dyn Disk = &mut disk;
        let (mut anchor, _) = Anchor::load(disk).expect("a whole anchor");
        assert!(anchor.groups[0].record.only_copy, "it knew");
        anchor.groups[0].record.only_copy = false;
        let (hard, start) = (anchor.groups[0].record.hard.clone(), anchor.groups[0].record.start);
        for _ in 0..2 {
            anchor.write_group(disk, 0, hard.clone(), start).expect("written");
        }
        anchor.sync(disk).expect("synced");
    };
    forget();
    drop(open(&path).expect("it opens"));
    let learnt = owner.path().join("learnt");
    copy(&path, &learnt);
    damage(&learnt);
    stays_refused(&learnt);
    forget();
}

//! Real files of a data directory, each damaged in turn: the answer is a typed error, a node that recovers, or what was
//! written. Never a wrong answer, never a silent loss (`safety.md` 6, `known-bugs.md` 70, 71).

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate::store::{
    Disk, DiskError, FjallDisk, FjallOptions, GroupWrite, OpenError, OpenNotice, OpenReport, Store,
    StoreOptions,
};
use quorate_core::{
    Entry, EntryKind, GroupId, HardState, Hash, Index, Member, Membership, NodeId, Position, Term,
};
use tempfile::TempDir;

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

fn options(entropy: u64) -> StoreOptions {
    let mut options = StoreOptions::new(node("node0"), Some(Hash::of(b"cluster")), entropy);
    options.ballast_bytes = 0;
    options.reserve_bytes_min = 1 << 10;
    options
}

fn lock(path: &Path) -> Result<FjallDisk, DiskError> {
    // Memtables so small that there are tables on disk, too.
    let options = FjallOptions {
        cache_bytes: 1 << 20,
        worker_threads: 1,
        log_memtable_bytes: 4 << 10,
        hard_memtable_bytes: 4 << 10,
    };
    FjallDisk::lock(path, options)
}

fn open(path: &Path) -> Result<(Store, OpenReport), OpenError> {
    let disk: Box<dyn Disk> = Box::new(lock(path)?);
    Store::open(disk, options(0x5eed))
}

fn entries(before: Position, count: u64) -> Vec<Entry> {
    let mut last = before;
    let make = |at| {
        let payload = Bytes::from(vec![at as u8; 300]);
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(last, Term(2), 1_000, EntryKind::Command, payload, leaf);
        last = entry.position();
        entry
    };
    (0..count).map(make).collect()
}

const GROUP: &str = "orders";
const ENTRIES: u64 = 40;

fn founding() -> Membership {
    Membership::of_voters([(node("node0"), Member::default())].into_iter().collect(), 7)
}

fn hard() -> HardState {
    HardState { term: Term(2), voted_for: Some(node("node1")), recovering: false }
}

fn fill(path: &Path, from: u64, through: u64) {
    let (mut store, _) = open(path).expect("a directory opens");
    let group = store.open_group(GROUP, &founding()).expect("a group opens");
    let all = entries(Position::ORIGIN, through);
    for entry in &all[from as usize..] {
        let entries = vec![entry.clone()];
        let write = GroupWrite { group, hard_state: hard(), truncate_from: None, entries };
        store.write(vec![write]).expect("a write");
    }
    store.settle_anchor().expect("the anchor settles");
}

/// A directory with a settled log.
fn directory() -> (TempDir, PathBuf) {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("data");
    fill(&path, 0, ENTRIES);
    (owner, path)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.path().extension().is_some_and(|extension| extension == "jnl") {
            // Without the hole at its end.
            let bytes = fs::read(entry.path()).expect("a journal reads");
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            fs::write(&target, &bytes[..end]).expect("a file is written");
        } else {
            fs::copy(entry.path(), &target).expect("a file is copied");
        }
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("a directory lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// What came of a damaged directory.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Recovering,
    Correct,
}

fn outcome(path: &Path, what: &str) -> Outcome {
    let (mut store, report) = match open(path) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(
                error.to_string().len() > 20,
                "{what}: the error says what, where and what to do: {error}"
            );
            return Outcome::Refused;
        }
    };
    let known = report.groups.iter().find(|group| group.name == GROUP);
    let known = known.unwrap_or_else(|| panic!("{what}: the group is gone silently"));
    if known.recovering {
        assert!(!report.notices.is_empty(), "{what}: it is said");
        let group = store.open_group(GROUP, &founding()).expect("it is found in the anchor");
        let loaded = store.load(group, usize::MAX).expect("it loads");
        assert_eq!(
            (loaded.hard_state.term, loaded.hard_state.voted_for),
            (Term(2), Some(node("node1"))),
            "{what}"
        );
        return Outcome::Recovering;
    }
    let group = GroupId::of_name(GROUP);
    let loaded = store.load(group, usize::MAX).expect("it loads");
    assert_eq!(loaded.hard_state, hard(), "{what}");
    let read = store.read(group, Index(1), Index(ENTRIES), usize::MAX).expect("it reads");
    assert_eq!(read, entries(Position::ORIGIN, ENTRIES), "{what}: every acknowledged entry is there");
    Outcome::Correct
}

/// Applies `damage` to a fresh copy for each file and place.
fn each(damage: &dyn Fn(&Path, usize) -> bool, places: &[usize]) -> Vec<(String, Outcome)> {
    let (_owner, path) = directory();
    let mut outcomes = Vec::new();
    for file in files(&path) {
        let name = file.strip_prefix(&path).expect("inside").to_owned();
        // Journals and the anchor are ours to judge; of fjall's other files fewer places do.
        let ours = name.ends_with("anchor") || name.extension().is_some_and(|extension| extension == "jnl");
        for place in places.iter().step_by(if ours { 1 } else { 2 }) {
            let scratch = tempfile::tempdir().expect("a directory");
            let target = scratch.path().join("data");
            copy(&path, &target);
            if damage(&target.join(&name), *place) {
                let what = format!("{} at {place}", name.display());
                let outcome = outcome(&target, &what);
                outcomes.push((what, outcome));
            }
        }
    }
    outcomes
}

fn count(outcomes: &[(String, Outcome)], wanted: &Outcome) -> usize {
    outcomes.iter().filter(|(_, outcome)| outcome == wanted).count()
}

#[test]
fn rule_06_bug_70_a_flipped_byte_in_any_file() {
    let flip = |path: &Path, place: usize| {
        let mut bytes = fs::read(path).expect("a file reads");
        if bytes.is_empty() {
            return false;
        }
        // Each place is so many thousandths of the file.
        let at = (bytes.len() * place / 1_000).min(bytes.len() - 1);
        bytes[at] ^= 0x08;
        fs::write(path, bytes).expect("a file is written");
        true
    };
    let outcomes = each(&flip, &[300, 151, 998, 500]);
    assert!(count(&outcomes, &Outcome::Recovering) > 5, "{outcomes:?}");
    assert!(count(&outcomes, &Outcome::Correct) > 5, "{outcomes:?}");
}

#[test]
fn rule_06_bug_71_any_file_cut_short_or_deleted() {
    let cut = |path: &Path, place: usize| {
        let length = fs::metadata(path).expect("a file").len();
        if place == 1_000 {
            fs::remove_file(path).expect("a file is deleted");
            return true;
        }
        let file = fs::File::options().write(true).open(path).expect("a file opens");
        file.set_len(length * place as u64 / 1_000).expect("a file is cut");
        length > 0
    };
    let outcomes = each(&cut, &[1_000, 0, 500, 999]);
    assert!(count(&outcomes, &Outcome::Recovering) > 3, "{outcomes:?}");
    assert!(count(&outcomes, &Outcome::Refused) > 1, "{outcomes:?}");
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

//! A data directory on real files with known entries, copies of it, and the outcome of opening it.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_core::{
    Entry, EntryKind, GroupId, HardRecord, HardState, Hash, Index, Member, Membership, NodeId, Position, Term,
};
use tempfile::TempDir;

use crate::disk::journal_written;
use crate::{
    Disk, DiskError, FjallDisk, FjallOptions, GroupWrite, OpenError, OpenReport, Store, StoreOptions,
};

pub(crate) const GROUP: &str = "orders";
pub(crate) const OTHER: &str = "stock";
pub(crate) const ENTRIES: u64 = 40;

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

/// Memtables so small that there are tables on disk, too.
const MEMTABLE_BYTES: u64 = 4 << 10;

pub(crate) fn lock(path: &Path) -> Result<FjallDisk, DiskError> {
    lock_with(path, MEMTABLE_BYTES)
}

fn lock_with(path: &Path, memtable_bytes: u64) -> Result<FjallDisk, DiskError> {
    let options = FjallOptions {
        cache_bytes: 1 << 20,
        worker_threads: 1,
        log_memtable_bytes: memtable_bytes,
        hard_memtable_bytes: memtable_bytes,
        ..FjallOptions::default()
    };
    FjallDisk::lock(path, options)
}

pub(crate) fn open(path: &Path) -> Result<(Store, OpenReport), OpenError> {
    open_with(path, MEMTABLE_BYTES)
}

pub(crate) fn open_with(path: &Path, memtable_bytes: u64) -> Result<(Store, OpenReport), OpenError> {
    let disk: Box<dyn Disk> = Box::new(lock_with(path, memtable_bytes)?);
    let mut options = StoreOptions::new(node("node0"), Some(Hash::of(b"cluster")), 0x5eed);
    options.ballast_bytes = 16;
    options.reserve_bytes_min = Some(1 << 10);
    Store::open(disk, options)
}

pub(crate) fn entries(before: Position, count: u64) -> Vec<Entry> {
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

pub(crate) fn founding() -> Membership {
    of_voters(&["node0", "node1", "node2"])
}

pub(crate) fn of_voters(names: &[&str]) -> Membership {
    Membership::of_voters(names.iter().map(|name| (node(name), Member::default())).collect(), 7)
}

/// The hard state written with the entry at `index`: an older copy of any file has an older term and another vote.
fn hard_at(index: u64) -> HardRecord {
    let (term, voted_for) = if index > ENTRIES / 2 { (3, "node2") } else { (2, "node1") };
    HardState { term: Term(term), voted_for: Some(node(voted_for)), recovering: false }.into()
}

/// The hard state at the end.
fn hard() -> HardRecord {
    hard_at(ENTRIES)
}

/// Writes the entries from `from` on, one batch each, to both groups in turn; does not settle.
pub(crate) fn write(store: &mut Store, from: u64, through: u64) {
    let all = entries(Position::ORIGIN, through);
    let groups = [GROUP, OTHER].map(|name| store.open_group(name, &founding()).expect("a group opens"));
    for entry in &all[from as usize..] {
        for group in groups {
            let entries = vec![entry.clone()];
            let write = GroupWrite {
                group,
                hard_state: hard_at(entry.index.0),
                truncate_from: None,
                entries: entries.into(),
            };
            store.write(vec![write]).expect("a write");
        }
    }
}

/// Writes and settles.
pub(crate) fn fill(path: &Path, from: u64, through: u64) {
    let (mut store, _) = open(path).expect("a directory opens");
    write(&mut store, from, through);
    store.settle_anchor().expect("the anchor settles");
}

/// A directory with a settled log.
pub(crate) fn directory() -> (TempDir, PathBuf) {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("data");
    fill(&path, 0, ENTRIES);
    (owner, path)
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.path().extension().is_some_and(|extension| extension == "jnl") {
            // The hole at its end is not copied.
            let bytes = fs::read(entry.path()).expect("a journal reads");
            let end = journal_written(&bytes);
            fs::write(&target, &bytes[..end]).expect("a file is written");
        } else if entry.path().parent().is_some_and(|parent| parent.ends_with("tables")) {
            // fjall never writes to a table again, and a test that damages one makes a new file.
            fs::hard_link(entry.path(), &target).expect("a file is linked");
        } else {
            fs::copy(entry.path(), &target).expect("a file is copied");
        }
    }
}

/// Splits the only journal into a sealed and an active one. fjall begins another after 64 MB, and deletes the sealed one when
/// it can: with so few entries a directory never rests with two.
pub(crate) fn seal(data: &Path) {
    let bytes = fs::read(data.join("db/0.jnl")).expect("a journal reads");
    let ends: Vec<usize> = (4..=bytes.len()).filter(|end| bytes[end - 4..*end] == *b"FJL\x03").collect();
    let (sealed, active) = bytes.split_at(ends[ends.len() / 2]);
    fs::write(data.join("db/0.jnl"), sealed).expect("written");
    fs::write(data.join("db/1.jnl"), active).expect("written");
}

/// Every file below a directory.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("a directory lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The outcome of opening a damaged directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// A typed error that says where and what to do.
    Refused,
    /// Possible loss is reported, and the node does not vote before it has caught up from its peers.
    Recovering,
    /// Everything acknowledged is there, and the repair is reported.
    Mended,
    /// Everything acknowledged is there.
    Correct,
}

/// Opens it. Anything but these outcomes is an error.
pub(crate) fn outcome(path: &Path) -> Result<Outcome, String> {
    let (mut store, report) = match open(path) {
        Ok(opened) => opened,
        Err(error) => return refused(path, &error),
    };
    let mut outcomes = Vec::new();
    for name in [GROUP, OTHER] {
        let known = report.groups.iter().find(|group| group.name == name);
        let known = known.ok_or_else(|| format!("group {name} is gone silently"))?;
        let recovering = known.recovering;
        if recovering && report.notices.is_empty() {
            return Err("it recovers and does not say so".to_owned());
        }
        let group = store.open_group(name, &founding()).map_err(|error| format!("{name}: {error}"))?;
        let loaded =
            store.load(group, usize::MAX).map_err(|error| format!("{name} does not load: {error}"))?;
        if loaded.hard_state != (if recovering { hard().marked_recovering() } else { hard() }) {
            return Err(format!("the hard state of {name} is {:?}", loaded.hard_state));
        }
        check_entries(&store, group, recovering).map_err(|error| format!("{name}: {error}"))?;
        outcomes.push(match (recovering, report.notices.is_empty()) {
            (true, _) => Outcome::Recovering,
            (false, true) => Outcome::Correct,
            (false, false) => Outcome::Mended,
        });
    }
    if outcomes[0] != outcomes[1] {
        return Err("one group recovers and the other does not".to_owned());
    }
    Ok(outcomes[0])
}

fn refused(path: &Path, error: &OpenError) -> Result<Outcome, String> {
    let text = error.to_string();
    if !text.contains(&path.display().to_string()) {
        return Err(format!("refused, and it does not say where: {text}"));
    }
    let remedies = ["restore", "put ", "member replace", "start the newer", "start the node again"];
    if !remedies.iter().any(|remedy| text.contains(remedy)) {
        return Err(format!("refused, and it does not say what to do: {text}"));
    }
    Ok(Outcome::Refused)
}

/// All entries are there; a group that recovers has a prefix of them.
fn check_entries(store: &Store, group: GroupId, recovering: bool) -> Result<(), String> {
    let all = entries(Position::ORIGIN, ENTRIES);
    let last = store.load(group, 0).map_err(|error| error.to_string())?.tail.last().index;
    if last < Index(ENTRIES) && !recovering {
        return Err(format!("it ends at {last} and does not recover: a silent loss"));
    }
    if last == Index::ZERO {
        return Ok(());
    }
    let read = store.read(group, Index(1), last, usize::MAX).map_err(|error| error.to_string())?;
    if read[..] != all[..read.len()] || read.len() as u64 != last.0 {
        return Err("it has other entries than were written".to_owned());
    }
    Ok(())
}

/// Continues to work in a directory that opens: what is written now is there at the next start, and the state is the same.
pub(crate) fn goes_on(path: &Path, before: Outcome) -> Result<(), String> {
    let (mut store, _) = open(path).map_err(|error| format!("it does not open again: {error}"))?;
    let group = store.open_group(GROUP, &founding()).map_err(|error| error.to_string())?;
    let loaded = store.load(group, 0).map_err(|error| error.to_string())?;
    let (last, hard_state) = (loaded.tail.last(), loaded.hard_state);
    let new = entries(last, 1);
    let write = GroupWrite {
        group,
        hard_state: hard_state.clone(),
        truncate_from: None,
        entries: new.clone().into(),
    };
    store.write(vec![write]).map_err(|error| format!("it does not write: {error}"))?;
    store.settle_anchor().map_err(|error| format!("it does not settle: {error}"))?;
    drop(store);
    let (store, report) = open(path).map_err(|error| format!("it does not open a third time: {error}"))?;
    let found =
        store.read(group, last.index.next(), last.index.next(), 1).map_err(|error| error.to_string())?;
    let recovering = report.groups.iter().all(|group| group.recovering);
    if found != new || recovering != (before == Outcome::Recovering) || !report.notices.is_empty() {
        return Err(format!("it went on otherwise than it began: {:?}", report.notices));
    }
    Ok(())
}

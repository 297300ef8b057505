//! Short words for the cases: a store that is opened, written and opened again.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate::store::{GroupWrite, Keyspace, LoadedGroup, Offline, OpenReport, Store, StoreOptions};
use quorate_core::{
    Entry, EntryKind, GroupId, HardRecord, HardState, Hash, Index, Member, Membership, NodeId, Position, Term,
};

use super::storage::Storage;

/// A store on a storage.
pub struct Script<'a> {
    storage: &'a mut dyn Storage,
    options: StoreOptions,
    /// The open store.
    pub store: Store,
    /// What its last opening found.
    pub report: OpenReport,
}

impl std::fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Small runs, no ballast, no reserve to speak of.
pub fn options() -> StoreOptions {
    let node = NodeId::new("node0").expect("a legal name");
    let mut options = StoreOptions::new(node, Some(Hash::of(b"cluster")), 0x5eed);
    options.ballast_bytes = 0;
    options.reserve_bytes_min = Some(1 << 10);
    options.run_bytes_max = 1 << 10;
    options
}

/// Voters with these names.
pub fn founding(names: &[&str]) -> Membership {
    let member = |name: &&str| {
        let raft = format!("{name}:7000");
        (NodeId::new(name).expect("a legal name"), Member { raft, ..Member::default() })
    };
    Membership::of_voters(names.iter().map(member).collect(), 7)
}

/// A term and perhaps a vote.
pub fn hard(term: u64, vote: Option<&str>) -> HardRecord {
    let voted_for = vote.map(|name| NodeId::new(name).expect("a legal name"));
    HardState { term: Term(term), voted_for, recovering: false }.into()
}

/// `count` entries after `before`, of `bytes` each.
pub fn entries(before: Position, term: u64, count: u64, bytes: usize) -> Vec<Entry> {
    let mut last = before;
    let make = |_| {
        let payload: Vec<u8> = (0..bytes).map(|at| (at as u64 ^ last.index.0 ^ term) as u8).collect();
        let leaf = Hash::of(&payload);
        let time_ms = 1_000 + last.index.0;
        let entry = Entry::follow(last, Term(term), time_ms, EntryKind::Command, Bytes::from(payload), leaf);
        last = entry.position();
        entry
    };
    (0..count).map(make).collect()
}

impl<'a> Script<'a> {
    /// Opens the store.
    pub fn open(storage: &'a mut dyn Storage) -> Self {
        Self::open_with(storage, options())
    }

    /// Opens the store with other options.
    pub fn open_with(storage: &'a mut dyn Storage, options: StoreOptions) -> Self {
        let opened = Store::open(storage.disk(), options.clone());
        let (store, report) = opened.expect("a storage opens");
        Self { storage, options, store, report }
    }

    /// Drops the store and opens it again.
    #[must_use]
    pub fn reopen(self) -> Self {
        let Self { storage, options, store, .. } = self;
        drop(store);
        Self::open_with(storage, options)
    }

    /// Drops the store, walks every log that is on its disk and looks for rows that belong to none, and opens it again.
    #[must_use]
    pub fn verified(self) -> Self {
        let Self { storage, options, store, .. } = self;
        drop(store);
        let offline = Offline::open(storage.disk()).expect("a storage opens").expect("a store was made here");
        let report = offline.verify();
        let of_groups = report.groups.iter().flat_map(|group| &group.damage);
        let damage: Vec<&String> = report.damage.iter().chain(of_groups).collect();
        assert!(damage.is_empty(), "{damage:?}");
        drop(offline);
        Self::open_with(storage, options)
    }

    /// Drops the store, counts the rows of its log, and opens it again.
    pub fn rows(self) -> (Self, usize) {
        let Self { storage, options, store, .. } = self;
        drop(store);
        let mut disk = storage.disk();
        disk.open_database().expect("a database opens");
        let mut rows = 0;
        let scanned = disk.scan(Keyspace::Log, &[], &mut |_, _| {
            rows += 1;
            ControlFlow::Continue(())
        });
        scanned.expect("a log is scanned");
        drop(disk);
        (Self::open_with(storage, options), rows)
    }

    /// Opens a group of three.
    pub fn group(&mut self, name: &str) -> GroupId {
        self.store.open_group(name, &founding(&["node0", "node1", "node2"])).expect("a legal group opens")
    }

    /// Everything of a group.
    pub fn load(&self, group: GroupId) -> LoadedGroup {
        self.store.load(group, usize::MAX).expect("an open group loads")
    }

    /// The entries of a group.
    pub fn log(&self, group: GroupId) -> Vec<Entry> {
        let loaded = self.load(group);
        let (from, through) = (loaded.start.index.next(), loaded.tail.last().index);
        if from > through {
            return Vec::new();
        }
        let log = loaded.tail.slice(from, through, usize::MAX, usize::MAX).expect("all was loaded");
        let read = self.store.read(group, from, through, usize::MAX).expect("what was loaded is read");
        assert_eq!(log, read, "load and read agree");
        log
    }

    /// Appends `count` entries of a term to a group and answers them.
    pub fn append(&mut self, group: GroupId, term: u64, count: u64, bytes: usize) -> Vec<Entry> {
        let last = self.load(group).tail.last();
        let entries = entries(last, term, count, bytes);
        self.write(group, term, None, entries.clone());
        entries
    }

    /// Replaces everything from an index on.
    pub fn replace(&mut self, group: GroupId, term: u64, from: u64, count: u64, bytes: usize) -> Vec<Entry> {
        let before = self.store.locate(group, Index(from - 1)).expect("the place before a truncation");
        let entries = entries(before, term, count, bytes);
        self.write(group, term, Some(from), entries.clone());
        entries
    }

    /// One write.
    pub fn write(&mut self, group: GroupId, term: u64, truncate_from: Option<u64>, entries: Vec<Entry>) {
        let hard_state = hard(term, None);
        let truncate_from = truncate_from.map(Index);
        let write = GroupWrite { group, hard_state, truncate_from, entries: entries.into() };
        self.store.write(vec![write]).expect("a legal write is written");
    }
}

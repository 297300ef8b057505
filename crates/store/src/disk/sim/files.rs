//! The snapshot files of a simulated disk: bytes and names in the page cache, and what a crash leaves of them.

use std::collections::{BTreeMap, BTreeSet};

use super::fate::{Crash, Fate, Reached};

/// A file, whatever it is called.
type FileId = u64;

/// A change of a file's bytes.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                to.resize(to.len().max(at + bytes.len()), 0);
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Truncate { length } => to.truncate(*length),
        }
    }

    /// What is there of it after a crash.
    fn after(mut self, fate: Fate) -> Option<Self> {
        match fate {
            Fate::Lost => None,
            Fate::Kept => Some(self),
            Fate::Torn => {
                if let Self::Write { bytes, .. } = &mut self {
                    bytes.truncate(bytes.len() / 2);
                }
                Some(self)
            }
        }
    }
}

/// A change of the directory.
#[derive(Debug, Clone)]
enum Naming {
    Made { name: String, file: FileId },
    Renamed { from: String, to: String, file: FileId },
    Removed { name: String },
}

impl Naming {
    fn apply(&self, to: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Made { name, file } => drop(to.insert(name.clone(), *file)),
            Self::Renamed { from, to: name, file } => {
                to.remove(from);
                to.insert(name.clone(), *file);
            }
            Self::Removed { name } => drop(to.remove(name)),
        }
    }

    /// What is there of it after a crash.
    fn after(self, fate: Fate) -> Option<Self> {
        match (fate, self) {
            (Fate::Lost, _) | (Fate::Torn, Self::Removed { .. }) => None,
            (Fate::Torn, Self::Renamed { to, file, .. }) => Some(Self::Made { name: to, file }),
            (Fate::Kept | Fate::Torn, kept) => Some(kept),
        }
    }
}

/// The bytes of one file.
#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// What `cached` has and `durable` has not.
    pending: Vec<(Change, Reached)>,
}

/// The directory of snapshot files.
#[derive(Debug, Clone, Default)]
pub(super) struct SimFiles {
    durable: BTreeMap<String, FileId>,
    cached: BTreeMap<String, FileId>,
    /// What `cached` has and `durable` has not. A failed sync leaves it to be synced later: no file system takes the names of a
    /// directory for written when they are not, and goes on.
    pending: Vec<Naming>,
    contents: BTreeMap<FileId, Content>,
    next: FileId,
}

impl SimFiles {
    pub(super) fn names(&self) -> Vec<String> {
        self.cached.keys().cloned().collect()
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.cached.contains_key(name)
    }

    /// Bytes of all files. One that was removed is freed when a crash cannot bring it back.
    pub(super) fn bytes(&self) -> u64 {
        self.contents.values().map(|content| content.cached.len() as u64).sum()
    }

    pub(super) fn read(&self, name: &str) -> Option<&[u8]> {
        let content = self.contents.get(self.cached.get(name)?)?;
        Some(&content.cached)
    }

    /// Makes a file, if it is not there.
    pub(super) fn make(&mut self, name: &str) {
        if self.exists(name) {
            return;
        }
        let file = self.next;
        self.next += 1;
        self.contents.insert(file, Content::default());
        self.name(Naming::Made { name: name.to_owned(), file });
    }

    pub(super) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) {
        self.change(name, Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self, name: &str, length: usize) {
        self.change(name, Change::Truncate { length });
    }

    /// Takes note of a sync of a file's bytes, which succeeded or failed.
    pub(super) fn synced(&mut self, name: &str, ok: bool) {
        let Some(content) = self.content(name) else { return };
        for (change, mut reached) in std::mem::take(&mut content.pending) {
            reached.synced(ok);
            if reached == Reached::Disk {
                change.apply(&mut content.durable);
            } else {
                content.pending.push((change, reached));
            }
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(file) = self.cached.get(from).copied() {
            self.name(Naming::Renamed { from: from.to_owned(), to: to.to_owned(), file });
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.name(Naming::Removed { name: name.to_owned() });
    }

    /// The names are on the disk.
    pub(super) fn names_synced(&mut self) {
        self.durable = self.cached.clone();
        self.pending.clear();
        self.forget_unnamed();
    }

    /// Number of changes that a crash could lose.
    pub(super) fn unsynced(&self) -> usize {
        self.pending.len() + self.contents.values().map(|content| content.pending.len()).sum::<usize>()
    }

    /// The machine stops; `write` is the number of the first change among all writes.
    pub(super) fn crashed(&mut self, crash: Crash, mut write: usize) {
        let mut fate = || {
            write += 1;
            crash.fate(write - 1)
        };
        for content in self.contents.values_mut() {
            for (change, _) in std::mem::take(&mut content.pending) {
                if let Some(change) = change.after(fate()) {
                    change.apply(&mut content.durable);
                }
            }
            content.cached = content.durable.clone();
        }
        for naming in std::mem::take(&mut self.pending) {
            if let Some(naming) = naming.after(fate()) {
                naming.apply(&mut self.durable);
            }
        }
        self.cached = self.durable.clone();
        self.forget_unnamed();
    }

    fn content(&mut self, name: &str) -> Option<&mut Content> {
        self.contents.get_mut(self.cached.get(name)?)
    }

    fn change(&mut self, name: &str, change: Change) {
        let Some(content) = self.content(name) else { return };
        change.apply(&mut content.cached);
        content.pending.push((change, Reached::Dirty));
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.cached);
        self.pending.push(naming);
    }

    fn forget_unnamed(&mut self) {
        let named: BTreeSet<FileId> = self.durable.values().chain(self.cached.values()).copied().collect();
        self.contents.retain(|file, _| named.contains(file));
    }
}

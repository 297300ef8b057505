//! The content of a simulated disk, and what a crash leaves of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fate::{Crash, Fate, Reached};
use super::files::SimFiles;
use crate::disk::{Batch, Keyspace, SECTOR_BYTES, Sector};

pub(super) type Rows = BTreeMap<(Keyspace, Vec<u8>), Bytes>;

/// Batches in the journal at which the older half is folded into the base.
const JOURNAL_MAX: usize = 1_024;

/// One batch in the journal.
#[derive(Debug, Clone)]
pub(super) struct Journaled {
    pub(super) batch: Batch,
    pub(super) reached: Reached,
    /// Its bytes were damaged, and opening detects it, as the preflight detects damage in the middle of a journal.
    pub(super) rotten: bool,
}

/// The database: when opened, the journal is replayed over `base`.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) base: Rows,
    pub(super) journal: Vec<Journaled>,
    /// Bytes of an unfinished last write.
    pub(super) torn: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SectorState {
    pub(super) durable: Option<Box<Sector>>,
    /// Bytes in the page cache, if they are not on the disk.
    pub(super) cached: Option<(Box<Sector>, Reached)>,
}

impl SectorState {
    /// Takes note of a sync, which succeeded or failed.
    pub(super) fn synced(&mut self, ok: bool) {
        let Some((bytes, mut reached)) = self.cached.take() else { return };
        reached.synced(ok);
        if reached == Reached::Disk {
            self.durable = Some(bytes);
        } else {
            self.cached = Some((bytes, reached));
        }
    }

    /// The machine stops, and an unsynced write has this fate.
    fn crashed(&mut self, fate: Fate) {
        let Some((cached, _)) = self.cached.take() else { return };
        match fate {
            Fate::Lost => {}
            Fate::Kept => self.durable = Some(cached),
            Fate::Torn => {
                let old = self.durable.get_or_insert_with(|| Box::new([0; SECTOR_BYTES]));
                old[..SECTOR_BYTES / 2].copy_from_slice(&cached[..SECTOR_BYTES / 2]);
            }
        }
    }
}

/// The content of a simulated disk.
#[derive(Debug, Clone, Default)]
pub struct SimImage {
    pub(super) anchor: Option<BTreeMap<u64, SectorState>>,
    pub(super) database: Option<Database>,
    pub(super) aside: u32,
    pub(super) ballast: u64,
    pub(super) snapshots: SimFiles,
}

/// Applies a batch; returns the bytes of rows added and removed.
pub(super) fn apply(rows: &mut Rows, batch: &Batch) -> (u64, u64) {
    let (mut added, mut removed) = (0, 0);
    for (keyspace, key, value) in batch.rows() {
        let old = match value {
            Some(value) => {
                added += (key.len() + value.len()) as u64;
                rows.insert((keyspace, key.to_vec()), value.clone())
            }
            None => rows.remove(&(keyspace, key.to_vec())),
        };
        removed += old.map_or(0, |old| (key.len() + old.len()) as u64);
    }
    (added, removed)
}

impl SimImage {
    /// Number of writes that a crash could lose.
    pub(super) fn unsynced(&self) -> usize {
        let sectors = self.anchor.iter().flat_map(BTreeMap::values).filter(|sector| sector.cached.is_some());
        let batches = self.database.iter().filter(|database| database.unsynced().next().is_some());
        sectors.count() + batches.count() + self.snapshots.unsynced()
    }

    /// Changes the image to what is found after a crash.
    pub(super) fn crash(&mut self, crash: Crash) {
        if crash == Crash::Process {
            return;
        }
        let mut write = 0;
        for sector in self.anchor.iter_mut().flat_map(BTreeMap::values_mut) {
            let counts = usize::from(sector.cached.is_some());
            sector.crashed(crash.fate(write));
            write += counts;
        }
        if let Some(database) = &mut self.database {
            let counts = usize::from(database.unsynced().next().is_some());
            database.crashed(crash.fate(write));
            write += counts;
        }
        self.snapshots.crashed(crash, write);
    }
}

impl Database {
    pub(super) fn unsynced(&self) -> impl Iterator<Item = &Journaled> {
        self.journal.iter().filter(|entry| entry.reached != Reached::Disk)
    }

    pub(super) fn synced(&mut self, ok: bool) {
        self.journal.iter_mut().for_each(|entry| entry.reached.synced(ok));
    }

    fn crashed(&mut self, fate: Fate) {
        let bytes: usize = self.unsynced().map(|entry| entry.batch.bytes()).sum();
        match fate {
            Fate::Kept => self.journal.iter_mut().for_each(|entry| entry.reached = Reached::Disk),
            Fate::Lost | Fate::Torn => self.journal.retain(|entry| entry.reached == Reached::Disk),
        }
        if fate == Fate::Torn && bytes > 0 {
            self.torn = Some(bytes as u64);
        }
    }

    pub(super) fn fold(&mut self) {
        if self.journal.len() > JOURNAL_MAX {
            for old in self.journal.drain(..JOURNAL_MAX / 2) {
                apply(&mut self.base, &old.batch);
            }
        }
    }
}

//! What is on a simulated disk, and what a crash leaves of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::disk::{Batch, Keyspace, SECTOR_BYTES, Sector};

pub(super) type Rows = BTreeMap<(Keyspace, Vec<u8>), Bytes>;

/// Batches the journal holds before half of them are folded into the base.
const JOURNAL_MAX: usize = 1_024;

/// What happens to writes that were not synced when the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// They are lost.
    Lost,
    /// They are there.
    Kept,
    /// Sectors are half old, half new; a batch is a torn tail.
    Torn,
    /// Each for itself, two bits a write from the lowest on, sectors in their order and then the batch: 0 lost, 1 kept,
    /// 2 torn.
    Mixed(u64),
    /// Nothing: only the process ends. What it wrote is in the page cache for whoever reads next, synced or not, and the
    /// machine may still stop before it is.
    Process,
}

/// How far a write has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The page cache; a sync takes it to the disk.
    Dirty,
    /// The page cache, and the system takes it for written: a sync of it failed, and none that follows writes it.
    Clean,
    /// The disk.
    Disk,
}

impl Reached {
    /// After a sync that went well, or did not.
    pub(super) fn synced(&mut self, ok: bool) {
        if *self == Self::Dirty {
            *self = if ok { Self::Disk } else { Self::Clean };
        }
    }
}

/// One batch in the journal.
#[derive(Debug, Clone)]
pub(super) struct Journaled {
    pub(super) batch: Batch,
    pub(super) reached: Reached,
    /// Its bytes are not those that were written, and the engine sees it: fjall's "damaged in the middle".
    pub(super) rotten: bool,
}

/// The database: a journal that is replayed over what was folded into `base` when it is opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) base: Rows,
    pub(super) journal: Vec<Journaled>,
    /// The last write was unfinished: bytes of it.
    pub(super) torn: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SectorState {
    pub(super) durable: Option<Box<Sector>>,
    /// What the page cache has, if it is not what the disk has.
    pub(super) cached: Option<(Box<Sector>, Reached)>,
}

impl SectorState {
    /// After a sync that went well, or did not.
    pub(super) fn synced(&mut self, ok: bool) {
        let Some((bytes, mut reached)) = self.cached.take() else { return };
        reached.synced(ok);
        if reached == Reached::Disk {
            self.durable = Some(bytes);
        } else {
            self.cached = Some((bytes, reached));
        }
    }

    /// What is on the disk if the machine stops now and this becomes of an unsynced write.
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

/// What a crash makes of one unsynced write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    Torn,
}

impl Crash {
    fn fate(self, write: usize) -> Fate {
        match self {
            Self::Lost => Fate::Lost,
            Self::Kept | Self::Process => Fate::Kept,
            Self::Torn => Fate::Torn,
            Self::Mixed(bits) => match u32::try_from(2 * write).ok().and_then(|at| bits.checked_shr(at)) {
                Some(bits) if bits & 3 == 2 => Fate::Torn,
                Some(bits) if bits & 3 != 0 => Fate::Kept,
                _ => Fate::Lost,
            },
        }
    }
}

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub struct SimImage {
    pub(super) anchor: Option<BTreeMap<u64, SectorState>>,
    pub(super) database: Option<Database>,
    pub(super) aside: u32,
    pub(super) ballast: u64,
}

/// Applies a batch and says how many bytes of rows came and went.
pub(super) fn apply(rows: &mut Rows, batch: &Batch) -> (u64, u64) {
    let (mut came, mut went) = (0, 0);
    for (keyspace, key, value) in batch.rows() {
        let old = match value {
            Some(value) => {
                came += (key.len() + value.len()) as u64;
                rows.insert((keyspace, key.to_vec()), value.clone())
            }
            None => rows.remove(&(keyspace, key.to_vec())),
        };
        went += old.map_or(0, |old| (key.len() + old.len()) as u64);
    }
    (came, went)
}

impl SimImage {
    /// Writes that a crash could lose.
    pub(super) fn unsynced(&self) -> usize {
        let sectors = self.anchor.iter().flat_map(BTreeMap::values).filter(|sector| sector.cached.is_some());
        let batches = self.database.iter().filter(|database| database.unsynced().next().is_some());
        sectors.count() + batches.count()
    }

    /// What is found after a crash.
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
            database.crashed(crash.fate(write));
        }
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

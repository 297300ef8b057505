//! What time and bad luck do to a disk that is switched off: applied to an image before it is opened again.

use bytes::Bytes;

use super::disk::{Keyspace, SECTOR_BYTES, Sector};
use super::sim_image::SimImage;

/// Damage to a disk at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rot {
    /// A byte of a sector of the anchor is flipped.
    Sector {
        /// Which.
        sector: u64,
        /// Which byte of it.
        byte: usize,
    },
    /// A sector reads as zeros.
    BlankSector {
        /// Which.
        sector: u64,
    },
    /// The anchor is gone.
    NoAnchor,
    /// The database is gone.
    NoDatabase,
    /// A batch in the middle of the journal is damaged, and the engine sees it.
    Batch {
        /// Counted from the oldest the journal has.
        batch: usize,
    },
    /// This batch and all after it are gone without a trace, as fjall does to a journal with one flipped tag.
    Suffix {
        /// The first that is gone.
        batch: usize,
    },
    /// A batch is gone without a trace, those after it are there: a hole.
    Hole {
        /// Which.
        batch: usize,
    },
    /// A byte of a value of this batch is flipped, and the engine does not see it.
    Value {
        /// Which batch.
        batch: usize,
        /// Which byte of the batch's first value in that keyspace; counted round.
        byte: usize,
        /// Of which keyspace.
        keyspace: Keyspace,
    },
}

impl SimImage {
    /// Batches the journal has.
    pub fn batches(&self) -> usize {
        self.database.as_ref().map_or(0, |database| database.journal.len())
    }

    /// Sectors the anchor has, in order.
    pub fn sectors(&self) -> Vec<u64> {
        self.anchor.iter().flatten().map(|(sector, _)| *sector).collect()
    }

    /// The bytes of a sector, if it was ever written.
    pub fn sector(&self, sector: u64) -> Option<&Sector> {
        self.anchor.as_ref()?.get(&sector)?.durable.as_deref()
    }

    /// This database beside the anchor of another image: copies of files that were mixed up.
    #[must_use]
    pub fn with_anchor_of(mut self, other: &Self) -> Self {
        self.anchor.clone_from(&other.anchor);
        self
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.anchor.is_none() && self.database.is_none()
    }

    /// The image after this damage; nothing happens if there is nothing to damage.
    #[must_use]
    pub fn rot(mut self, rot: &Rot) -> Self {
        match rot {
            Rot::Sector { sector, byte } => self.with_sector(*sector, |bytes| {
                bytes[byte % SECTOR_BYTES] ^= 0x20;
            }),
            Rot::BlankSector { sector } => self.with_sector(*sector, |bytes| bytes.fill(0)),
            Rot::NoAnchor => self.anchor = None,
            Rot::NoDatabase => self.database = None,
            Rot::Batch { batch } => self.with_journal(*batch, |journal, at| journal[at].rotten = true),
            Rot::Suffix { batch } => self.with_journal(*batch, Vec::truncate),
            Rot::Hole { batch } => self.with_journal(*batch, |journal, at| drop(journal.remove(at))),
            Rot::Value { batch, byte, keyspace } => {
                self.with_journal(*batch, |journal, at| flip(&mut journal[at].batch, *byte, *keyspace));
            }
        }
        self
    }

    fn with_sector(&mut self, sector: u64, damage: impl FnOnce(&mut Sector)) {
        let state = self.anchor.as_mut().and_then(|anchor| anchor.get_mut(&sector));
        if let Some(bytes) = state.and_then(|state| state.durable.as_mut()) {
            damage(bytes);
        }
    }

    fn with_journal(
        &mut self,
        batch: usize,
        damage: impl FnOnce(&mut Vec<super::sim_image::Journaled>, usize),
    ) {
        if let Some(database) = self.database.as_mut().filter(|database| batch < database.journal.len()) {
            damage(&mut database.journal, batch);
        }
    }
}

fn flip(batch: &mut super::disk::Batch, byte: usize, keyspace: Keyspace) {
    let found = batch.rows().find_map(|(of, key, value)| {
        let value = value.filter(|value| of == keyspace && !value.is_empty())?;
        Some((key.to_vec(), value.to_vec()))
    });
    if let Some((key, mut value)) = found {
        let at = byte % value.len();
        value[at] ^= 0x04;
        batch.put(keyspace, key, Bytes::from(value));
    }
}

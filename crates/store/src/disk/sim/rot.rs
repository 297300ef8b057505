//! Damage to a disk at rest: applied to an image before it is opened again.

use bytes::Bytes;

use super::image::{Journaled, SimImage};
use crate::disk::{Batch, Keyspace, SECTOR_BYTES, Sector};

/// Damage to a disk at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rot {
    /// A bit of a byte of an anchor sector is flipped.
    Sector {
        /// The sector's number.
        sector: u64,
        /// The byte's place in it, modulo the sector's length.
        byte: usize,
    },
    /// A sector reads as zeros.
    BlankSector {
        /// The sector's number.
        sector: u64,
    },
    /// The anchor is missing.
    NoAnchor,
    /// The database is missing.
    NoDatabase,
    /// A batch of the journal is damaged, and opening detects it.
    Batch {
        /// Its place in the journal, from 0, the oldest.
        batch: usize,
    },
    /// This batch and all after it are missing without a trace, as fjall leaves a journal with one flipped tag.
    Suffix {
        /// The first missing one, from 0, the oldest.
        batch: usize,
    },
    /// A batch is missing without a trace, later ones are there: a hole.
    Hole {
        /// Its place in the journal, from 0, the oldest.
        batch: usize,
    },
    /// A bit of a value in this batch is flipped, and opening does not detect it.
    Value {
        /// Its place in the journal, from 0, the oldest.
        batch: usize,
        /// The byte's place in the batch's first value of that keyspace, modulo the value's length.
        byte: usize,
        /// The value's keyspace.
        keyspace: Keyspace,
    },
}

impl SimImage {
    /// Number of batches in the journal.
    pub fn batches(&self) -> usize {
        self.database.as_ref().map_or(0, |database| database.journal.len())
    }

    /// Numbers of the anchor's sectors, ascending.
    pub fn sectors(&self) -> Vec<u64> {
        self.anchor.iter().flatten().map(|(sector, _)| *sector).collect()
    }

    /// The bytes of a sector on the disk, if it was ever written.
    pub fn sector(&self, sector: u64) -> Option<&Sector> {
        self.anchor.as_ref()?.get(&sector)?.durable.as_deref()
    }

    /// This database beside the anchor of another image, as when copies of files are mixed up.
    #[must_use]
    pub fn with_anchor_of(mut self, other: &Self) -> Self {
        self.anchor.clone_from(&other.anchor);
        self
    }

    /// Whether there is neither anchor nor database.
    pub fn is_empty(&self) -> bool {
        self.anchor.is_none() && self.database.is_none()
    }

    /// The image after this damage; unchanged if there is nothing to damage.
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

    fn with_journal(&mut self, batch: usize, damage: impl FnOnce(&mut Vec<Journaled>, usize)) {
        if let Some(database) = self.database.as_mut().filter(|database| batch < database.journal.len()) {
            damage(&mut database.journal, batch);
        }
    }
}

fn flip(batch: &mut Batch, byte: usize, keyspace: Keyspace) {
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

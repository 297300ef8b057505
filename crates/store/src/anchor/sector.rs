//! One sector of the anchor: a header, a payload, and a checksum over both (`docs/formats-store.md`).

use quorate_core::Incarnation;

use crate::disk::{SECTOR_BYTES, Sector};

/// The first bytes of every sector.
pub(super) const MAGIC: &[u8; 8] = b"QRANCHOR";
/// The version this build writes.
pub(super) const ANCHOR_VERSION: u8 = 1;
const HEADER: usize = 32;
const CHECKSUM: usize = 32;
/// The longest payload.
pub(super) const PAYLOAD_MAX: usize = SECTOR_BYTES - HEADER - CHECKSUM;

/// What a sector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectorKind {
    Identity,
    Table,
    Group,
}

impl SectorKind {
    fn byte(self) -> u8 {
        match self {
            Self::Identity => 1,
            Self::Table => 2,
            Self::Group => 3,
        }
    }
}

/// A sector as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SectorRead {
    /// Only zeros: never written.
    Blank,
    Good(Content),
    Bad(String),
    /// Whole, and written by a newer build in this version.
    Future(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) generation: u64,
    pub(super) incarnation: Incarnation,
    pub(super) payload: Vec<u8>,
}

/// Makes a sector of `cell`.
pub(super) fn encode(kind: SectorKind, cell: u64, content: &Content) -> Box<Sector> {
    let mut sector = Box::new([0; SECTOR_BYTES]);
    let length = u16::try_from(content.payload.len()).expect("a payload is capped below 4 KiB");
    assert!(content.payload.len() <= PAYLOAD_MAX, "records of the anchor fit in a sector");
    sector[..8].copy_from_slice(MAGIC);
    sector[8] = kind.byte();
    sector[9] = ANCHOR_VERSION;
    sector[10..12].copy_from_slice(&length.to_be_bytes());
    sector[12..16].copy_from_slice(&u32::try_from(cell).expect("cells are few").to_be_bytes());
    sector[16..24].copy_from_slice(&content.incarnation.0.to_be_bytes());
    sector[24..32].copy_from_slice(&content.generation.to_be_bytes());
    sector[HEADER..HEADER + content.payload.len()].copy_from_slice(&content.payload);
    let sum = blake3::hash(&sector[..SECTOR_BYTES - CHECKSUM]);
    sector[SECTOR_BYTES - CHECKSUM..].copy_from_slice(sum.as_bytes());
    sector
}

/// Reads a sector that should be one of `cell`.
pub(super) fn decode(kind: SectorKind, cell: u64, sector: &Sector) -> SectorRead {
    if sector.iter().all(|byte| *byte == 0) {
        return SectorRead::Blank;
    }
    let sum = blake3::hash(&sector[..SECTOR_BYTES - CHECKSUM]);
    if sum.as_bytes() != &sector[SECTOR_BYTES - CHECKSUM..] {
        return SectorRead::Bad("its checksum does not match: torn, or rotten".to_owned());
    }
    if &sector[..8] != MAGIC {
        return SectorRead::Bad("it is not a sector of an anchor".to_owned());
    }
    if sector[9] != ANCHOR_VERSION {
        return SectorRead::Future(sector[9]);
    }
    let found = u32::from_be_bytes(sector[12..16].try_into().expect("four bytes"));
    if sector[8] != kind.byte() || u64::from(found) != cell {
        return SectorRead::Bad(format!("it is of kind {} and cell {found}: misdirected", sector[8]));
    }
    let length = usize::from(u16::from_be_bytes(sector[10..12].try_into().expect("two bytes")));
    if length > PAYLOAD_MAX {
        return SectorRead::Bad(format!("it claims {length} bytes"));
    }
    let number = |at: usize| u64::from_be_bytes(sector[at..at + 8].try_into().expect("eight bytes"));
    SectorRead::Good(Content {
        generation: number(24),
        incarnation: Incarnation(number(16)),
        payload: sector[HEADER..HEADER + length].to_vec(),
    })
}

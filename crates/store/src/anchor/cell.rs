//! A cell of the anchor: two sectors written in turn, so that one is whole whatever happens to a write of the other.

use quorate_core::Incarnation;

use super::sector::{self, ANCHOR_VERSION, Content, SectorKind, SectorRead};
use crate::disk::{Disk, DiskError, Sector};

/// Where the newest of a cell's two sectors is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) number: u64,
    kind: SectorKind,
    generation: u64,
    /// 0 or 1; the next write goes to the other.
    newest: u64,
}

/// A sector that is damaged, or blank where one must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadSector {
    pub(crate) sector: u64,
    pub(crate) detail: String,
}

/// Both sectors of a cell as read.
pub(super) struct CellRead {
    pub(super) cell: Cell,
    /// The newest whole one first.
    pub(super) good: Vec<Content>,
    pub(super) bad: Vec<BadSector>,
    pub(super) blank: usize,
}

impl Cell {
    /// A cell that was never written.
    pub(super) fn new(kind: SectorKind, number: u64) -> Self {
        Self { number, kind, generation: 0, newest: 1 }
    }

    /// The sector of its next write, and its bytes.
    pub(super) fn next(&mut self, incarnation: Incarnation, payload: Vec<u8>) -> (u64, Box<Sector>) {
        self.generation += 1;
        self.newest = 1 - self.newest;
        let content = Content { generation: self.generation, incarnation, payload };
        (self.number * 2 + self.newest, sector::encode(self.kind, self.number, &content))
    }

    /// Writes to the sector that is not the newest; not yet synced.
    pub(super) fn write(
        &mut self,
        disk: &mut dyn Disk,
        incarnation: Incarnation,
        payload: Vec<u8>,
    ) -> Result<(), DiskError> {
        let (sector, bytes) = self.next(incarnation, payload);
        disk.write_sector(sector, &bytes)
    }

    /// Writes the newest sector again, the same bytes; not yet synced. Does nothing if no sector is whole.
    pub(super) fn write_again(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self.generation == 0 {
            return Ok(());
        }
        let at = self.number * 2 + self.newest;
        let bytes = disk.read_sector(at)?;
        match sector::decode(self.kind, self.number, &bytes) {
            SectorRead::Good(content) if content.generation == self.generation => {
                disk.write_sector(at, &bytes)
            }
            other => Err(DiskError::Damaged {
                place: format!("sector {at} of the anchor of {}", disk.place()),
                detail: format!("it was whole when it was read first, and now: {other:?}"),
            }),
        }
    }

    /// Reads both sectors.
    pub(super) fn read(kind: SectorKind, number: u64, disk: &dyn Disk) -> Result<CellRead, DiskError> {
        let mut read =
            CellRead { cell: Self::new(kind, number), good: Vec::new(), bad: Vec::new(), blank: 0 };
        for half in 0..2 {
            let at = number * 2 + half;
            match sector::decode(kind, number, &*disk.read_sector(at)?) {
                SectorRead::Blank => read.blank += 1,
                SectorRead::Good(content) => {
                    if content.generation > read.cell.generation {
                        read.cell.generation = content.generation;
                        read.cell.newest = half;
                    }
                    read.good.push(content);
                }
                SectorRead::Bad(detail) => read.bad.push(BadSector { sector: at, detail }),
                SectorRead::Future(version) => {
                    return Err(DiskError::Future {
                        place: format!("the anchor of {}", disk.place()),
                        found: u32::from(version),
                        known: u32::from(ANCHOR_VERSION),
                    });
                }
            }
        }
        read.good.sort_by_key(|content| std::cmp::Reverse(content.generation));
        Ok(read)
    }
}

//! A table cell: the durable position of each group in a block.

use quorate_core::{GroupId, Hash, Incarnation, Index, Position, Term};

use super::cell::{BadSector, Cell};
use super::sector::SectorKind;
use crate::disk::{Disk, DiskError};

/// Bytes of a table's row: group, index, term, hash.
const ROW: usize = 8 + 8 + 8 + 32;

/// The table of one block, as it is in memory.
pub(super) struct Table {
    cell: Cell,
    /// By slot within the block.
    pub(super) rows: Vec<Position>,
    /// Whether memory is ahead of the file.
    pub(super) dirty: bool,
}

/// A table as it was read.
pub(super) struct LoadedTable {
    pub(super) table: Table,
    pub(super) bad: Vec<BadSector>,
    /// Neither sector is whole: the durable positions are unknown.
    pub(super) unknown: bool,
}

impl Table {
    /// Makes the table of a new block, in both sectors, so that one is whole whatever happens to the first lazy write.
    pub(super) fn create(
        number: u64,
        disk: &mut dyn Disk,
        incarnation: Incarnation,
    ) -> Result<Self, DiskError> {
        let mut cell = Cell::new(SectorKind::Table, number);
        cell.write(disk, incarnation, Vec::new())?;
        cell.write(disk, incarnation, Vec::new())?;
        Ok(Self { cell, rows: Vec::new(), dirty: false })
    }

    /// Reads the table of a block with these groups, in slot order.
    pub(super) fn load(
        number: u64,
        disk: &dyn Disk,
        groups: impl Iterator<Item = GroupId>,
    ) -> Result<LoadedTable, DiskError> {
        let mut read = Cell::read(SectorKind::Table, number, disk)?;
        let found = read.good.first().map(|content| decode_rows(&content.payload));
        if read.blank > 0 {
            let detail = "it is blank where a table must be".to_owned();
            read.bad.push(BadSector { sector: number * 2, detail });
        }
        let unknown = found.is_none();
        let found = found.unwrap_or_default();
        let place = |group| found.iter().find(|(of, _)| *of == group).map_or(Position::ORIGIN, |(_, at)| *at);
        let table = Self { cell: read.cell, rows: groups.map(place).collect(), dirty: false };
        Ok(LoadedTable { table, bad: read.bad, unknown })
    }

    /// Writes the table, whose rows belong to these groups; not yet synced.
    pub(super) fn write(
        &mut self,
        disk: &mut dyn Disk,
        incarnation: Incarnation,
        groups: impl Iterator<Item = GroupId>,
    ) -> Result<(), DiskError> {
        let rows = groups.zip(&self.rows).flat_map(|(group, position)| encode_row(group, *position));
        self.cell.write(disk, incarnation, rows.collect())?;
        self.dirty = false;
        Ok(())
    }

    /// Writes the newest sector again, the same bytes; not yet synced.
    pub(super) fn write_again(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.cell.write_again(disk)
    }
}

fn encode_row(group: GroupId, position: Position) -> [u8; ROW] {
    let mut row = [0; ROW];
    row[..8].copy_from_slice(&group.0.to_be_bytes());
    row[8..16].copy_from_slice(&position.index.0.to_be_bytes());
    row[16..24].copy_from_slice(&position.term.0.to_be_bytes());
    row[24..].copy_from_slice(&position.chain.0);
    row
}

fn decode_rows(payload: &[u8]) -> Vec<(GroupId, Position)> {
    let number = |row: &[u8], at: usize| u64::from_be_bytes(row[at..at + 8].try_into().expect("eight bytes"));
    let rows = payload.chunks_exact(ROW).map(|row| {
        let chain = Hash(row[24..].try_into().expect("thirty-two bytes"));
        let position = Position { index: Index(number(row, 8)), term: Term(number(row, 16)), chain };
        (GroupId(number(row, 0)), position)
    });
    rows.collect()
}

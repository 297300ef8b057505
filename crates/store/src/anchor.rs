//! The anchor: what must survive the database (`safety.md` 1, 3 to 6). A small file of our own, in sectors of 4 KiB.
//!
//! Cell 0 is the identity. Then come blocks of one table cell and [`BLOCK`] group cells, so that it grows without
//! moving. A group cell has term, vote, the Recovering flag and the log's beginning, and is synced when they change;
//! a table cell has the durable index and hash of its block's groups, and lags (`safety.md` 3).

use quorate_core::{Boot, GroupId, HardState, Hash, Incarnation, Index, NodeId, Position, Term};
use serde::{Deserialize, Serialize};

use super::cell::{BadSector, Cell, CellRead};
use super::disk::{Disk, DiskError, SECTOR_BYTES, Sector};
use super::error::OpenError;
use super::sector::SectorKind;

/// Groups per table cell.
pub(super) const BLOCK: usize = 64;
/// The identity is cell 0: sectors below this.
pub(super) const IDENTITY_SECTORS: u64 = 2;
/// Bytes of a table's row: group, index, term, hash.
const ROW: usize = 8 + 8 + 8 + 32;

/// Where the making of the database stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nothing was promised yet: a database that is there is an unfinished first start's.
    Initialising,
    /// Anchor and database belong together.
    Ready,
    /// The database was found damaged and is being replaced; every group is marked Recovering already.
    Rebuilding,
}

/// Who this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityRecord {
    pub(super) cluster: Hash,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) boot: Boot,
    pub(super) phase: Phase,
    /// Counts the databases this directory has had.
    pub(super) database: u32,
    /// Group cells in use: each of them must be whole.
    pub(super) groups: u32,
}

/// What the anchor keeps of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    pub(super) group: GroupId,
    pub(super) name: String,
    pub(super) hard: HardState,
    /// The place before the first entry.
    pub(super) start: Position,
}

pub(super) struct GroupCell {
    cell: Cell,
    pub(super) record: GroupRecord,
}

struct Table {
    cell: Cell,
    rows: Vec<Position>,
    dirty: bool,
}

/// What reading found beside the records.
#[derive(Default)]
pub(super) struct AnchorState {
    pub(super) bad: Vec<BadSector>,
    /// Table sectors that are damaged: the ordinary trace of a crash during a lazy write.
    pub(super) bad_tables: Vec<BadSector>,
    /// Groups whose durable index is not known, because both places of their table are damaged.
    pub(super) unknown: Vec<usize>,
}

pub(super) struct Anchor {
    identity_cell: Cell,
    pub(super) identity: IdentityRecord,
    pub(super) groups: Vec<GroupCell>,
    tables: Vec<Table>,
}

fn table_cell(block: usize) -> u64 {
    1 + (block * (BLOCK + 1)) as u64
}

fn group_cell(slot: usize) -> u64 {
    table_cell(slot / BLOCK) + 1 + (slot % BLOCK) as u64
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(record).expect("records of the anchor have only maps, strings and numbers")
}

impl Anchor {
    /// Makes a new anchor, whole or not at all.
    pub(super) fn create(disk: &mut dyn Disk, identity: IdentityRecord) -> Result<Self, DiskError> {
        let mut identity_cell = Cell::new(SectorKind::Identity, 0);
        let mut sectors: Vec<Sector> = vec![[0; SECTOR_BYTES]; 2 * (2 + BLOCK)];
        for _ in 0..2 {
            let (at, bytes) = identity_cell.next(identity.incarnation, encode(&identity));
            sectors[usize::try_from(at).expect("cell zero")] = *bytes;
        }
        disk.create_anchor(&sectors)?;
        Ok(Self { identity_cell, identity, groups: Vec::new(), tables: Vec::new() })
    }

    /// Reads the anchor. A single damaged sector is reported; a cell with none whole is refused.
    pub(super) fn load(disk: &dyn Disk) -> Result<(Self, AnchorState), OpenError> {
        let mut state = AnchorState::default();
        let read = Cell::read(SectorKind::Identity, 0, disk)?;
        let (identity_cell, identity): (_, IdentityRecord) = newest(disk, read, "identity", &mut state)?;
        let mut anchor = Self { identity_cell, identity, groups: Vec::new(), tables: Vec::new() };
        for slot in 0..anchor.identity.groups as usize {
            let what = format!("group cell {slot}");
            let read = Cell::read(SectorKind::Group, group_cell(slot), disk)?;
            check_votes(disk, &read)?;
            let (cell, record): (_, GroupRecord) = newest(disk, read, &what, &mut state)?;
            anchor.groups.push(GroupCell { cell, record });
        }
        for block in 0..anchor.groups.len().div_ceil(BLOCK) {
            anchor.load_table(disk, block, &mut state)?;
        }
        Ok((anchor, state))
    }

    /// What was read may be in the page cache alone: the process before this one had not synced it yet, or its sync failed,
    /// and then the system takes the pages for written and a sync does nothing. So the newest sector of each cell is
    /// written once more, and synced, before anything stands on it.
    pub(super) fn write_again(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.identity_cell.write_again(disk)?;
        for group in &self.groups {
            group.cell.write_again(disk)?;
        }
        for table in &self.tables {
            table.cell.write_again(disk)?;
        }
        disk.sync_anchor()
    }

    fn load_table(
        &mut self,
        disk: &dyn Disk,
        block: usize,
        state: &mut AnchorState,
    ) -> Result<(), OpenError> {
        let read = Cell::read(SectorKind::Table, table_cell(block), disk)?;
        let slots = block * BLOCK..self.groups.len().min((block + 1) * BLOCK);
        let rows = read.good.first().map(|content| decode_rows(&content.payload));
        if rows.is_none() {
            state.unknown.extend(slots.clone());
        }
        if read.blank > 0 {
            let detail = "it is blank where a table must be".to_owned();
            state.bad_tables.push(BadSector { sector: read.cell.number * 2, detail });
        }
        state.bad_tables.extend(read.bad);
        let mut known = vec![Position::ORIGIN; slots.len()];
        for (group, position) in rows.unwrap_or_default() {
            let slot = slots.clone().find(|slot| self.groups[*slot].record.group == group);
            if let Some(slot) = slot {
                known[slot - slots.start] = position;
            }
        }
        self.tables.push(Table { cell: read.cell, rows: known, dirty: false });
        Ok(())
    }

    /// The cell of a group.
    pub(super) fn slot_of(&self, group: GroupId) -> Option<usize> {
        self.groups.iter().position(|cell| cell.record.group == group)
    }

    /// Writes the identity where phase or group count changed: both sectors, each synced before the next, so that
    /// whichever of them rots later, the other says the same.
    pub(super) fn write_identity_twice(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.write_identity(disk)?;
        self.write_identity(disk)
    }

    /// Writes the identity anew, in one sector; synced.
    pub(super) fn write_identity(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.identity_cell.write(disk, self.identity.incarnation, encode(&self.identity))?;
        disk.sync_anchor()
    }

    /// Gives a group a cell: both sectors first, then the count in the identity, so that a cell that counts is whole.
    /// A cell that holds a term or vote is never taken: it counted once, and the identity forgot it.
    pub(super) fn add_group(&mut self, disk: &mut dyn Disk, record: GroupRecord) -> Result<usize, DiskError> {
        let slot = self.groups.len();
        let incarnation = self.identity.incarnation;
        check_unused(disk, slot)?;
        let mut cell = Cell::new(SectorKind::Group, group_cell(slot));
        cell.write(disk, incarnation, encode(&record))?;
        cell.write(disk, incarnation, encode(&record))?;
        if slot.is_multiple_of(BLOCK) {
            // Both places, so that one is whole whatever happens to the first lazy write.
            let mut cell = Cell::new(SectorKind::Table, table_cell(slot / BLOCK));
            cell.write(disk, incarnation, Vec::new())?;
            cell.write(disk, incarnation, Vec::new())?;
            self.tables.push(Table { cell, rows: Vec::new(), dirty: false });
        }
        self.tables[slot / BLOCK].rows.push(Position::ORIGIN);
        self.groups.push(GroupCell { cell, record });
        disk.sync_anchor()?;
        self.identity.groups = u32::try_from(self.groups.len()).expect("groups are few");
        self.write_identity_twice(disk)?;
        Ok(slot)
    }

    /// Writes a group's cell; not yet synced.
    pub(super) fn write_group(
        &mut self,
        disk: &mut dyn Disk,
        slot: usize,
        hard: HardState,
        start: Position,
    ) -> Result<(), DiskError> {
        let group = &mut self.groups[slot];
        group.record.hard = hard;
        group.record.start = start;
        group.cell.write(disk, self.identity.incarnation, encode(&group.record))
    }

    /// The durable place the anchor has (or will have once the tables are written) for a group.
    pub(super) fn durable(&self, slot: usize) -> Position {
        self.tables[slot / BLOCK].rows[slot % BLOCK]
    }

    /// Changes it in memory.
    pub(super) fn set_durable(&mut self, slot: usize, position: Position) {
        let table = &mut self.tables[slot / BLOCK];
        if table.rows[slot % BLOCK] != position {
            table.rows[slot % BLOCK] = position;
            table.dirty = true;
        }
    }

    /// Whether a table lags behind what [`Anchor::durable`] says.
    pub(super) fn is_dirty(&self) -> bool {
        self.tables.iter().any(|table| table.dirty)
    }

    /// Writes the tables that changed; not yet synced. Says whether there were any.
    pub(super) fn write_tables(&mut self, disk: &mut dyn Disk) -> Result<bool, DiskError> {
        let mut wrote = false;
        for (block, table) in self.tables.iter_mut().enumerate().filter(|(_, table)| table.dirty) {
            let groups = self.groups[block * BLOCK..].iter().map(|cell| cell.record.group);
            let rows = groups.zip(&table.rows).flat_map(|(group, position)| encode_row(group, *position));
            table.cell.write(disk, self.identity.incarnation, rows.collect())?;
            table.dirty = false;
            wrote = true;
        }
        Ok(wrote)
    }
}

/// The newest whole record of a cell; anything else beside it is reported.
fn newest<T: for<'de> Deserialize<'de>>(
    disk: &dyn Disk,
    mut read: CellRead,
    what: &str,
    state: &mut AnchorState,
) -> Result<(Cell, T), OpenError> {
    if read.blank > 0 {
        let detail = "it is blank where a record must be".to_owned();
        read.bad.push(BadSector { sector: read.cell.number * 2, detail });
    }
    let detail = read.bad.first().map_or_else(String::new, |bad| bad.detail.clone());
    let damaged = |detail| OpenError::AnchorDamaged { place: disk.place(), what: what.to_owned(), detail };
    let Some(content) = read.good.first() else { return Err(damaged(detail)) };
    let record = rmp_serde::from_slice(&content.payload).map_err(|error| damaged(error.to_string()))?;
    state.bad.append(&mut read.bad);
    Ok((read.cell, record))
}

/// A cell that does not count may hold what a crash left of a group's making, but no term and no vote.
fn check_unused(disk: &dyn Disk, slot: usize) -> Result<(), DiskError> {
    for content in Cell::read(SectorKind::Group, group_cell(slot), disk)?.good {
        let used = rmp_serde::from_slice::<GroupRecord>(&content.payload)
            .is_ok_and(|record| record.hard != HardState::default());
        if used {
            let detail = format!("group cell {slot} does not count and yet holds a term or a vote");
            return Err(DiskError::Damaged { place: format!("the anchor of {}", disk.place()), detail });
        }
    }
    Ok(())
}

/// Two whole slots of one group that hold different votes in one term (`safety.md` 1).
fn check_votes(disk: &dyn Disk, read: &CellRead) -> Result<(), OpenError> {
    let records = read.good.iter().map(|content| rmp_serde::from_slice::<GroupRecord>(&content.payload));
    let records: Vec<GroupRecord> = records.filter_map(Result::ok).collect();
    match records.as_slice() {
        [one, other] if one.group == other.group => {
            greater(disk, one.group, &one.hard, &other.hard).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// The greater of two copies of a hard state: the later term, then a vote over none; Recovering if either says so.
pub(super) fn greater(
    disk: &dyn Disk,
    group: GroupId,
    one: &HardState,
    other: &HardState,
) -> Result<HardState, OpenError> {
    if one.term == other.term
        && let (Some(a), Some(b)) = (&one.voted_for, &other.voted_for)
        && a != b
    {
        let (term, one, other) = (one.term, a.clone(), b.clone());
        return Err(OpenError::TwoVotes { place: disk.place(), group, term, one, other });
    }
    let rank = |hard: &HardState| (hard.term, hard.voted_for.is_some());
    let mut greatest = if rank(one) >= rank(other) { one.clone() } else { other.clone() };
    greatest.recovering = one.recovering || other.recovering;
    Ok(greatest)
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

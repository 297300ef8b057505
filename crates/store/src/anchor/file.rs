//! The anchor as a whole: its cells, and when each is written. It never decides what a vote means.

use quorate_core::{GroupId, HardRecord, Position};
use serde::{Deserialize, Serialize};

use super::cell::{BadSector, Cell, CellRead};
use super::records::{GroupRecord, IdentityRecord};
use super::sector::SectorKind;
use super::table::Table;
use crate::disk::{Disk, DiskError, SECTOR_BYTES, Sector};
use crate::error::OpenError;

/// Groups per table cell.
const BLOCK: usize = 64;
/// The identity is cell 0: sectors below this one.
pub(crate) const IDENTITY_SECTORS: u64 = 2;

pub(crate) struct GroupCell {
    cell: Cell,
    pub(crate) record: GroupRecord,
}

/// Damage found while the anchor was read, which did not prevent reading it.
#[derive(Default)]
pub(crate) struct AnchorDamage {
    /// Damaged sectors of the identity and of groups.
    pub(crate) bad: Vec<BadSector>,
    /// Damaged table sectors: the ordinary trace of a crash during a lazy write.
    pub(crate) bad_tables: Vec<BadSector>,
    /// Slots whose durable index is unknown, because both sectors of their table are damaged.
    pub(crate) unknown: Vec<usize>,
}

pub(crate) struct Anchor {
    identity_cell: Cell,
    pub(crate) identity: IdentityRecord,
    /// By slot.
    pub(crate) groups: Vec<GroupCell>,
    tables: Vec<Table>,
    /// Something was written and not yet synced.
    unsynced: bool,
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
    pub(crate) fn create(disk: &mut dyn Disk, identity: IdentityRecord) -> Result<Self, DiskError> {
        let mut identity_cell = Cell::new(SectorKind::Identity, 0);
        let mut sectors: Vec<Sector> = vec![[0; SECTOR_BYTES]; 2 * (2 + BLOCK)];
        for _ in 0..2 {
            let (at, bytes) = identity_cell.next(identity.incarnation, encode(&identity));
            sectors[usize::try_from(at).expect("cell zero")] = *bytes;
        }
        disk.create_anchor(&sectors)?;
        Ok(Self { identity_cell, identity, groups: Vec::new(), tables: Vec::new(), unsynced: false })
    }

    /// Reads the anchor. One damaged sector of a cell is reported; a cell without a whole sector is refused.
    pub(crate) fn load(disk: &dyn Disk) -> Result<(Self, AnchorDamage), OpenError> {
        let mut damage = AnchorDamage::default();
        let read = Cell::read(SectorKind::Identity, 0, disk)?;
        let (identity_cell, identity): (_, IdentityRecord) = decode(disk, read, "identity", &mut damage)?;
        let mut groups = Vec::new();
        for slot in 0..identity.groups as usize {
            let what = format!("group cell {slot}");
            let read = Cell::read(SectorKind::Group, group_cell(slot), disk)?;
            check_votes(disk, &read)?;
            let (cell, record): (_, GroupRecord) = decode(disk, read, &what, &mut damage)?;
            groups.push(GroupCell { cell, record });
        }
        let mut tables = Vec::new();
        for (block, of_block) in groups.chunks(BLOCK).enumerate() {
            let numbers = of_block.iter().map(|cell: &GroupCell| cell.record.group);
            let loaded = Table::load(table_cell(block), disk, numbers)?;
            if loaded.unknown {
                damage.unknown.extend((0..of_block.len()).map(|slot| block * BLOCK + slot));
            }
            damage.bad_tables.extend(loaded.bad);
            tables.push(loaded.table);
        }
        Ok((Self { identity_cell, identity, groups, tables, unsynced: false }, damage))
    }

    /// Writes the newest sector of each cell again, synced, before anything relies on it. What was read may be in the page
    /// cache only: the previous process had not synced it yet, or its sync failed, and then the system takes the pages for
    /// clean and another sync writes nothing.
    pub(crate) fn write_again(&self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.identity_cell.write_again(disk)?;
        for group in &self.groups {
            group.cell.write_again(disk)?;
        }
        for table in &self.tables {
            table.write_again(disk)?;
        }
        disk.sync_anchor()
    }

    /// Syncs what was written since the last sync, if anything was.
    pub(crate) fn sync(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self.unsynced {
            disk.sync_anchor()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// The cell of a group.
    pub(crate) fn slot_of(&self, group: GroupId) -> Option<usize> {
        self.groups.iter().position(|cell| cell.record.group == group)
    }

    /// Writes the identity when its status or group count changed: both sectors, each synced before the next, so that they
    /// agree and either may be damaged later.
    pub(crate) fn write_identity_twice(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.write_identity(disk)?;
        self.write_identity(disk)
    }

    /// Writes the identity to one sector; synced.
    pub(crate) fn write_identity(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.identity_cell.write(disk, self.identity.incarnation, encode(&self.identity))?;
        self.unsynced = true;
        self.sync(disk)
    }

    /// Gives a group a cell: both sectors first, then the count in the identity, so that a counted cell is whole.
    /// A cell that holds a term or vote is never reused: it was counted once, and the identity lost the count.
    pub(crate) fn add_group(&mut self, disk: &mut dyn Disk, record: GroupRecord) -> Result<usize, DiskError> {
        let slot = self.groups.len();
        let incarnation = self.identity.incarnation;
        check_unused(disk, slot)?;
        let mut cell = Cell::new(SectorKind::Group, group_cell(slot));
        cell.write(disk, incarnation, encode(&record))?;
        cell.write(disk, incarnation, encode(&record))?;
        if slot.is_multiple_of(BLOCK) {
            self.tables.push(Table::create(table_cell(slot / BLOCK), disk, incarnation)?);
        }
        self.tables[slot / BLOCK].rows.push(Position::ORIGIN);
        self.groups.push(GroupCell { cell, record });
        self.unsynced = true;
        self.sync(disk)?;
        self.identity.groups = u32::try_from(self.groups.len()).expect("groups are few");
        self.write_identity_twice(disk)?;
        Ok(slot)
    }

    /// Writes a group's cell; not yet synced. Without the mark nothing is remembered of a database that was set aside.
    pub(crate) fn write_group(
        &mut self,
        disk: &mut dyn Disk,
        slot: usize,
        hard: HardRecord,
        start: Position,
    ) -> Result<(), DiskError> {
        if !hard.is_recovering() {
            self.forget_aside(slot);
        }
        self.write_group_with_aside(disk, slot, hard, start)
    }

    /// The same, and what is remembered of a database that was set aside stays.
    pub(crate) fn write_group_with_aside(
        &mut self,
        disk: &mut dyn Disk,
        slot: usize,
        hard: HardRecord,
        start: Position,
    ) -> Result<(), DiskError> {
        let group = &mut self.groups[slot];
        group.record.hard = hard;
        group.record.start = start;
        self.unsynced = true;
        group.cell.write(disk, self.identity.incarnation, encode(&group.record))
    }

    /// Forgets, in memory, a database that was set aside: it can prove nothing more. Whether there was one.
    pub(crate) fn forget_aside(&mut self, slot: usize) -> bool {
        self.groups[slot].record.aside.take().is_some()
    }

    /// The durable position of a group's log, as far as the anchor knows (once its tables are written).
    pub(crate) fn durable(&self, slot: usize) -> Position {
        self.tables[slot / BLOCK].rows[slot % BLOCK]
    }

    /// Changes the durable position in memory.
    pub(crate) fn set_durable(&mut self, slot: usize, position: Position) {
        let table = &mut self.tables[slot / BLOCK];
        if table.rows[slot % BLOCK] != position {
            table.rows[slot % BLOCK] = position;
            table.dirty = true;
        }
    }

    /// Whether the file is behind what [`Anchor::durable`] returns.
    pub(crate) fn is_dirty(&self) -> bool {
        self.tables.iter().any(|table| table.dirty)
    }

    /// Writes the tables that changed; not yet synced.
    pub(crate) fn write_tables(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        for (block, table) in self.tables.iter_mut().enumerate().filter(|(_, table)| table.dirty) {
            let groups = self.groups[block * BLOCK..].iter().map(|cell| cell.record.group);
            self.unsynced = true;
            table.write(disk, self.identity.incarnation, groups)?;
        }
        Ok(())
    }
}

/// The newest whole record of a cell; damage beside it is reported.
fn decode<T: for<'de> Deserialize<'de>>(
    disk: &dyn Disk,
    mut read: CellRead,
    what: &str,
    damage: &mut AnchorDamage,
) -> Result<(Cell, T), OpenError> {
    if read.blank > 0 {
        let detail = "it is blank where a record must be".to_owned();
        read.bad.push(BadSector { sector: read.cell.number * 2, detail });
    }
    let detail = read.bad.first().map_or_else(String::new, |bad| bad.detail.clone());
    let damaged = |detail| OpenError::AnchorDamaged { place: disk.place(), what: what.to_owned(), detail };
    let Some(content) = read.good.first() else { return Err(damaged(detail)) };
    let record = rmp_serde::from_slice(&content.payload).map_err(|error| damaged(error.to_string()))?;
    damage.bad.append(&mut read.bad);
    Ok((read.cell, record))
}

/// A cell that is not counted may hold the remains of a crash while a group was made, but no term and no vote.
fn check_unused(disk: &dyn Disk, slot: usize) -> Result<(), DiskError> {
    for content in Cell::read(SectorKind::Group, group_cell(slot), disk)?.good {
        let used = rmp_serde::from_slice::<GroupRecord>(&content.payload)
            .is_ok_and(|record| !record.hard.is_initial());
        if used {
            let detail = format!("group cell {slot} does not count and yet holds a term or a vote");
            return Err(DiskError::Damaged { place: format!("the anchor of {}", disk.place()), detail });
        }
    }
    Ok(())
}

/// The newer of two copies of a group's hard state; two votes in one term are refused (`safety.md` 1).
pub(crate) fn newer_of(
    disk: &dyn Disk,
    group: GroupId,
    one: &HardRecord,
    other: &HardRecord,
) -> Result<HardRecord, OpenError> {
    HardRecord::newer_of(one, other).map_err(|votes| OpenError::TwoVotes {
        place: disk.place(),
        group,
        votes,
    })
}

/// Refuses two whole sectors of one group with different votes in one term (`safety.md` 1).
fn check_votes(disk: &dyn Disk, read: &CellRead) -> Result<(), OpenError> {
    let records = read.good.iter().map(|content| rmp_serde::from_slice::<GroupRecord>(&content.payload));
    let records: Vec<GroupRecord> = records.filter_map(Result::ok).collect();
    match records.as_slice() {
        [one, other] if one.group == other.group => {
            newer_of(disk, one.group, &one.hard, &other.hard).map(|_| ())
        }
        _ => Ok(()),
    }
}

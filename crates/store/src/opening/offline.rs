//! Reading the directory of a node that is not running, for `quorate log`.
//!
//! It opens what a node would open, but writes no boot, no hard state, and no replacement of a damaged database. (The disk
//! cuts an unfinished last write off its journal, as it would at the node's next start.) The directory is locked meanwhile,
//! so a running node's directory is refused as in use.

use std::ops::ControlFlow;

use quorate_core::{Entry, GroupId, HardRecord, Index, Position};

use super::peek::peek;
use crate::anchor::{Anchor, AnchorDamage};
use crate::disk::{Disk, DiskError, Keyspace, TornTail};
use crate::error::OpenError;
use crate::log::{Marker, Row, decode, parse_name_key, parse_run_key, walk};
use crate::store::Identity;

/// A locked directory, its anchor read and, if possible, its database open.
pub struct Offline {
    disk: Box<dyn Disk>,
    anchor: Anchor,
    damage: AnchorDamage,
    identity: Identity,
    torn: Option<TornTail>,
    /// Why the database is not open, if it is damaged.
    closed: Option<DiskError>,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The result of [`Offline::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineReport {
    /// Whose directory it is.
    pub identity: Identity,
    /// Its groups, as the anchor knows them.
    pub groups: Vec<OfflineGroup>,
    /// An unfinished last write that was cut off. This is not damage: it was never acknowledged.
    pub torn: Option<TornTail>,
    /// What is wrong outside the groups' logs, one clause each.
    pub damage: Vec<String>,
}

/// One group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineGroup {
    /// Its number.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Term, vote and flag, as the anchor has them.
    pub hard_state: HardRecord,
    /// The position before the first entry.
    pub start: Position,
    /// The last entry whose chain is whole.
    pub last: Position,
    /// Entries read and verified.
    pub entries: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong with this log, one clause each.
    pub damage: Vec<String>,
}

impl Offline {
    /// Opens a directory; `None` if nothing was ever stored there.
    pub fn open(mut disk: Box<dyn Disk>) -> Result<Option<Self>, OpenError> {
        let Some(identity) = peek(&*disk)? else { return Ok(None) };
        let (anchor, damage) = Anchor::load(&*disk)?;
        let (torn, closed) = if disk.database_exists()? {
            match disk.open_database() {
                Ok(torn) => (torn, None),
                Err(error) if error.is_damage() => (None, Some(error)),
                Err(error) => return Err(error.into()),
            }
        } else {
            return Err(OpenError::AnchorWithoutDatabase { place: disk.place() });
        };
        Ok(Some(Self { disk, anchor, damage, identity, torn, closed }))
    }

    /// Reads every log from its first entry, checks the chain, and compares it with the anchor.
    pub fn verify(&self) -> OfflineReport {
        let mut damage: Vec<String> = self
            .damage
            .bad
            .iter()
            .map(|bad| format!("anchor sector {}: {}", bad.sector, bad.detail))
            .collect();
        let groups = (0..self.anchor.groups.len()).map(|slot| self.verify_group(slot)).collect();
        match &self.closed {
            Some(error) => damage.push(error.to_string()),
            None => {
                if let Err(error) = self.find_strangers(&mut damage) {
                    damage.push(error.to_string());
                }
            }
        }
        OfflineReport { identity: self.identity.clone(), groups, torn: self.torn.clone(), damage }
    }

    /// Calls `visit` with the entries of a group from `from` on, verified from the beginning of its log. `Ok(false)` if
    /// there is no such group.
    pub fn entries(
        &self,
        name: &str,
        from: Index,
        visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<bool, OpenError> {
        let group = GroupId::of_name(name);
        if self.anchor.slot_of(group).is_none() {
            return Ok(false);
        }
        let damaged =
            |detail: String| DiskError::Damaged { place: format!("the log of group {name}"), detail };
        if let Some(error) = &self.closed {
            return Err(damaged(error.to_string()).into());
        }
        let marker = self.marker(group).map_err(damaged)?;
        let walked = walk(&*self.disk, group, (marker.run, marker.previous), &mut |run| {
            run.entries.iter().filter(|entry| entry.index >= from).try_for_each(&mut *visit)
        });
        walked.map_err(|error| damaged(error.to_string()))?;
        Ok(true)
    }

    fn marker(&self, group: GroupId) -> Result<Marker, String> {
        let key = Row::Marker.key(group);
        let row = self.disk.get(Keyspace::Hard, &key).map_err(|error| error.to_string())?;
        decode(&key, row.as_ref()).map_err(|error| error.to_string())
    }

    fn verify_group(&self, slot: usize) -> OfflineGroup {
        let record = &self.anchor.groups[slot].record;
        let mut report = OfflineGroup {
            group: record.group,
            name: record.name.clone(),
            hard_state: record.hard.clone(),
            start: record.start,
            last: record.start,
            entries: 0,
            bytes: 0,
            damage: Vec::new(),
        };
        if self.closed.is_some() {
            return report;
        }
        let durable = self.anchor.durable(slot);
        match self.marker(record.group) {
            // A group that was never written has no row yet.
            Err(_) if durable == Position::ORIGIN && record.hard.is_initial() => {}
            Err(detail) => report.damage.push(detail),
            Ok(marker) => self.walk_group(&marker, durable, &mut report),
        }
        if self.damage.unknown.contains(&slot) {
            report.damage.push("both places of its durable index in the anchor are damaged".to_owned());
        } else if report.damage.is_empty() && durable.index > report.last.index {
            let (had, ends) = (durable.log_id(), report.last.log_id());
            report.damage.push(format!("it had {had} on disk and ends at {ends}"));
        }
        report
    }

    fn walk_group(&self, marker: &Marker, durable: Position, report: &mut OfflineGroup) {
        (report.start, report.last) = (marker.previous, marker.previous);
        let mut at_durable = None;
        let walked = walk(&*self.disk, report.group, (marker.run, marker.previous), &mut |run| {
            report.entries += run.entries.len() as u64;
            report.bytes += run.bytes;
            report.last = run.last();
            let found = run.entries.iter().find(|entry| entry.index == durable.index);
            at_durable = at_durable.or(found.map(Entry::position));
            ControlFlow::Continue(())
        });
        if let Err(error) = walked {
            report.damage.push(error.to_string());
        }
        if at_durable.is_some_and(|found| found != durable) {
            report.damage.push(format!("it has another entry at {} than it had", durable.index));
        }
    }

    /// Reports rows of groups that the anchor does not know.
    fn find_strangers(&self, damage: &mut Vec<String>) -> Result<(), DiskError> {
        let mut rows = 0_u64;
        self.disk.scan(Keyspace::Log, &[], &mut |key, _| {
            let known = parse_run_key(key).is_some_and(|(group, _)| self.anchor.slot_of(group).is_some());
            rows += u64::from(!known);
            ControlFlow::Continue(())
        })?;
        if rows > 0 {
            damage.push(format!("{rows} rows of the log belong to no group"));
        }
        let mut groups = 0_u64;
        self.disk.scan(Keyspace::Hard, &[], &mut |key, _| {
            let stranger = parse_name_key(key).is_some_and(|group| self.anchor.slot_of(group).is_none());
            groups += u64::from(stranger);
            ControlFlow::Continue(())
        })?;
        if groups > 0 {
            damage.push(format!("{groups} groups of the database are not known to the anchor"));
        }
        Ok(())
    }
}

//! Reading a database and every log in it.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::{Boot, GroupId, HardRecord, Index, Position, SnapshotBase};
use serde::Deserialize;

use super::report::OpenNotice;
use super::state::{Contents, Opening};
use crate::anchor::{Aside, IDENTITY_SECTORS, IdentityRecord, newer_of};
use crate::disk::{DiskError, Keyspace};
use crate::error::{OpenError, StoreError};
use crate::log::{
    DATABASE_KEY, DatabaseRecord, GroupState, Marker, NameRecord, PeerRecord, RECORD_VERSION, RecordError,
    Row, decode, parse_name_key, parse_peer_key,
};

/// Why a database cannot be used as it is.
pub(super) enum Unusable {
    /// It is set aside and every group recovers.
    Damaged(String),
    /// The node does not start.
    Refused(OpenError),
}

impl From<DiskError> for Unusable {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Damaged { place, detail } => Self::Damaged(format!("{place}: {detail}")),
            other => Self::Refused(other.into()),
        }
    }
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Disk(error) => error.into(),
            StoreError::Damaged { .. }
            | StoreError::Order { .. }
            | StoreError::Failed
            | StoreError::NotOpen { .. }
            | StoreError::Outside { .. }
            | StoreError::Stale { .. } => Self::Damaged(error.to_string()),
        }
    }
}

impl Opening {
    /// Opens the database and reads everything. Damage, and an engine that gives up, is believed only if two attempts find it: one
    /// bad read looks the same to fjall.
    pub(super) fn read_contents(&mut self) -> Result<Contents, Unusable> {
        let (first, detail) = match self.read_once() {
            Ok(contents) => return Ok(contents),
            Err(Unusable::Damaged(detail)) => (Unusable::Damaged(detail.clone()), detail),
            Err(Unusable::Refused(OpenError::Disk(error @ DiskError::Engine { .. }))) => {
                let detail = error.to_string();
                (Unusable::Refused(error.into()), detail)
            }
            Err(other) => return Err(other),
        };
        match (self.read_once(), first) {
            (Ok(contents), _) => {
                self.notices.push(OpenNotice::ReadAgain { detail });
                Ok(contents)
            }
            // If fjall panicked it may still hold its lock. And damage that was seen once is none.
            (Err(Unusable::Refused(OpenError::Disk(DiskError::Locked { .. }))), first)
            | (Err(Unusable::Damaged(_)), first @ Unusable::Refused(_)) => Err(first),
            (Err(error), _) => Err(error),
        }
    }

    fn read_once(&mut self) -> Result<Contents, Unusable> {
        if !self.disk.database_exists()? {
            return Err(Unusable::Refused(OpenError::AnchorWithoutDatabase { place: self.disk.place() }));
        }
        if let Some(torn) = self.disk.open_database()? {
            self.notices.push(OpenNotice::TornTail(torn));
        }
        let (boot, put_back) = self.check_database_record()?;
        let mut contents = Contents { boot, put_back, ..Contents::default() };
        let mut rows = Vec::new();
        self.disk.scan(Keyspace::Hard, &[], &mut |key, value| {
            rows.push((key.to_vec(), value));
            ControlFlow::Continue(())
        })?;
        for (key, value) in rows {
            if let Some(group) = parse_name_key(&key) {
                self.read_group(group, &self.decode(&key, Some(&value))?, &mut contents)?;
            } else if let Some(peer) = parse_peer_key(&key) {
                let known: PeerRecord = self.decode(&key, Some(&value))?;
                contents.peers.insert(peer, known);
            }
        }
        // A group that was opened after the database was set aside is not in it: it recovers when it is opened.
        if contents.put_back.is_none() {
            self.check_missing(&contents)?;
        }
        Ok(contents)
    }

    /// The last boot that opened it, and its number if it is not the newest of this directory.
    fn check_database_record(&self) -> Result<(Boot, Option<u32>), Unusable> {
        let found: DatabaseRecord = self.record(DATABASE_KEY)?;
        let IdentityRecord { incarnation, database, .. } = self.anchor.identity;
        let place = || self.disk.place();
        let foreign =
            |detail: String| Unusable::Refused(OpenError::ForeignDatabase { place: place(), detail });
        if found.incarnation != incarnation {
            return Err(foreign(format!("incarnation {}, not {incarnation}", found.incarnation)));
        }
        // One of a lower number was set aside, and is put back.
        if found.database > database {
            let detail = format!("it is number {} of this directory, not {database}", found.database);
            return Err(foreign(detail));
        }
        // A damaged sector of the identity may have been its newest, of the boot after.
        let lost = self.damage.bad.iter().any(|bad| bad.sector < IDENTITY_SECTORS);
        let newest = if lost { self.boot_before.next() } else { self.boot_before };
        if found.boot > newest {
            let (anchor, database) = (self.boot_before.0, found.boot.0);
            return Err(Unusable::Refused(OpenError::AnchorOld { place: place(), anchor, database }));
        }
        Ok((found.boot, (found.database < database).then_some(found.database)))
    }

    fn read_group(&self, group: GroupId, name: &NameRecord, contents: &mut Contents) -> Result<(), Unusable> {
        let hard: HardRecord = self.record(&Row::Hard.key(group))?;
        let marker: Marker = self.record(&Row::Marker.key(group))?;
        if marker.first != marker.previous.index.next() || marker.run > marker.first {
            return Err(Unusable::Damaged(format!("the marker of group {group} contradicts itself")));
        }
        let Marker { previous: at, time_ms, membership, .. } = marker.clone();
        let base = SnapshotBase { at, time_ms, membership };
        let mut state = GroupState::empty(group, name.name.clone(), hard, base);
        state.founding.clone_from(&name.founding);
        let slot = self.anchor.slot_of(group);
        let aside = slot.and_then(|slot| self.aside(slot, contents.put_back));
        let durable = slot.map_or(Position::ORIGIN, |slot| self.anchor.durable(slot));
        let wanted = aside.map_or(durable, |aside| aside.durable).index;
        let at = state.walk_from(&*self.disk, &marker, wanted, self.options.boundaries_max)?;
        if marker.run > Index(1) {
            state.dead_below = Some(marker.run);
        }
        let Some(slot) = slot else {
            let place = self.disk.place();
            let detail = format!("the anchor does not know its group {}", name.name);
            return Err(Unusable::Refused(OpenError::ForeignDatabase { place, detail }));
        };
        state.slot = slot;
        let anchored = &self.anchor.groups[slot].record.hard;
        state.hard = newer_of(&*self.disk, group, anchored, &state.hard).map_err(Unusable::Refused)?;
        if !state.hard.covers(state.last.term) {
            let detail = format!("entry {} is of a later term than the hard state", state.last.log_id());
            return Err(Unusable::Damaged(format!("group {group}: {detail}")));
        }
        match aside {
            Some(aside) => {
                if at == Some(aside.durable) && aside.start.index <= state.start.index {
                    contents.proven.insert(group);
                }
                contents.at_durable.insert(group, Some(durable));
            }
            None => {
                contents.at_durable.insert(group, at);
            }
        }
        contents.groups.insert(group, state);
        Ok(())
    }

    /// What a group had when the database that was put back was set aside, if that can still prove anything: the group has been
    /// marked Recovering since then, and has written nothing to the database that replaced it.
    fn aside(&self, slot: usize, put_back: Option<u32>) -> Option<&Aside> {
        let record = &self.anchor.groups[slot].record;
        // A damaged sector may have been the newest, which said otherwise.
        let is_certain = self.damage.bad.is_empty() && self.anchor.durable(slot) == Position::ORIGIN;
        record.aside.as_ref().filter(|aside| is_certain && Some(aside.database) == put_back)
    }

    /// Every group for which the anchor has made promises must be in the database.
    fn check_missing(&self, contents: &Contents) -> Result<(), Unusable> {
        for (slot, cell) in self.anchor.groups.iter().enumerate() {
            let record = &cell.record;
            let promised = !record.hard.is_initial() || self.anchor.durable(slot) != Position::ORIGIN;
            if !contents.groups.contains_key(&record.group) && promised && !record.hard.is_recovering() {
                return Err(Unusable::Damaged(format!("group {} is missing in it", record.name)));
            }
        }
        Ok(())
    }

    fn record<T: for<'de> Deserialize<'de>>(&self, key: &[u8]) -> Result<T, Unusable> {
        self.decode(key, self.disk.get(Keyspace::Hard, key)?.as_ref())
    }

    fn decode<T: for<'de> Deserialize<'de>>(&self, key: &[u8], value: Option<&Bytes>) -> Result<T, Unusable> {
        decode(key, value).map_err(|error| match error {
            RecordError::Future { version, .. } => Unusable::Refused(
                DiskError::Future {
                    place: format!("the database of {}", self.disk.place()),
                    found: u32::from(version),
                    known: u32::from(RECORD_VERSION),
                }
                .into(),
            ),
            RecordError::Missing { .. } | RecordError::Damaged { .. } => Unusable::Damaged(error.to_string()),
        })
    }
}

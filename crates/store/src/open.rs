//! Opening: what is found is compared with what was promised, and nothing leaves this node before both agree.
//!
//! 1. The anchor is read; a cell with no whole sector is refused.
//! 2. The database is checked, opened, and every log walked from its first entry.
//! 3. Anchor and database are compared (`safety.md` 1, 5, 6): the greater term and vote holds; a log that is shorter
//!    than its durable index, or has another hash there, was damaged.
//! 4. Only when nothing can be refused any more the anchor is written: what was read once more, since it may be in the
//!    page cache alone, then the boot number, synced. A refusal that wrote the anchor would wipe out its own evidence, and
//!    the next attempt would open.
//! 5. What is lesser is rewritten and synced; then the store is open.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use quorate_core::{Boot, GroupId, HardState, Incarnation, Index, Membership, NodeId, Position};
use serde::Deserialize;

use super::anchor::{Anchor, AnchorState, IDENTITY_SECTORS, IdentityRecord, Phase, greater};
use super::disk::{Batch, Disk, DiskError, Keyspace};
use super::error::{OpenError, StoreError};
use super::group::GroupState;
use super::records::{
    self, DATABASE_KEY, DatabaseRecord, Marker, NameRecord, PeerRecord, RECORD_VERSION, RecordError, Row,
    parse_name_key, parse_peer_key,
};
use super::types::{GroupReport, Identity, OpenNotice, OpenReport, StoreOptions};

/// The open store: database, anchor, and what is in memory of each group. Owned by one thread.
pub struct Store {
    pub(super) disk: Box<dyn Disk>,
    pub(super) options: StoreOptions,
    pub(super) anchor: Anchor,
    pub(super) identity: Identity,
    pub(super) groups: BTreeMap<GroupId, GroupState>,
    pub(super) peers: BTreeMap<NodeId, Incarnation>,
    /// A call has failed: nothing works any more.
    pub(super) failed: bool,
    /// `safety.md` 4, the mutant: the anchor is not lowered before a truncation.
    #[cfg(test)]
    pub(super) mutant_keep_anchor: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let groups: Vec<_> = self.groups.values().map(|group| (&group.name, group.last.log_id())).collect();
        f.debug_struct("Store")
            .field("identity", &self.identity)
            .field("groups", &groups)
            .finish_non_exhaustive()
    }
}

/// Who a directory belongs to, without opening it; `None` if nothing was ever stored there.
pub fn peek(disk: &dyn Disk) -> Result<Option<Identity>, OpenError> {
    if disk.anchor_exists()? {
        return Ok(Some(identity_of(&Anchor::load(disk)?.0.identity)));
    }
    if disk.database_exists()? {
        return Err(OpenError::DatabaseWithoutAnchor { place: disk.place() });
    }
    Ok(None)
}

fn identity_of(record: &IdentityRecord) -> Identity {
    let IdentityRecord { cluster, node, incarnation, boot, .. } = record.clone();
    Identity { cluster, node, incarnation, boot }
}

/// What the database held.
#[derive(Default)]
struct Found {
    groups: BTreeMap<GroupId, GroupState>,
    peers: BTreeMap<NodeId, Incarnation>,
    /// The place each log has at the index its anchor knows.
    at_durable: BTreeMap<GroupId, Option<Position>>,
    boot: Boot,
}

/// Why a database cannot be used as it is.
enum Trouble {
    /// It is set aside and every group recovers.
    Damaged(String),
    /// The node does not start.
    Refused(OpenError),
}

impl From<DiskError> for Trouble {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Damaged { place, detail } => Self::Damaged(format!("{place}: {detail}")),
            other => Self::Refused(other.into()),
        }
    }
}

impl From<StoreError> for Trouble {
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

/// Opening in progress.
struct Opening {
    disk: Box<dyn Disk>,
    options: StoreOptions,
    anchor: Anchor,
    state: AnchorState,
    /// The boot before this one.
    boot_before: Boot,
    notices: Vec<OpenNotice>,
}

impl Store {
    /// Opens a data directory, or makes one. See the module for the order of things.
    pub fn open(mut disk: Box<dyn Disk>, options: StoreOptions) -> Result<(Self, OpenReport), OpenError> {
        let mut notices = Vec::new();
        free_ballast(&mut *disk, &options, &mut notices)?;
        let first_start = peek(&*disk)?.is_none();
        // One look for both: two might differ, and damage that only one of them saw would go unsaid.
        let (anchor, state) = if first_start {
            (create_anchor(&mut *disk, &options)?, AnchorState::default())
        } else {
            Anchor::load(&*disk)?
        };
        if anchor.identity.node != options.node {
            let (found, expected) = (anchor.identity.node, options.node);
            return Err(OpenError::OtherNode { place: disk.place(), found, expected });
        }
        let boot_before = anchor.identity.boot;
        let mut opening = Opening { disk, options, anchor, state, boot_before, notices };
        let found = opening.database()?;
        opening.finish(found, first_start)
    }

    /// Whose directory it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A disk that is full at the start has a file that is only there to be deleted (`safety.md` 16).
fn free_ballast(
    disk: &mut dyn Disk,
    options: &StoreOptions,
    notices: &mut Vec<OpenNotice>,
) -> Result<(), OpenError> {
    let bytes = disk.ballast_bytes()?;
    if bytes > 0 && disk.free_bytes()? < options.reserve_bytes_min {
        disk.set_ballast(0)?;
        notices.push(OpenNotice::BallastDropped { bytes });
    }
    Ok(())
}

fn create_anchor(disk: &mut dyn Disk, options: &StoreOptions) -> Result<Anchor, OpenError> {
    let Some(cluster) = options.cluster else {
        return Err(OpenError::NoCluster { place: disk.place() });
    };
    let identity = IdentityRecord {
        cluster,
        node: options.node.clone(),
        // Zero means "not known".
        incarnation: Incarnation(options.entropy.max(1)),
        boot: Boot::ZERO,
        phase: Phase::Initialising,
        database: 0,
        groups: 0,
    };
    Ok(Anchor::create(disk, identity)?)
}

impl Opening {
    /// Opens the database, or replaces it; what it held.
    fn database(&mut self) -> Result<Found, OpenError> {
        match self.anchor.identity.phase {
            Phase::Initialising => {
                if self.disk.database_exists()? {
                    self.disk.set_database_aside()?;
                }
                self.anchor.identity.boot = self.boot_before.next();
                self.make_database()
            }
            Phase::Rebuilding => self.rebuild("an earlier replacement was interrupted".to_owned()),
            Phase::Ready => match self.inspect_twice() {
                Ok(found) => {
                    // Every check has passed. A database with a later boot stands beside a damaged identity.
                    self.anchor.write_again(&mut *self.disk)?;
                    self.anchor.identity.boot = self.boot_before.max(found.boot).next();
                    self.anchor.write_identity(&mut *self.disk)?;
                    Ok(found)
                }
                Err(Trouble::Refused(error)) => Err(error),
                Err(Trouble::Damaged(detail)) => self.rebuild(detail),
            },
        }
    }

    fn make_database(&mut self) -> Result<Found, OpenError> {
        self.disk.create_database()?;
        self.write_database_record(&mut Batch::new())?;
        self.anchor.identity.phase = Phase::Ready;
        self.anchor.write_identity_twice(&mut *self.disk)?;
        Ok(Found { boot: self.boot_before, ..Found::default() })
    }

    fn write_database_record(&mut self, batch: &mut Batch) -> Result<(), OpenError> {
        let IdentityRecord { incarnation, database, boot, .. } = self.anchor.identity.clone();
        let record = DatabaseRecord { incarnation, database, boot };
        batch.put(Keyspace::Hard, DATABASE_KEY.to_vec(), records::encode(DATABASE_KEY, &record));
        Ok(self.disk.commit(batch)?)
    }

    /// `safety.md` 6. First every group is marked, synced; then the anchor says what is being done; then it is done.
    ///
    /// It is done again where it was interrupted, marks included: who says that it was interrupted may be an old sector
    /// of the identity, and the database a healthy one.
    fn rebuild(&mut self, detail: String) -> Result<Found, OpenError> {
        // An interrupted one may have torn the identity; group cells were synced before, and are as they must be.
        let interrupted = self.anchor.identity.phase == Phase::Rebuilding;
        if let Some(bad) = self.state.bad.iter().find(|bad| !(interrupted && bad.sector < IDENTITY_SECTORS)) {
            let anchor = format!("sector {}: {}", bad.sector, bad.detail);
            return Err(OpenError::BothDamaged { place: self.disk.place(), database: detail, anchor });
        }
        self.anchor.write_again(&mut *self.disk)?;
        for slot in 0..self.anchor.groups.len() {
            let record = &self.anchor.groups[slot].record;
            // What is marked already is not put at risk once more.
            if !record.hard.recovering || record.start != Position::ORIGIN {
                let hard = HardState { recovering: true, ..record.hard.clone() };
                self.anchor.write_group(&mut *self.disk, slot, hard, Position::ORIGIN)?;
            }
            self.anchor.set_durable(slot, Position::ORIGIN);
        }
        self.anchor.write_tables(&mut *self.disk)?;
        self.disk.sync_anchor()?;
        self.anchor.identity.phase = Phase::Rebuilding;
        self.anchor.identity.database += 1;
        self.anchor.identity.boot = self.boot_before.next();
        self.anchor.write_identity_twice(&mut *self.disk)?;
        self.replace_database(detail)
    }

    fn replace_database(&mut self, detail: String) -> Result<Found, OpenError> {
        if self.disk.database_exists()? {
            let to = self.disk.set_database_aside()?;
            self.notices.push(OpenNotice::SetAside { to, detail });
        }
        self.make_database()
    }

    /// Damage must be seen twice. A read that came back short or garbled says nothing of the disk, the engine takes it for
    /// damage all the same, and a database that was set aside is not taken back.
    fn inspect_twice(&mut self) -> Result<Found, Trouble> {
        let first = match self.inspect() {
            Err(Trouble::Damaged(first)) => first,
            Err(Trouble::Refused(error)) => return Err(Trouble::Refused(error)),
            Ok(found) => return Ok(found),
        };
        match self.inspect() {
            Ok(found) => {
                self.notices.push(OpenNotice::ReadAgain { detail: first });
                Ok(found)
            }
            // Where it panicked the engine may not have let go of its lock.
            Err(Trouble::Refused(OpenError::Disk(DiskError::Locked { .. }))) => Err(Trouble::Damaged(first)),
            Err(trouble) => Err(trouble),
        }
    }

    /// Opens and reads everything.
    fn inspect(&mut self) -> Result<Found, Trouble> {
        if !self.disk.database_exists()? {
            return Err(Trouble::Refused(OpenError::AnchorWithoutDatabase { place: self.disk.place() }));
        }
        if let Some(torn) = self.disk.open_database()? {
            self.notices.push(OpenNotice::TornTail(torn));
        }
        let mut found = Found { boot: self.check_database_record()?, ..Found::default() };
        for (key, value) in self.rows()? {
            if let Some(group) = parse_name_key(&key) {
                self.inspect_group(group, &record(&*self.disk, &key, Some(&value))?, &mut found)?;
            } else if let Some(peer) = parse_peer_key(&key) {
                let known: PeerRecord = record(&*self.disk, &key, Some(&value))?;
                found.peers.insert(peer, known.incarnation);
            }
        }
        self.check_missing(&found)?;
        Ok(found)
    }

    fn rows(&self) -> Result<Vec<(Vec<u8>, bytes::Bytes)>, Trouble> {
        let mut rows = Vec::new();
        self.disk.scan(Keyspace::Hard, &[], &mut |key, value| {
            rows.push((key.to_vec(), value));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    fn check_database_record(&self) -> Result<Boot, Trouble> {
        let found: DatabaseRecord = self.record(DATABASE_KEY)?;
        let IdentityRecord { incarnation, database, .. } = self.anchor.identity;
        let foreign = |detail: String| {
            Trouble::Refused(OpenError::ForeignDatabase { place: self.disk.place(), detail })
        };
        if found.incarnation != incarnation {
            return Err(foreign(format!("incarnation {}, not {incarnation}", found.incarnation)));
        }
        if found.database != database {
            return Err(foreign(format!(
                "it is number {} of this directory, not {database}",
                found.database
            )));
        }
        // The identity's newest sector, if damaged, may have been of the boot after.
        let lost = self.state.bad.iter().any(|bad| bad.sector < IDENTITY_SECTORS);
        let newest = if lost { self.boot_before.next() } else { self.boot_before };
        if found.boot > newest {
            let (anchor, database) = (self.boot_before.0, found.boot.0);
            return Err(Trouble::Refused(OpenError::AnchorOld {
                place: self.disk.place(),
                anchor,
                database,
            }));
        }
        Ok(found.boot)
    }

    fn record<T: for<'de> Deserialize<'de>>(&self, key: &[u8]) -> Result<T, Trouble> {
        record(&*self.disk, key, self.disk.get(Keyspace::Hard, key)?.as_ref())
    }

    fn inspect_group(&self, group: GroupId, name: &NameRecord, found: &mut Found) -> Result<(), Trouble> {
        let hard: HardState = self.record(&Row::Hard.key(group))?;
        let marker: Marker = self.record(&Row::Marker.key(group))?;
        if marker.first != marker.previous.index.next() || marker.run > marker.first {
            return Err(Trouble::Damaged(format!("the marker of group {group} contradicts itself")));
        }
        let membership: Membership = marker.membership.clone();
        let mut state = GroupState::empty(group, name.name.clone(), hard, marker.previous, membership);
        let slot = self.anchor.slot_of(group);
        let wanted = slot.map_or(Index::ZERO, |slot| self.anchor.durable(slot).index);
        let at = state.walk_from(&*self.disk, &marker, wanted, self.options.boundaries_max)?;
        if marker.run > Index(1) {
            state.dead_below = Some(marker.run);
        }
        let Some(slot) = slot else {
            let place = self.disk.place();
            let detail = format!("the anchor does not know its group {}", name.name);
            return Err(Trouble::Refused(OpenError::ForeignDatabase { place, detail }));
        };
        state.slot = slot;
        let anchored = &self.anchor.groups[slot].record.hard;
        state.hard = greater(&*self.disk, group, anchored, &state.hard).map_err(Trouble::Refused)?;
        if state.last.term > state.hard.term {
            let detail = format!("entry {} is of a later term than the hard state", state.last.log_id());
            return Err(Trouble::Damaged(format!("group {group}: {detail}")));
        }
        found.at_durable.insert(group, at);
        found.groups.insert(group, state);
        Ok(())
    }

    /// A group the anchor has made promises for, and the database does not know.
    fn check_missing(&self, found: &Found) -> Result<(), Trouble> {
        for (slot, cell) in self.anchor.groups.iter().enumerate() {
            let record = &cell.record;
            let unused = *self.state_of(slot) == HardState::default();
            let promised = !unused || self.anchor.durable(slot) != Position::ORIGIN;
            if !found.groups.contains_key(&record.group) && promised && !record.hard.recovering {
                return Err(Trouble::Damaged(format!("group {} is missing in it", record.name)));
            }
        }
        Ok(())
    }

    fn state_of(&self, slot: usize) -> &HardState {
        &self.anchor.groups[slot].record.hard
    }

    /// What a group lost, if it did.
    fn loss(&self, group: &GroupState, at: Option<Position>) -> Option<String> {
        if self.state.unknown.contains(&group.slot) {
            return Some("both places of its durable index in the anchor are damaged".to_owned());
        }
        let durable = self.anchor.durable(group.slot);
        let start = self.anchor.groups[group.slot].record.start;
        if start.index > group.start.index {
            return Some(format!("it began after {}, now after {}", start.log_id(), group.start.log_id()));
        }
        if durable.index > group.last.index {
            return Some(format!("it had {} on disk and ends at {}", durable.log_id(), group.last.log_id()));
        }
        if durable.index >= group.start.index && at != Some(durable) {
            return Some(format!("it has another entry at {} than it had", durable.index));
        }
        None
    }

    /// Rewrites what is lesser, on both sides, and opens.
    fn finish(mut self, mut found: Found, first_start: bool) -> Result<(Store, OpenReport), OpenError> {
        let mut lost = Vec::new();
        for group in found.groups.values() {
            if let Some(detail) = self.loss(group, found.at_durable.get(&group.group).copied().flatten()) {
                lost.push(OpenNotice::Lost { group: group.group, detail });
            }
        }
        let any_lost = !lost.is_empty();
        self.notices.append(&mut lost);
        self.notices.extend(
            self.state
                .bad
                .iter()
                .chain(&self.state.bad_tables)
                .map(|bad| OpenNotice::BadSlot { sector: bad.sector, detail: bad.detail.clone() }),
        );
        self.settle_hard_states(&mut found, any_lost)?;
        for group in found.groups.values() {
            self.anchor.set_durable(group.slot, group.last);
        }
        if self.anchor.write_tables(&mut *self.disk)? {
            self.disk.sync_anchor()?;
        }
        self.make_ballast();
        let identity = identity_of(&self.anchor.identity);
        let groups = self.anchor.groups.iter().map(|cell| GroupReport {
            group: cell.record.group,
            name: cell.record.name.clone(),
            last: found.groups.get(&cell.record.group).map_or(Position::ORIGIN, |group| group.last),
            recovering: cell.record.hard.recovering,
        });
        let report = OpenReport {
            identity: identity.clone(),
            first_start,
            groups: groups.collect(),
            notices: self.notices,
        };
        let store = Store {
            disk: self.disk,
            options: self.options,
            anchor: self.anchor,
            identity,
            groups: found.groups,
            peers: found.peers,
            failed: false,
            #[cfg(test)]
            mutant_keep_anchor: false,
        };
        Ok((store, report))
    }

    /// Both copies hold the greater term and vote, synced, the anchor first; loss marks every group of the node, since
    /// what was lost of one batch was lost of all that followed.
    fn settle_hard_states(&mut self, found: &mut Found, any_lost: bool) -> Result<(), OpenError> {
        let mut batch = Batch::new();
        let mut wrote = false;
        for group in found.groups.values_mut() {
            group.hard.recovering |= any_lost;
            let cell = &self.anchor.groups[group.slot].record;
            if cell.hard != group.hard || cell.start != group.start || !self.state.bad.is_empty() {
                self.anchor.write_group(&mut *self.disk, group.slot, group.hard.clone(), group.start)?;
                wrote = true;
            }
            let key = Row::Hard.key(group.group);
            let value = records::encode(&key, &group.hard);
            if self.disk.get(Keyspace::Hard, &key)?.as_ref() != Some(&value) {
                batch.put(Keyspace::Hard, key, value);
            }
        }
        if wrote {
            self.disk.sync_anchor()?;
        }
        self.write_database_record(&mut batch)
    }

    /// Best effort: a node without ballast runs as well, until the disk is full.
    fn make_ballast(&mut self) {
        let wanted = self.options.ballast_bytes;
        let has_room = |disk: &dyn Disk| {
            let free = disk.free_bytes()?;
            Ok::<_, DiskError>(
                disk.ballast_bytes()? < wanted && free > self.options.reserve_bytes_min + 2 * wanted,
            )
        };
        if wanted > 0 && has_room(&*self.disk).unwrap_or(false) {
            let _ = self.disk.set_ballast(wanted);
        }
    }
}

fn record<T: for<'de> Deserialize<'de>>(
    disk: &dyn Disk,
    key: &[u8],
    value: Option<&bytes::Bytes>,
) -> Result<T, Trouble> {
    records::decode(key, value).map_err(|error| match error {
        RecordError::Future { version, .. } => Trouble::Refused(
            DiskError::Future {
                place: format!("the database of {}", disk.place()),
                found: u32::from(version),
                known: u32::from(RECORD_VERSION),
            }
            .into(),
        ),
        RecordError::Missing { .. } | RecordError::Damaged { .. } => Trouble::Damaged(error.to_string()),
    })
}

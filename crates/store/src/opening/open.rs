//! Opening a data directory, or making one.

use quorate_core::{Boot, Incarnation, Position};

use super::contents::Unusable;
use super::peek::peek;
use super::report::{GroupReport, OpenNotice, OpenReport};
use super::state::{Contents, Opening};
use crate::anchor::{Anchor, AnchorDamage, DatabaseStatus, IdentityRecord};
use crate::disk::{Disk, DiskError};
use crate::error::OpenError;
use crate::options::StoreOptions;
use crate::space::ByteCount;
use crate::store::{Identity, Store};

/// Files named in one notice, at most.
const UNKNOWN_NAMED_MAX: usize = 8;

impl Store {
    /// Opens a data directory, or makes one. The order of steps is that of the module `opening`.
    pub fn open(mut disk: Box<dyn Disk>, options: StoreOptions) -> Result<(Self, OpenReport), OpenError> {
        let mut notices = Vec::new();
        check_volume(&*disk, &options)?;
        free_ballast(&mut *disk, &options, &mut notices)?;
        let first_start = peek(&*disk)?.is_none();
        // The anchor is read once: two reads might differ, and damage that only one of them saw would go unreported.
        let (anchor, damage) = if first_start {
            (create_anchor(&mut *disk, &options)?, AnchorDamage::default())
        } else {
            Anchor::load(&*disk)?
        };
        if anchor.identity.node != options.node {
            let (found, expected) = (anchor.identity.node, options.node);
            return Err(OpenError::OtherNode { place: disk.place(), found, expected });
        }
        let boot_before = anchor.identity.boot;
        let mut opening = Opening { disk, options, anchor, damage, boot_before, notices };
        let mut contents = opening.open_database()?;
        opening.settle(&mut contents)?;
        opening.make_ballast();
        Ok(opening.finish(contents, first_start))
    }
}

/// A volume that can never have its reserve free would take no entry, for as long as the node runs. If it cannot be measured, it is
/// not refused.
fn check_volume(disk: &dyn Disk, options: &StoreOptions) -> Result<(), OpenError> {
    let Ok(total_bytes) = disk.total_bytes() else { return Ok(()) };
    let reserve_bytes = options.reserve_bytes(total_bytes);
    if options.reserve_bytes_min.is_some() && total_bytes <= reserve_bytes {
        let (total, reserve) = (ByteCount(total_bytes), ByteCount(reserve_bytes));
        return Err(OpenError::SmallVolume { place: disk.place(), total, reserve });
    }
    Ok(())
}

/// When the disk is full at the start, deletes the ballast, which exists only for that (`safety.md` 16).
fn free_ballast(
    disk: &mut dyn Disk,
    options: &StoreOptions,
    notices: &mut Vec<OpenNotice>,
) -> Result<(), OpenError> {
    let bytes = disk.ballast_bytes()?;
    // If free space cannot be measured nothing is deleted: a gauge refuses no start.
    let is_full = || {
        let reserve_bytes = options.reserve_bytes(disk.total_bytes()?);
        Ok::<_, DiskError>(disk.free_bytes()? < reserve_bytes)
    };
    if bytes > 0 && is_full().unwrap_or(false) {
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
        // Zero means "unknown".
        incarnation: Incarnation(options.entropy.max(1)),
        boot: Boot::ZERO,
        status: DatabaseStatus::Initialising,
        database: 0,
        groups: 0,
        starts: Vec::new(),
    };
    Ok(Anchor::create(disk, identity)?)
}

impl Opening {
    /// Opens the database, or replaces it; returns what it holds.
    fn open_database(&mut self) -> Result<Contents, OpenError> {
        match self.anchor.identity.status {
            DatabaseStatus::Initialising => self.initialise(),
            DatabaseStatus::Rebuilding => self.rebuild("an earlier replacement was interrupted".to_owned()),
            DatabaseStatus::Ready => match self.read_contents() {
                Ok(contents) => {
                    self.report_contents(&contents);
                    // Every check has passed. A database of a later boot stands beside a damaged identity.
                    self.anchor.write_again(&mut *self.disk)?;
                    self.begin(self.boot_before.max(contents.boot).next());
                    self.anchor.write_identity(&mut *self.disk)?;
                    Ok(contents)
                }
                Err(Unusable::Refused(error)) => Err(error),
                Err(Unusable::Damaged(detail)) => self.replace_damaged(detail),
            },
        }
    }

    /// Counts this start. Written with the identity, before anyone hears of it.
    pub(super) fn begin(&mut self, boot: Boot) {
        // Zero means "not told".
        self.anchor.identity.begin(boot, self.options.entropy | 1);
    }

    fn report_contents(&mut self, contents: &Contents) {
        let files = self.disk.unknown_files();
        if !files.is_empty() {
            let count = files.len();
            let first = files.into_iter().take(UNKNOWN_NAMED_MAX).collect();
            self.notices.push(OpenNotice::UnknownFiles { first, count });
        }
        if let Some(database) = contents.put_back {
            let proven = contents.groups.keys().all(|group| contents.proven.contains(group));
            self.notices.push(OpenNotice::PutBack { database, proven });
        }
    }

    /// Best effort: a node without ballast works as well, until the disk is full.
    fn make_ballast(&mut self) {
        let wanted = |disk: &dyn Disk| {
            let (free, total) = (disk.free_bytes()?, disk.total_bytes()?);
            let wanted = self.options.ballast_bytes(total);
            let has_room = free > self.options.reserve_bytes(total) + 2 * wanted;
            Ok::<_, DiskError>((has_room && disk.ballast_bytes()? < wanted).then_some(wanted))
        };
        if let Ok(Some(wanted)) = wanted(&*self.disk) {
            let _ = self.disk.set_ballast(wanted);
        }
    }

    fn finish(self, contents: Contents, first_start: bool) -> (Store, OpenReport) {
        let identity = Identity::from(&self.anchor.identity);
        let mut notices = self.notices;
        let groups = self.anchor.groups.iter().map(|cell| GroupReport {
            group: cell.record.group,
            name: cell.record.name.clone(),
            last: contents.groups.get(&cell.record.group).map_or(Position::ORIGIN, |group| group.last),
            recovering: cell.record.hard.is_recovering(),
        });
        let groups = groups.collect();
        let store = Store {
            disk: self.disk,
            options: self.options,
            anchor: self.anchor,
            identity: identity.clone(),
            groups: contents.groups,
            peers: contents.peers,
            failed: false,
        };
        if let Some(space) = store.space().ok().filter(|space| space.is_full()) {
            notices.push(OpenNotice::NoRoom(space));
        }
        (store, OpenReport { identity, first_start, groups, notices })
    }
}

//! The snapshot files of a node, by group and position.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{GroupId, Hash, Index, Position};

use super::error::SnapshotError;
use super::file::SnapshotFile;
use super::header::{SnapshotHead, SnapshotInfo};
use super::name::Name;
use super::opened::Opened;
use super::receive::Incoming;
use super::room::Room;
use super::stored::StoredFile;
use super::writer::SnapshotWriter;
use crate::disk::SnapshotDisk;
use crate::options::StoreOptions;

/// The snapshot files of a node. Clones share them.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn SnapshotDisk>,
    room: Room,
    /// Those of another cluster are not used; `None` uses any.
    cluster: Option<Hash>,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots").finish_non_exhaustive()
    }
}

/// The published snapshots of a group.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// Those whose header and end record are whole, the newest first.
    pub found: Vec<SnapshotInfo>,
    /// Those that are not, the newest first. They are left where they are.
    pub damaged: Vec<DamagedSnapshot>,
}

/// A published snapshot that cannot be used.
#[derive(Debug)]
pub struct DamagedSnapshot {
    /// Its index, by its name.
    pub index: Index,
    /// What is wrong with it.
    pub error: SnapshotError,
}

impl Snapshots {
    /// Of the files on this disk, whatever cluster they are of and however full it is.
    pub fn new(disk: Arc<dyn SnapshotDisk>) -> Self {
        Self { room: Room::new(&disk, None), disk, cluster: None }
    }

    /// Those of a node: none of another cluster is used, and the disk's reserve stays free.
    pub(crate) fn of_node(disk: Arc<dyn SnapshotDisk>, cluster: Hash, options: StoreOptions) -> Self {
        Self { room: Room::new(&disk, Some(options)), disk, cluster: Some(cluster) }
    }

    /// The published snapshots of a group. They are there after any crash: the directory is synced first, for an earlier process may
    /// have ended between a rename and its sync, and so may a publication that failed.
    pub fn list(&self, group: GroupId) -> Result<SnapshotList, SnapshotError> {
        self.disk.sync_names()?;
        let mut list = SnapshotList::default();
        for name in self.names()? {
            let Name::Whole { group: of, index } = name else { continue };
            if of != group {
                continue;
            }
            match self.open_named(group, index) {
                Ok(opened) => list.found.push(opened.info()),
                // Removed since its name was read.
                Err(SnapshotError::Gone { .. }) => {}
                Err(error) => list.damaged.push(DamagedSnapshot { index, error }),
            }
        }
        list.found.sort_unstable_by_key(|info| std::cmp::Reverse(info.head.at.index));
        list.damaged.sort_unstable_by_key(|damaged| std::cmp::Reverse(damaged.index));
        Ok(list)
    }

    /// Begins to write a snapshot.
    pub fn begin(&self, head: SnapshotHead) -> Result<SnapshotWriter, SnapshotError> {
        let (group, index) = (head.group, head.at.index);
        let mut number = 0;
        // Another writer's part, or an earlier process's, stays its own.
        while self.disk.length(&Name::Begun { group, index, number }.text())?.is_some() {
            number += 1;
        }
        SnapshotWriter::begin(self.file(Name::Begun { group, index, number }), head, self.room.clone())
    }

    /// Opens a published snapshot; [`SnapshotError::Gone`] if there is none of exactly this position.
    pub fn open(&self, group: GroupId, at: Position) -> Result<SnapshotFile, SnapshotError> {
        let opened = self.open_named(group, at.index)?;
        if opened.header.head.at != at {
            return Err(opened.file.gone());
        }
        Ok(SnapshotFile::new(opened))
    }

    /// The bytes of a published file.
    pub fn file_bytes(&self, group: GroupId, at: Position) -> Result<u64, SnapshotError> {
        Ok(self.open(group, at)?.info().bytes)
    }

    /// Bytes of a published file, as [`SnapshotFile::read_raw`] gives them. A file that was replaced between two calls gives pieces
    /// of both, which does not verify where it is received.
    pub fn read_raw(
        &self,
        group: GroupId,
        at: Position,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Bytes, SnapshotError> {
        self.open(group, at)?.read_raw(offset, bytes_max)
    }

    /// Begins to receive a snapshot of this many bytes, or continues with what is there of it. What is there of others of the group
    /// is removed: one is received at a time.
    pub fn receive(&self, group: GroupId, at: Position, file_bytes: u64) -> Result<Incoming, SnapshotError> {
        let wanted = Name::Received { group, at, bytes: file_bytes };
        self.remove_where(|name| {
            matches!(name, Name::Received { group: of, .. } if of == group) && name != wanted
        })?;
        Incoming::resume(self.file(wanted), (group, at), file_bytes, (self.room.clone(), self.cluster))
    }

    /// Takes a published snapshot that cannot be read out of the way, so that nothing counts on it. It is kept under another name, to be
    /// looked at; the one that was kept before it goes.
    pub fn set_aside(&self, group: GroupId, index: Index) -> Result<(), SnapshotError> {
        self.remove_where(|name| matches!(name, Name::Aside { group: of, .. } if of == group))?;
        self.file(Name::Whole { group, index }).publish(&Name::Aside { group, index }.text())
    }

    /// Removes the whole snapshots of a group but the `newest` newest and those at the positions `pinned`, oldest first. Damaged ones
    /// neither count nor go. Returns the positions of those removed.
    pub fn retain(
        &self,
        group: GroupId,
        newest: usize,
        pinned: &[Position],
    ) -> Result<Vec<Position>, SnapshotError> {
        let found = self.list(group)?.found;
        let old = found.iter().skip(newest).map(|info| info.head.at).filter(|at| !pinned.contains(at));
        let mut removed: Vec<Position> = old.collect();
        removed.reverse();
        // What was received of one that is of no use any more.
        if let Some(newest) = found.first() {
            let last = newest.head.at.index;
            self.remove_where(
                |name| matches!(name, Name::Received { group: of, at, .. } if of == group && at.index <= last),
            )?;
        }
        for at in &removed {
            self.disk.remove(&Name::Whole { group, index: at.index }.text())?;
        }
        Ok(removed)
    }

    /// Removes what writers of an earlier process left of a group. A writer of this process would lose its file, and fail.
    pub fn remove_parts(&self, group: GroupId) -> Result<(), SnapshotError> {
        self.remove_where(|name| matches!(name, Name::Begun { group: of, .. } if of == group))
    }

    fn remove_where(&self, is_old: impl Fn(Name) -> bool) -> Result<(), SnapshotError> {
        for name in self.names()?.into_iter().filter(|name| is_old(*name)) {
            self.disk.remove(&name.text())?;
        }
        Ok(())
    }

    /// The names that are not a stranger's.
    fn names(&self) -> Result<Vec<Name>, SnapshotError> {
        Ok(self.disk.list()?.iter().filter_map(|name| Name::parse(name)).collect())
    }

    fn file(&self, name: Name) -> StoredFile {
        StoredFile::new(&self.disk, name.text())
    }

    /// The file of this name, if that is what is in it.
    fn open_named(&self, group: GroupId, index: Index) -> Result<Opened, SnapshotError> {
        let opened = Opened::open(self.file(Name::Whole { group, index }))?;
        let head = &opened.header.head;
        if head.group != group
            || head.at.index != index
            || self.cluster.is_some_and(|own| own != head.cluster)
        {
            let (of, at) = (head.group, head.at.log_id());
            let detail = format!("it is of group {of} at {at}, of cluster {}", head.cluster);
            return Err(SnapshotError::Other { place: opened.file.place(), detail });
        }
        Ok(opened)
    }
}

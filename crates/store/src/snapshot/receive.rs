//! A snapshot file that comes from another node, piece by piece. What was received stays there when a link or the process ends, and
//! is continued when the same snapshot is received again.

use quorate_core::{GroupId, Hash, Position};

use super::error::SnapshotError;
use super::file::SnapshotFile;
use super::header::{FIXED, HEADER_BYTES_MAX, Header, SnapshotHead, SnapshotInfo};
use super::name::Name;
use super::opened::Opened;
use super::record::{RECORD_HEAD, Record, number, read_record};
use super::room::Room;
use super::stored::StoredFile;
use super::writer::SYNC_BYTES;

/// A snapshot that is being received. Dropped, it leaves its part, which [`Snapshots::receive`](super::Snapshots::receive)
/// continues.
pub struct Incoming {
    part: StoredFile,
    room: Room,
    /// `None` takes one of any cluster.
    cluster: Option<Hash>,
    group: GroupId,
    at: Position,
    /// Bytes of the file, as announced.
    file_bytes: u64,
    /// Bytes that are there.
    offset: u64,
    /// Bytes since the last sync.
    unsynced: u64,
    /// The header was read, and is that of the snapshot that was announced.
    begins_well: bool,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("at", &self.at)
            .field("offset", &self.offset)
            .field("file_bytes", &self.file_bytes)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// Continues a part as far as it is whole, which is read for it, or begins. A snapshot for which there is no room is not begun:
    /// its length is what a peer says.
    pub(super) fn resume(
        part: StoredFile,
        (group, at): (GroupId, Position),
        file_bytes: u64,
        (room, cluster): (Room, Option<Hash>),
    ) -> Result<Self, SnapshotError> {
        let offset = match part.disk.length(&part.name)? {
            None => 0,
            Some(length) => {
                let whole = whole_prefix(&part, length, file_bytes)?;
                if whole < length {
                    part.truncate(whole)?;
                }
                whole
            }
        };
        let (unsynced, begins_well) = (offset, false);
        let begun = Self { part, room, cluster, group, at, file_bytes, offset, unsynced, begins_well };
        begun.check_room(file_bytes.saturating_sub(offset))?;
        Ok(begun)
    }

    /// Where the snapshot ends.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Where the next bytes belong.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file, as announced.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Whether what is there is of the file with this [mark](super::SnapshotFile::mark), or nothing is there. Too little to tell is not.
    pub fn is_of(&self, mark: &[u8]) -> Result<bool, SnapshotError> {
        if self.offset == 0 {
            return Ok(true);
        }
        Ok(unless_damaged(Header::read(&self.part))?.is_some_and(|header| header.sum == *mark))
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.offset == self.file_bytes
    }

    /// Adds bytes at [`offset`](Self::offset), and nowhere else; no more than were announced. After an error the offset is as before;
    /// after one of [room](SnapshotError::is_no_room) what was received is gone, for it took the room; and after one of
    /// [damage](SnapshotError::is_damage), for what begins like that is of no use, however much of it follows.
    pub fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        let given = number(bytes.len());
        if offset != self.offset || given > self.file_bytes - self.offset {
            return Err(SnapshotError::Order {
                place: self.part.place(),
                expected: self.offset,
                bytes: self.file_bytes,
                offset,
                given,
            });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.check_room(given)?;
        self.part.write(offset, bytes).inspect_err(|error| {
            if error.is_no_room() {
                self.part.discard();
            }
        })?;
        self.unsynced += given;
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        self.offset += given;
        self.check_beginning()
    }

    /// Reads the header as soon as it is there: a file that this build cannot read, or that is another one, is not received to its end.
    fn check_beginning(&mut self) -> Result<(), SnapshotError> {
        if self.begins_well {
            return Ok(());
        }
        let mut beginning = [0; FIXED];
        let there = usize::try_from(self.offset).map_or(FIXED, |offset| offset.min(FIXED));
        self.part.read(0, &mut beginning[..there])?;
        let Some(bytes) = Header::bytes_of(&beginning[..there]) else { return Ok(()) };
        // One that claims too much is found out at once.
        if self.offset < bytes && bytes <= HEADER_BYTES_MAX && self.offset < self.file_bytes {
            return Ok(());
        }
        let checked = Header::read(&self.part).and_then(|header| self.is_announced(&header.head));
        if checked.as_ref().is_err_and(SnapshotError::is_damage) {
            self.part.discard();
            self.offset = 0;
        }
        self.begins_well = checked.is_ok();
        checked
    }

    /// Whether this is the snapshot that was announced, and of this node's cluster.
    fn is_announced(&self, head: &SnapshotHead) -> Result<(), SnapshotError> {
        let is_strange = self.cluster.is_some_and(|own| own != head.cluster);
        if is_strange || head.group != self.group || head.at != self.at {
            let (group, at, cluster) = (head.group, head.at.log_id(), head.cluster);
            let detail = format!("it is of group {group} at {at}, of cluster {cluster}");
            return Err(SnapshotError::Other { place: self.part.place(), detail });
        }
        Ok(())
    }

    /// Reads and verifies all of it, compares it with what was announced, syncs it and gives it its own name. When this answers `Ok`,
    /// the snapshot is there after any crash. A part that is damaged, or another snapshot, is removed; one that is short stays.
    pub fn finish(mut self) -> Result<SnapshotInfo, SnapshotError> {
        if !self.is_complete() {
            let detail = format!("{} of {} bytes", self.offset, self.file_bytes);
            return Err(SnapshotError::Unfinished { place: self.part.place(), detail });
        }
        let checked = self.check().inspect_err(|error| {
            if error.is_damage() {
                self.part.discard();
            }
        })?;
        self.sync()?;
        self.part.publish(&Name::Whole { group: self.group, index: self.at.index }.text())?;
        Ok(checked)
    }

    /// Removes what was received.
    pub fn abandon(self) {
        self.part.discard();
    }

    fn check_room(&self, more: u64) -> Result<(), SnapshotError> {
        self.room.check(&self.part.name, more).inspect_err(|_| self.part.discard())
    }

    fn check(&self) -> Result<SnapshotInfo, SnapshotError> {
        let info = SnapshotFile::new(Opened::open(self.part.clone())?).verify()?;
        self.is_announced(&info.head)?;
        Ok(info)
    }

    /// After a failed sync the system may take what it has not written for written: the part is not continued.
    fn sync(&mut self) -> Result<(), SnapshotError> {
        self.part.sync().inspect_err(|_| self.part.discard())?;
        self.unsynced = 0;
        Ok(())
    }
}

/// How many bytes of a part are whole records. A crash may have left anything behind them.
fn whole_prefix(part: &StoredFile, length: u64, file_bytes: u64) -> Result<u64, SnapshotError> {
    let Some(header) = unless_damaged(Header::read(part))? else { return Ok(0) };
    let (mut offset, mut chunk, mut buffer) = (header.bytes, 0, Vec::new());
    while offset < length {
        let record = read_record(part, header.sum, chunk, offset, &mut buffer);
        match unless_damaged(record)? {
            None => break,
            Some(Record::Chunk) => {
                offset += number(RECORD_HEAD + buffer.len());
                chunk += 1;
            }
            Some(Record::End(_, end)) => {
                offset = end;
                break;
            }
        }
    }
    Ok(if offset > file_bytes { 0 } else { offset })
}

/// Where a part is damaged it ends; a disk that cannot be read ends the attempt.
fn unless_damaged<T>(read: Result<T, SnapshotError>) -> Result<Option<T>, SnapshotError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

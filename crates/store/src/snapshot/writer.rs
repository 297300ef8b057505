//! Writing a snapshot file: into a part, which is renamed when all of it is on disk.

use std::io::{self, Write};

use super::error::SnapshotError;
use super::header::{Header, SnapshotHead, SnapshotInfo};
use super::name::Name;
use super::record::{CHUNK_BYTES_MAX, End, RECORD_HEAD, number, seal_chunk};
use super::room::Room;
use super::stored::StoredFile;

/// Bytes that are written between two syncs, at most: one sync of a gigabyte would hold up those of the log.
pub(super) const SYNC_BYTES: u64 = 16 << 20;

/// A part, removed when it is dropped.
struct Part {
    file: StoredFile,
    published: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.published {
            self.file.discard();
        }
    }
}

/// Takes the bytes of a state and writes them in chunks. Dropped, it leaves nothing.
pub struct SnapshotWriter {
    part: Part,
    room: Room,
    header: Header,
    /// Head and bytes of the chunk that is being filled.
    record: Vec<u8>,
    /// Where the next record goes.
    offset: u64,
    chunks: u64,
    payload_bytes: u64,
    hasher: blake3::Hasher,
    /// Bytes since the last sync.
    unsynced: u64,
    failed: bool,
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl SnapshotWriter {
    /// Makes the part, which must not be there, with its header.
    pub(super) fn begin(file: StoredFile, head: SnapshotHead, room: Room) -> Result<Self, SnapshotError> {
        let (header, bytes) = Header::encode(head)?;
        room.check(&file.name, number(bytes.len()))?;
        let part = Part { file, published: false };
        part.file.write(0, &bytes)?;
        let mut record = Vec::with_capacity(RECORD_HEAD + CHUNK_BYTES_MAX);
        record.resize(RECORD_HEAD, 0);
        Ok(Self {
            part,
            room,
            offset: header.bytes,
            unsynced: header.bytes,
            header,
            record,
            chunks: 0,
            payload_bytes: 0,
            hasher: blake3::Hasher::new(),
            failed: false,
        })
    }

    /// Bytes of the state that were taken.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Writes the last chunk and the end, and syncs the file. It still has the name of a part.
    pub fn finish(mut self) -> Result<Written, SnapshotError> {
        self.write_chunk()?;
        let hash = *self.hasher.finalize().as_bytes();
        let end = End { payload_bytes: self.payload_bytes, chunks: self.chunks, hash };
        let bytes = end.encode(self.header.sum);
        self.part.file.write(self.offset, &bytes)?;
        self.part.file.sync()?;
        let (bytes, payload_bytes) = (self.offset + number(bytes.len()), self.payload_bytes);
        Ok(Written { part: self.part, info: SnapshotInfo { head: self.header.head, bytes, payload_bytes } })
    }

    /// Writes the chunk that is being filled, if it has a byte.
    fn write_chunk(&mut self) -> Result<(), SnapshotError> {
        if self.failed {
            let detail = "an earlier write failed".to_owned();
            return Err(SnapshotError::Unfinished { place: self.part.file.place(), detail });
        }
        if self.record.len() == RECORD_HEAD {
            return Ok(());
        }
        self.failed = true;
        self.room.check(&self.part.file.name, number(self.record.len()))?;
        seal_chunk(self.header.sum, self.chunks, &mut self.record);
        self.part.file.write(self.offset, &self.record)?;
        self.offset += number(self.record.len());
        self.unsynced += number(self.record.len());
        if self.unsynced >= SYNC_BYTES {
            self.part.file.sync()?;
            self.unsynced = 0;
        }
        self.chunks += 1;
        self.record.truncate(RECORD_HEAD);
        self.failed = false;
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = RECORD_HEAD + CHUNK_BYTES_MAX - self.record.len();
        if room == 0 || self.failed {
            self.write_chunk()?;
            return self.write(bytes);
        }
        let taken = &bytes[..bytes.len().min(room)];
        self.record.extend_from_slice(taken);
        self.hasher.update(taken);
        self.payload_bytes += number(taken.len());
        Ok(taken.len())
    }

    /// A chunk is written when it is full: all of them but the last are.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A snapshot file that is whole and synced, and not published. Dropped, it leaves nothing.
pub struct Written {
    part: Part,
    info: SnapshotInfo,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Written {
    /// What is in it.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// Gives it its own name. When this answers `Ok`, the snapshot is there after any crash. After an error it may be there or not.
    pub fn publish(mut self) -> Result<SnapshotInfo, SnapshotError> {
        let name = Name::Whole { group: self.info.head.group, index: self.info.head.at.index };
        self.part.file.publish(&name.text())?;
        self.part.published = true;
        Ok(self.info.clone())
    }
}

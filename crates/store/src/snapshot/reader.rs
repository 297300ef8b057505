//! The state in a snapshot file, verified as it is read.

use std::io::{self, Read};

use super::error::SnapshotError;
use super::opened::Opened;
use super::record::{CHUNK_BYTES_MAX, RECORD_HEAD, Record, number, read_record};

/// Reads the state in a snapshot file. Each chunk is verified before its bytes are handed out, and so is the whole before those of
/// the last chunk: a reader that stops where the state ends has read a state that is whole. Its errors are [`SnapshotError`]s.
pub struct SnapshotPayload {
    of: Opened,
    /// Where the next record is.
    offset: u64,
    /// Chunks that were read.
    chunks: u64,
    hasher: blake3::Hasher,
    /// The chunk that is being handed out.
    buffer: Vec<u8>,
    handed_out: usize,
    /// The end record was reached, and everything matches it.
    whole: bool,
    failed: bool,
}

impl std::fmt::Debug for SnapshotPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotPayload").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl SnapshotPayload {
    pub(super) fn new(of: Opened) -> Self {
        Self {
            offset: of.header.bytes,
            of,
            chunks: 0,
            hasher: blake3::Hasher::new(),
            buffer: Vec::new(),
            handed_out: 0,
            whole: false,
            failed: false,
        }
    }

    /// The bytes of the state in all.
    #[expect(clippy::len_without_is_empty, reason = "a state without bytes is read as any other")]
    pub fn len(&self) -> u64 {
        self.of.end.payload_bytes
    }

    /// Puts the next chunk into the buffer; nothing at the end.
    pub(super) fn next_chunk(&mut self) -> Result<&[u8], SnapshotError> {
        if self.failed {
            return Err(self.of.file.damaged(self.offset, "it could not be read before".to_owned()));
        }
        self.failed = true;
        if !self.whole && self.chunks < self.of.end.chunks {
            self.read_chunk()?;
        } else {
            self.buffer.clear();
        }
        if !self.whole && self.chunks == self.of.end.chunks {
            self.check_end()?;
        }
        self.failed = false;
        self.handed_out = 0;
        Ok(&self.buffer)
    }

    fn read_chunk(&mut self) -> Result<(), SnapshotError> {
        let file = &self.of.file;
        let record = read_record(file, self.of.header.sum, self.chunks, self.offset, &mut self.buffer)?;
        if let Record::End(..) = record {
            return Err(file.damaged(self.offset, format!("it ends before chunk {}", self.chunks)));
        }
        self.chunks += 1;
        if self.chunks < self.of.end.chunks && self.buffer.len() != CHUNK_BYTES_MAX {
            return Err(file.damaged(self.offset, "a chunk before the last is short".to_owned()));
        }
        self.hasher.update(&self.buffer);
        self.offset += number(RECORD_HEAD + self.buffer.len());
        Ok(())
    }

    /// What was read is what the end record says, and the end is where the file ends.
    fn check_end(&mut self) -> Result<(), SnapshotError> {
        let (file, end) = (&self.of.file, self.of.end);
        let mut none = Vec::new();
        match read_record(file, self.of.header.sum, self.chunks, self.offset, &mut none)? {
            Record::End(found, at) if found == end && at == self.of.bytes && file.length()? == at => {}
            Record::End(..) | Record::Chunk => {
                return Err(file.damaged(self.offset, "it does not end where its end record says".to_owned()));
            }
        }
        if *self.hasher.finalize().as_bytes() != end.hash {
            return Err(file.damaged(self.offset, "the hash of its state does not match".to_owned()));
        }
        self.whole = true;
        Ok(())
    }
}

impl Read for SnapshotPayload {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed_out == self.buffer.len() && !out.is_empty() {
            self.next_chunk()?;
        }
        let rest = &self.buffer[self.handed_out..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.handed_out += count;
        Ok(count)
    }
}

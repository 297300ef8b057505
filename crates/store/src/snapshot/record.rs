//! The records behind the header: chunks of the state, and the end.
//!
//! Each is a length, a checksum over the header's checksum, the record's number and its bytes, and the bytes. So a record that is
//! rotten, of another file or in another place is detected before its bytes are used.

use super::error::SnapshotError;
use super::stored::StoredFile;

/// The bytes of the state in one chunk, at most: all but the last have as many.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Bytes of a checksum.
pub(super) const CHECKSUM: usize = 8;
/// Length and checksum.
pub(super) const RECORD_HEAD: usize = 4 + CHECKSUM;
/// Payload bytes, chunks, hash of the payload.
const END_BODY: usize = 8 + 8 + 32;
/// The whole end record.
pub(super) const END_BYTES: usize = RECORD_HEAD + END_BODY;
/// The end's number in its checksum: no chunk has it.
const END_NUMBER: u64 = u64::MAX;

pub(super) type Checksum = [u8; CHECKSUM];

/// The first eight bytes of blake3.
pub(super) fn checksum(parts: &[&[u8]]) -> Checksum {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().as_bytes()[..CHECKSUM].try_into().expect("eight of thirty-two")
}

/// A length in memory as one in a file.
pub(super) fn number(length: usize) -> u64 {
    length as u64
}

/// The number that four bytes are.
pub(super) fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// Fills the head of a chunk whose bytes follow it in `record`.
pub(super) fn seal_chunk(header: Checksum, chunk: u64, record: &mut [u8]) {
    let (head, bytes) = record.split_at_mut(RECORD_HEAD);
    let length = u32::try_from(bytes.len()).expect("a chunk is small");
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..].copy_from_slice(&checksum(&[&header, &chunk.to_be_bytes(), bytes]));
}

/// A record of a file, as it was read.
pub(super) enum Record {
    /// Its bytes are in the buffer.
    Chunk,
    /// The end, and where it ends.
    End(End, u64),
}

/// Reads the record at `offset`, which is a chunk of number `chunk` or the end. Bytes of a chunk are put into `buffer`.
pub(super) fn read_record(
    file: &StoredFile,
    header: Checksum,
    chunk: u64,
    offset: u64,
    buffer: &mut Vec<u8>,
) -> Result<Record, SnapshotError> {
    let mut head = [0; RECORD_HEAD];
    file.read(offset, &mut head)?;
    let length = word(&head) as usize;
    if length == 0 {
        return Ok(Record::End(End::read(file, header, offset)?, offset + number(END_BYTES)));
    }
    if length > CHUNK_BYTES_MAX {
        return Err(file.damaged(offset, format!("chunk {chunk} claims {length} bytes")));
    }
    buffer.resize(length, 0);
    file.read(offset + number(RECORD_HEAD), buffer)?;
    if head[4..] != checksum(&[&header, &chunk.to_be_bytes(), buffer]) {
        return Err(file.damaged(offset, format!("the checksum of chunk {chunk} does not match")));
    }
    Ok(Record::Chunk)
}

/// The end record: what the whole has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) payload_bytes: u64,
    pub(super) chunks: u64,
    pub(super) hash: [u8; 32],
}

impl End {
    pub(super) fn encode(&self, header: Checksum) -> Vec<u8> {
        let body = [&self.payload_bytes.to_be_bytes()[..], &self.chunks.to_be_bytes(), &self.hash].concat();
        let sum = checksum(&[&header, &END_NUMBER.to_be_bytes(), &body]);
        [&[0; 4][..], &sum, &body].concat()
    }

    /// Reads the end record at `offset`.
    pub(super) fn read(file: &StoredFile, header: Checksum, offset: u64) -> Result<Self, SnapshotError> {
        let mut bytes = [0; END_BYTES];
        file.read(offset, &mut bytes)?;
        let body = &bytes[RECORD_HEAD..];
        let sum = checksum(&[&header, &END_NUMBER.to_be_bytes(), body]);
        if bytes[..4] != [0; 4] || bytes[4..RECORD_HEAD] != sum {
            return Err(file.damaged(offset, "its end record is not whole".to_owned()));
        }
        let hash = body[16..].try_into().expect("thirty-two bytes");
        Ok(Self { payload_bytes: long(body), chunks: long(&body[8..]), hash })
    }

    /// The bytes of the file that ends like this; `None` for more than there can be.
    pub(super) fn file_bytes(&self, header_bytes: u64) -> Option<u64> {
        let heads = self.chunks.checked_mul(number(RECORD_HEAD))?;
        heads.checked_add(self.payload_bytes)?.checked_add(header_bytes)?.checked_add(number(END_BYTES))
    }
}

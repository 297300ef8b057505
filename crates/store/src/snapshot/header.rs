//! The header of a snapshot file: whose state it is, and at which position of the log.

use quorate_core::{GroupId, Hash, Membership, Position};
use serde::{Deserialize, Serialize};

use super::error::SnapshotError;
use super::record::{CHECKSUM, CHUNK_BYTES_MAX, Checksum, checksum, number, word};
use super::stored::StoredFile;

const MAGIC: &[u8; 4] = b"QRSF";
/// The version this build writes.
const VERSION: u8 = 1;
/// Magic, version, length of the record.
pub(super) const FIXED: usize = 9;
/// The longest record in a header.
const HEAD_BYTES_MAX: usize = CHUNK_BYTES_MAX;
/// The longest header.
pub(super) const HEADER_BYTES_MAX: u64 = (FIXED + HEAD_BYTES_MAX + CHECKSUM) as u64;

/// Whose state a snapshot is, and at which position of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// The cluster.
    pub cluster: Hash,
    /// The group's number.
    pub group: GroupId,
    /// The group's name.
    pub name: String,
    /// The last entry that is in it.
    pub at: Position,
    /// The time stamp of that entry.
    pub time_ms: u64,
    /// The membership in force at that entry.
    pub membership: Membership,
    /// The version of the state machine.
    pub machine: u32,
    /// When it was taken, in milliseconds since 1970 by the clock of the node that took it.
    pub made_ms: u64,
}

/// A snapshot file, whose header and end record are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// What is in it.
    pub head: SnapshotHead,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the state inside.
    pub payload_bytes: u64,
}

/// A header as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) head: SnapshotHead,
    /// Ties every record of the file to its header.
    pub(super) sum: Checksum,
    /// Bytes of the header: where the first chunk begins.
    pub(super) bytes: u64,
}

impl Header {
    /// The bytes of a header, and what they hold.
    pub(super) fn encode(head: SnapshotHead) -> Result<(Self, Vec<u8>), SnapshotError> {
        let record = rmp_serde::to_vec_named(&head).expect("only maps, sets, strings and numbers");
        if record.len() > HEAD_BYTES_MAX {
            let (index, bytes) = (head.at.index, record.len());
            return Err(SnapshotError::LongHeader { index, bytes, bytes_max: HEAD_BYTES_MAX });
        }
        let length = u32::try_from(record.len()).expect("capped above");
        let mut bytes = [&MAGIC[..], &[VERSION], &length.to_be_bytes(), &record].concat();
        let sum = checksum(&[&bytes]);
        bytes.extend(sum);
        Ok((Self { head, sum, bytes: bytes.len() as u64 }, bytes))
    }

    /// Bytes of the header of a file that begins with these; `None` while there are too few to say.
    pub(super) fn bytes_of(beginning: &[u8]) -> Option<u64> {
        let fixed = beginning.get(..FIXED)?;
        Some(number(FIXED + CHECKSUM) + u64::from(word(&fixed[5..])))
    }

    /// Reads the header of a file.
    pub(super) fn read(file: &StoredFile) -> Result<Self, SnapshotError> {
        let mut fixed = [0; FIXED];
        file.read(0, &mut fixed)?;
        if fixed[..4] != *MAGIC {
            return Err(file.damaged(0, "it does not begin as a snapshot does".to_owned()));
        }
        let length = word(&fixed[5..]) as usize;
        if length > HEAD_BYTES_MAX {
            return Err(file.damaged(5, format!("its header claims {length} bytes")));
        }
        let mut rest = vec![0; length + CHECKSUM];
        file.read(number(FIXED), &mut rest)?;
        let (record, found) = rest.split_at(length);
        let sum = checksum(&[&fixed, record]);
        if found != sum {
            return Err(
                file.damaged(number(FIXED + length), "the checksum of its header does not match".to_owned())
            );
        }
        if fixed[4] != VERSION {
            let (found, known) = (u32::from(fixed[4]), u32::from(VERSION));
            return Err(SnapshotError::Future { place: file.place(), found, known });
        }
        let head = rmp_serde::from_slice(record);
        let head = head.map_err(|error| file.damaged(number(FIXED), error.to_string()))?;
        Ok(Self { head, sum, bytes: number(FIXED + length + CHECKSUM) })
    }
}

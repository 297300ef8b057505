//! A snapshot file whose header and end are whole and fit each other and the file's length. What is between them is verified when it
//! is read.

use super::error::SnapshotError;
use super::header::{Header, SnapshotInfo};
use super::record::{END_BYTES, End, number};
use super::stored::StoredFile;

/// A file, with its header and its end record.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) file: StoredFile,
    pub(super) header: Header,
    pub(super) end: End,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

impl Opened {
    pub(super) fn open(file: StoredFile) -> Result<Self, SnapshotError> {
        let bytes = file.length()?;
        let header = Header::read(&file)?;
        let end_at = bytes.checked_sub(number(END_BYTES)).filter(|end| *end >= header.bytes);
        let Some(end_at) = end_at else {
            return Err(file.damaged(bytes, "it ends before its end record".to_owned()));
        };
        let end = End::read(&file, header.sum, end_at)?;
        if end.file_bytes(header.bytes) != Some(bytes) {
            return Err(file.damaged(end_at, format!("its end record is not that of {bytes} bytes")));
        }
        Ok(Self { file, header, end, bytes })
    }

    pub(super) fn info(&self) -> SnapshotInfo {
        let head = self.header.head.clone();
        SnapshotInfo { head, bytes: self.bytes, payload_bytes: self.end.payload_bytes }
    }
}

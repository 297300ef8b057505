//! A snapshot file by its path, without a node and without a store.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::SnapshotError;
use super::file::SnapshotFile;
use super::header::SnapshotInfo;
use super::opened::Opened;
use super::stored::StoredFile;
use crate::disk::{DiskError, SnapshotDirectory, SnapshotDisk};

/// Opens a snapshot file, whatever it is called.
pub fn open_snapshot(path: &Path) -> Result<SnapshotFile, SnapshotError> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(DiskError::io("open", path)(io::ErrorKind::InvalidInput.into()).into());
    };
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let disk: Arc<dyn SnapshotDisk> = Arc::new(SnapshotDirectory::new(directory.to_owned()));
    Ok(SnapshotFile::new(Opened::open(StoredFile::new(&disk, name.to_owned()))?))
}

/// Reads and verifies all of a snapshot file.
pub fn inspect_snapshot(path: &Path) -> Result<SnapshotInfo, SnapshotError> {
    open_snapshot(path)?.verify()
}

//! Files and directories, each change of a directory synced.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::disk::{DiskError, Files};

/// Whether a file exists. One that cannot be examined is not a missing one: the remedy for a missing one would lose data.
pub(super) fn exists(path: &Path) -> Result<bool, DiskError> {
    path.try_exists().map_err(DiskError::io("look at", path))
}

/// Whether a directory holds anything but what a fresh file system has. An empty one may be a place where none is mounted.
pub(super) fn holds_something(path: &Path) -> Result<bool, DiskError> {
    if !path.is_dir() {
        return exists(path);
    }
    for entry in std::fs::read_dir(path).map_err(DiskError::io("list", path))? {
        if entry.map_err(DiskError::io("list", path))?.file_name() != "lost+found" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a directory and its missing ancestors, which no other user can read, and syncs the parent of each. An existing directory's parent is synced, too:
/// the process that made it may have crashed before it did.
pub(super) fn make_directory(path: &Path) -> Result<(), DiskError> {
    let parents =
        path.ancestors().skip(1).map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
    let missing = path.ancestors().take_while(|path| *path != Path::new("") && !path.exists()).count();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(DiskError::io("make", path))?;
    parents.take(missing.max(1)).try_for_each(|parent| match sync_directory(parent) {
        // A directory that can be written but not read cannot be synced by any process.
        Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    })
}

pub(super) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(DiskError::io("sync", path))
}

/// Syncs the names in `path` and in each directory directly below it.
pub(super) fn sync_tree(path: &Path) -> Result<(), DiskError> {
    for entry in std::fs::read_dir(path).map_err(DiskError::io("list", path))? {
        let entry = entry.map_err(DiskError::io("list", path))?.path();
        if entry.is_dir() {
            sync_directory(&entry)?;
        }
    }
    sync_directory(path)
}

/// Opens a file that exists, for reading and writing.
pub(super) fn open(path: &Path) -> Result<File, DiskError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::io("open", path))
}

/// A volume, measured.
pub(super) struct Volume {
    /// Bytes that may still be written.
    pub(super) free_bytes: u64,
    /// Bytes of all of it.
    pub(super) total_bytes: u64,
    /// Its inodes, where it has a table of them.
    pub(super) files: Option<Files>,
}

/// The volume that `directory` is on.
pub(super) fn volume(directory: &Path) -> Result<Volume, DiskError> {
    let found = rustix::fs::statvfs(directory).map_err(io::Error::from);
    let found = found.map_err(DiskError::io("measure", directory))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let files = (found.f_files > 0).then_some(Files { free: found.f_favail, total: found.f_files });
    Ok(Volume { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks), files })
}

/// Allocates a file of `bytes` at `path`, or removes it again if there is no room: a partial ballast would be deleted when it
/// is needed, and free nothing.
pub(super) fn allocate(path: &Path, bytes: u64) -> Result<(), DiskError> {
    let file = File::create(path).map_err(DiskError::io("make", path))?;
    let mode = rustix::fs::FallocateFlags::empty();
    let allocated = rustix::fs::fallocate(&file, mode, 0, bytes).map_err(io::Error::from);
    allocated.map_err(|error| {
        let _ = std::fs::remove_file(path);
        DiskError::io("allocate", path)(error)
    })
}

//! Snapshot files in production: plain files in `<dir>/snapshots/`, opened for each call and named by the caller.
//!
//! The directory is made when the first file is. A file that somebody else put there is listed like any other, and only what is
//! named in a call is changed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::file;
use crate::disk::{DiskError, SnapshotDisk, VolumeBytes};

/// A directory of snapshot files.
#[derive(Debug)]
pub(crate) struct SnapshotDirectory {
    directory: PathBuf,
}

impl SnapshotDirectory {
    /// Of a directory that may not be there yet.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn make(&self) -> Result<(), DiskError> {
        file::make_directory(&self.directory)
    }
}

/// `None` if it failed because the file is missing.
fn if_there<T>(action: &'static str, path: &Path, done: io::Result<T>) -> Result<Option<T>, DiskError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::io(action, path)(error)),
    }
}

impl SnapshotDisk for SnapshotDirectory {
    fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let path = &self.directory;
        let Some(entries) = if_there("list", path, std::fs::read_dir(path))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(DiskError::io("list", path))?;
            let is_file = entry.file_type().map_err(DiskError::io("look at", &entry.path()))?.is_file();
            names.extend(entry.file_name().into_string().ok().filter(|_| is_file));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn length(&self, name: &str) -> Result<Option<u64>, DiskError> {
        let path = self.path(name);
        let found = if_there("look at", &path, std::fs::metadata(&path))?;
        Ok(found.map(|found| found.len()))
    }

    fn read_at(&self, name: &str, offset: u64, bytes: &mut [u8]) -> Result<Option<usize>, DiskError> {
        let path = self.path(name);
        let Some(file) = if_there("open", &path, File::open(&path))? else { return Ok(None) };
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::io("read", &path)(error)),
            }
        }
        Ok(Some(filled))
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.path(name);
        if offset == 0 {
            self.make()?;
        }
        let file = OpenOptions::new().write(true).create(offset == 0).truncate(false).open(&path);
        let file = file.map_err(DiskError::io("open", &path))?;
        file.write_all_at(bytes, offset).map_err(DiskError::io("write", &path))
    }

    fn truncate(&self, name: &str, length: u64) -> Result<(), DiskError> {
        let path = self.path(name);
        file::open(&path)?.set_len(length).map_err(DiskError::io("cut", &path))
    }

    fn sync(&self, name: &str) -> Result<(), DiskError> {
        let path = self.path(name);
        file::open(&path)?.sync_all().map_err(DiskError::io("sync", &path))
    }

    fn publish(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let path = self.path(from);
        std::fs::rename(&path, self.path(to)).map_err(DiskError::io("rename", &path))?;
        file::sync_directory(&self.directory)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let path = self.path(name);
        match if_there("delete", &path, std::fs::remove_file(&path))? {
            Some(()) => file::sync_directory(&self.directory),
            None => Ok(()),
        }
    }

    fn volume(&self) -> Result<VolumeBytes, DiskError> {
        self.make()?;
        let file::Volume { free_bytes, total_bytes, .. } = file::volume(&self.directory)?;
        Ok(VolumeBytes { free: free_bytes, total: total_bytes })
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        if file::exists(&self.directory)? { file::sync_directory(&self.directory) } else { Ok(()) }
    }
}

//! The data directory of a node: fjall, the anchor's file, the ballast and the lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::PersistMode;

use super::database::{FjallOptions, OpenDatabase, failed, proven};
use super::drop_tables::{self, NotDropped};
use super::file::Volume;
use super::in_place::InPlace;
use super::snapshots::SnapshotDirectory;
use super::unused::is_unused;
use super::{file, manifest, names, preflight};
use crate::disk::{
    Backlog, Batch, Disk, DiskError, Files, Keyspace, Lacking, SECTOR_BYTES, Sector, SnapshotDisk, TornTail,
    Visit,
};

/// A locked data directory.
pub struct FjallDisk {
    directory: PathBuf,
    /// The anchor's path.
    anchor_path: PathBuf,
    /// The database's path.
    path: PathBuf,
    options: FjallOptions,
    anchor: Option<File>,
    open: Option<OpenDatabase>,
    /// What the open database consists of.
    in_place: Option<InPlace>,
    /// Files in the database's directory that are no part of it.
    unknown: Vec<PathBuf>,
    backlog: Arc<Backlog>,
    /// Held until the disk is dropped.
    lock: File,
}

impl std::fmt::Debug for FjallDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallDisk").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl FjallDisk {
    /// Locks a data directory, making it if it is missing. A second lock is [`DiskError::Locked`].
    pub fn lock(directory: &Path, options: FjallOptions) -> Result<Self, DiskError> {
        // fjall panics without one, even on absolute paths.
        std::env::current_dir().map_err(|source| DiskError::NoWorkingDirectory { source })?;
        file::make_directory(directory)?;
        let path = directory.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(DiskError::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::Locked { place: directory.display().to_string() });
            }
            Err(TryLockError::Error(source)) => return Err(DiskError::io("lock", &path)(source)),
        }
        let anchor_path = directory.join("anchor");
        let anchor = if file::exists(&anchor_path)? { Some(file::open(&anchor_path)?) } else { None };
        Ok(Self {
            path: directory.join("db"),
            directory: directory.to_owned(),
            anchor_path,
            options,
            anchor,
            open: None,
            in_place: None,
            unknown: Vec::new(),
            backlog: Arc::default(),
            lock,
        })
    }

    fn anchor(&self) -> Result<&File, DiskError> {
        let anchor = self.anchor.as_ref();
        anchor.ok_or_else(|| DiskError::io("use", &self.anchor_path)(io::ErrorKind::NotFound.into()))
    }

    fn open(&self) -> Result<&OpenDatabase, DiskError> {
        let open = self.open.as_ref();
        open.ok_or_else(|| DiskError::io("use", &self.path)(io::ErrorKind::NotFound.into()))
    }

    fn open_fjall(&mut self) -> Result<(), DiskError> {
        self.open = Some(OpenDatabase::open(&self.path, &self.options)?);
        file::sync_directory(&self.directory)?;
        let lock = self.directory.join("lock");
        let mut open = vec![(lock.as_path(), &self.lock)];
        open.extend(self.anchor.as_ref().map(|anchor| (self.anchor_path.as_path(), anchor)));
        self.in_place = Some(InPlace::remember(&self.path, &open)?);
        Ok(())
    }

    /// Why a read failed. What was deleted is no damage of what is there.
    fn unread(&self, error: fjall::Error) -> DiskError {
        if let Some(Err(gone)) = self.in_place.as_ref().map(InPlace::check_lock) {
            return gone;
        }
        proven(&self.path, failed("read", &self.path)(error))
    }

    fn write(&self, batch: &Batch) -> Result<(), DiskError> {
        let open = self.open()?;
        open.make_room(&self.path, &self.backlog)?;
        let mut write = open.database.batch().durability(Some(PersistMode::SyncData));
        for (keyspace, key, value) in batch.rows() {
            match value {
                Some(value) => write.insert(open.keyspace(keyspace), key, value.clone()),
                None => write.remove(open.keyspace(keyspace), key),
            }
        }
        write.commit().map_err(failed("write", &self.path))
    }

    /// The same error, or what is used up on the volume: fjall's thread met that first, and tells only that it has ended.
    fn exhausted(&self, error: DiskError) -> DiskError {
        let DiskError::Poisoned { place } = &error else { return error };
        let what = match file::volume(&self.directory) {
            Ok(Volume { files: Some(Files { free: 0, .. }), .. }) => Lacking::Inodes,
            Ok(Volume { free_bytes: 0, .. }) => Lacking::Bytes,
            Ok(_) | Err(_) => return error,
        };
        DiskError::Full { place: place.clone(), what }
    }

    /// Waits until fjall's thread has ended. If that thread panicked while it held a lock, closing panics, too.
    fn close(&mut self) {
        let open = self.open.take();
        self.in_place = None;
        let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
    }

    /// Keeps fjall's thread from writing tables of the log until the result is dropped.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + use<> {
        super::room::hold(self.open.as_ref().expect("it is open").keyspace(Keyspace::Log))
    }

    /// A database as it was made before keyspaces were without a limit.
    #[cfg(test)]
    pub(crate) fn create_database_that_seals(&mut self) {
        self.open = Some(OpenDatabase::create_that_seals(&self.path, &self.options));
    }
}

impl Disk for FjallDisk {
    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn anchor_exists(&self) -> Result<bool, DiskError> {
        Ok(self.anchor.is_some())
    }

    fn create_anchor(&mut self, sectors: &[Sector]) -> Result<(), DiskError> {
        let unfinished = self.directory.join("anchor.new");
        std::fs::write(&unfinished, sectors.concat()).map_err(DiskError::io("write", &unfinished))?;
        let anchor = file::open(&unfinished)?;
        anchor.sync_all().map_err(DiskError::io("sync", &unfinished))?;
        std::fs::rename(&unfinished, &self.anchor_path).map_err(DiskError::io("rename", &unfinished))?;
        file::sync_directory(&self.directory)?;
        self.anchor = Some(anchor);
        Ok(())
    }

    fn read_sector(&self, sector: u64) -> Result<Box<Sector>, DiskError> {
        let mut bytes = Box::new([0; SECTOR_BYTES]);
        let start = sector * SECTOR_BYTES as u64;
        let mut filled = 0;
        while filled < SECTOR_BYTES {
            let read = self.anchor()?.read_at(&mut bytes[filled..], start + filled as u64);
            match read.map_err(DiskError::io("read", &self.anchor_path))? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(bytes)
    }

    fn write_sector(&mut self, sector: u64, bytes: &Sector) -> Result<(), DiskError> {
        let written = self.anchor()?.write_all_at(bytes, sector * SECTOR_BYTES as u64);
        written.map_err(DiskError::io("write", &self.anchor_path))
    }

    fn sync_anchor(&mut self) -> Result<(), DiskError> {
        self.anchor()?.sync_data().map_err(DiskError::io("sync", &self.anchor_path))
    }

    fn database_exists(&self) -> Result<bool, DiskError> {
        file::holds_something(&self.path)
    }

    fn create_database(&mut self) -> Result<(), DiskError> {
        self.open_fjall()
    }

    fn open_database(&mut self) -> Result<Option<TornTail>, DiskError> {
        self.close();
        manifest::check_version(&self.path)?;
        self.unknown = names::check(&self.path)?;
        let lock = self.path.join("lock");
        if !file::exists(&lock)? {
            // fjall's own lock is an empty file, and this directory is locked already: nothing is lost with it.
            File::create(&lock).map_err(DiskError::io("make", &lock))?;
        }
        let torn = preflight::run(&self.path)?;
        self.open_fjall()?;
        Ok(torn)
    }

    fn unknown_files(&self) -> Vec<String> {
        self.unknown.iter().map(|path| path.display().to_string()).collect()
    }

    fn check_in_place(&mut self) -> Result<(), DiskError> {
        self.in_place.as_mut().map_or(Ok(()), InPlace::check)
    }

    fn set_database_aside(&mut self) -> Result<String, DiskError> {
        self.close();
        let free = (1..).map(|number| self.directory.join(format!("db.damaged-{number}")));
        let to = free.into_iter().find(|path| !path.exists()).expect("numbers do not run out");
        std::fs::rename(&self.path, &to).map_err(DiskError::io("rename", &self.path))?;
        file::sync_directory(&self.directory)?;
        Ok(to.display().to_string())
    }

    fn delete_unused_database(&mut self) -> Result<bool, DiskError> {
        self.close();
        // What cannot be read is kept.
        if !is_unused(&self.path).unwrap_or(false) {
            return Ok(false);
        }
        std::fs::remove_dir_all(&self.path).map_err(DiskError::io("delete", &self.path))?;
        file::sync_directory(&self.directory)?;
        Ok(true)
    }

    fn backlog(&self) -> Arc<Backlog> {
        self.backlog.clone()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        let written = self.write(batch);
        // Before it counts as written: a database that was deleted takes writes and syncs as before. And fjall's thread may have
        // met that first, and poisoned the database.
        if let Some(in_place) = &mut self.in_place {
            if written.is_ok() { in_place.check_commit()? } else { in_place.check()? }
        }
        written.map_err(|error| self.exhausted(error))
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        let row = self.open()?.keyspace(keyspace).get(key).map_err(|error| self.unread(error))?;
        Ok(row.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        // No snapshot is needed: this thread is the only writer.
        for row in self.open()?.keyspace(keyspace).range(from..) {
            let (key, value) = row.into_inner().map_err(|error| self.unread(error))?;
            if visit(&key, Bytes::copy_from_slice(&value)) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn drop_range(&mut self, keyspace: Keyspace, from: &[u8], to: &[u8]) -> Result<(), DiskError> {
        match drop_tables::run(self.open()?.keyspace(keyspace), from, to) {
            Ok(()) => Ok(()),
            Err(NotDropped::Refused(error)) => Err(error),
            Err(NotDropped::Failed(error)) => {
                self.close();
                Err(failed("drop rows of", &self.path)(error))
            }
        }
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        Ok(file::volume(&self.directory)?.free_bytes)
    }

    fn total_bytes(&self) -> Result<u64, DiskError> {
        Ok(file::volume(&self.directory)?.total_bytes)
    }

    fn files(&self) -> Result<Option<Files>, DiskError> {
        Ok(file::volume(&self.directory)?.files)
    }

    fn ballast_bytes(&self) -> Result<u64, DiskError> {
        Ok(std::fs::metadata(self.directory.join("ballast")).map_or(0, |metadata| metadata.len()))
    }

    fn set_ballast(&mut self, bytes: u64) -> Result<(), DiskError> {
        let path = self.directory.join("ballast");
        if path.exists() {
            std::fs::remove_file(&path).map_err(DiskError::io("delete", &path))?;
        }
        if bytes > 0 {
            file::allocate(&path, bytes)?;
        }
        file::sync_directory(&self.directory)
    }

    fn snapshots(&self) -> Arc<dyn SnapshotDisk> {
        Arc::new(SnapshotDirectory::new(self.directory.join("snapshots")))
    }
}

//! The disk of production: fjall for rows, a file for the anchor, a lock on both.
//!
//! `<dir>/lock`, `<dir>/anchor`, `<dir>/db/` (fjall), `<dir>/db.damaged-N/` (set aside), `<dir>/ballast`.
//!
//! fjall is used in few ways, each measured: batches with `SyncData`, `get`, `range` on the writing thread, `drop_range`.
//! Never `insert`, `Buffer`, `clear`, `persist`, FIFO or deleted keyspaces: they pin journals, tear or lose. (`fjall_room.rs`
//! calls `persist`, where nothing is left to sync, to hear whether fjall's thread has ended.)

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{CompressionType, Database, KeyspaceCreateOptions, PersistMode};

use super::disk::{Batch, Disk, DiskError, Keyspace, SECTOR_BYTES, Sector, TornTail, Visit};
use super::fjall_drop::{self, Undropped};
use super::fjall_room::{self, Limit, NoRoom};
use super::{preflight, version};

/// Keyspaces keep the options they were made with for ever; another set gets another name. Of these fjall never seals a
/// memtable by itself.
const LOG: &str = "log-2";
const HARD: &str = "hard-2";
/// Until November 2026 it did: from 16 MiB and 64 KiB on, the default limits.
const LOG_THAT_SEALS: &str = "log-1";
const HARD_THAT_SEALS: &str = "hard-1";
/// How far a memtable may grow beyond its limit while fjall's thread is busy.
const BEYOND_BYTES: u64 = 16 << 20;

/// How fjall is set up. The defaults are those of production.
#[derive(Debug, Clone)]
pub struct FjallOptions {
    /// Block cache.
    pub cache_bytes: u64,
    #[doc(hidden)]
    /// fjall's own threads, to compare what more of them do: one is the fastest and the only safe number (decision 0016).
    pub worker_threads: usize,
    /// From so many bytes on the memtable of the log is written to a table.
    pub log_memtable_bytes: u64,
    /// The same for everything small: so little that it happens, and pins no journals.
    pub hard_memtable_bytes: u64,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            worker_threads: 1,
            log_memtable_bytes: 16 << 20,
            hard_memtable_bytes: 64 << 10,
        }
    }
}

struct Open {
    database: Database,
    log: fjall::Keyspace,
    hard: fjall::Keyspace,
    beyond_bytes: u64,
}

impl Open {
    fn keyspace(&self, keyspace: Keyspace) -> &fjall::Keyspace {
        match keyspace {
            Keyspace::Log => &self.log,
            Keyspace::Hard => &self.hard,
        }
    }
}

/// A locked data directory.
pub struct FjallDisk {
    directory: PathBuf,
    options: FjallOptions,
    anchor: Option<File>,
    open: Option<Open>,
    /// Held until the disk is dropped.
    _lock: File,
}

impl std::fmt::Debug for FjallDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallDisk").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl FjallDisk {
    /// Locks a data directory, making it if it is not there. A second lock is [`DiskError::Locked`].
    pub fn lock(directory: &Path, options: FjallOptions) -> Result<Self, DiskError> {
        make_directory(directory)?;
        let path = directory.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::Locked { place: directory.display().to_string() });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        let path = directory.join("anchor");
        let anchor = if is_there(&path)? { Some(open_anchor(&path)?) } else { None };
        Ok(Self { directory: directory.to_owned(), options, anchor, open: None, _lock: lock })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn anchor(&self) -> Result<&File, DiskError> {
        self.anchor
            .as_ref()
            .ok_or_else(|| failed("use", &self.path("anchor"))(io::ErrorKind::NotFound.into()))
    }

    fn open(&self) -> Result<&Open, DiskError> {
        self.open.as_ref().ok_or_else(|| failed("use", &self.path("db"))(io::ErrorKind::NotFound.into()))
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        sync_directory(&self.directory)
    }

    fn open_fjall(&mut self) -> Result<(), DiskError> {
        let path = self.path("db");
        let options = self.options.clone();
        // fjall asserts and unwraps on damaged directories.
        let opened = catch_unwind(AssertUnwindSafe(|| open_fjall(&path, &options)));
        let open = opened.map_err(|_| DiskError::Damaged {
            place: path.display().to_string(),
            detail: "fjall panicked while opening it".to_owned(),
        })?;
        self.open = Some(open.map_err(|error| self.fjall("open", error))?);
        // fjall syncs the files it makes, and not the directory that names a new keyspace (seen by `kth_call.rs`); whoever
        // made or renamed something here before us may have ended too early, too.
        let keyspaces = path.join("keyspaces");
        let listed = std::fs::read_dir(&keyspaces).map_err(failed("list", &keyspaces))?;
        for keyspace in listed {
            let keyspace = keyspace.map_err(failed("list", &keyspaces))?.path();
            if keyspace.is_dir() {
                sync_directory(&keyspace)?;
            }
        }
        sync_directory(&keyspaces)?;
        sync_directory(&path)?;
        self.sync_directory()
    }

    /// Waits until fjall's thread has ended. fjall panics while it closes if that thread did, holding a lock.
    fn close(&mut self) {
        let open = self.open.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
    }

    /// Waits until fjall has room for another batch.
    fn make_room(&self) -> Result<(), DiskError> {
        let open = self.open()?;
        let limits = [self.options.log_memtable_bytes, self.options.hard_memtable_bytes];
        for (keyspace, bytes) in [&open.log, &open.hard].into_iter().zip(limits) {
            let limit = Limit { bytes, beyond_bytes: open.beyond_bytes };
            fjall_room::make(&open.database, keyspace, limit).map_err(|error| match error {
                NoRoom::Failed(error) => self.fjall("write", error),
                NoRoom::Idle => failed("write", &self.path("db"))(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "fjall's thread did nothing for two minutes",
                )),
            })?;
        }
        Ok(())
    }

    /// Keeps fjall's thread from writing tables of the log until it is dropped.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + use<> {
        fjall_room::hold(&self.open.as_ref().expect("it is open").log)
    }

    /// A database as it was made before keyspaces were without a limit.
    #[cfg(test)]
    pub(super) fn create_database_that_seals(&mut self) {
        let options = self.options.clone();
        let database = Database::builder(self.path("db")).worker_threads(1).open().expect("a database");
        self.open = Some(open_keyspaces_that_seal(database, &options).expect("keyspaces"));
    }

    /// Says what a fjall error means to us.
    fn fjall(&self, action: &'static str, error: fjall::Error) -> DiskError {
        let place = self.path("db").display().to_string();
        let damaged =
            |error: fjall::Error, place: String| DiskError::Damaged { place, detail: format!("{error:?}") };
        match error {
            fjall::Error::Io(source) if is_damage(&source) => {
                DiskError::Damaged { place, detail: source.to_string() }
            }
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                if source.kind() == io::ErrorKind::StorageFull {
                    DiskError::Full { place }
                } else if is_damage(&source) {
                    DiskError::Damaged { place, detail: source.to_string() }
                } else {
                    DiskError::Io { action, place, source }
                }
            }
            fjall::Error::Poisoned => DiskError::Poisoned { place },
            fjall::Error::Locked => DiskError::Locked { place },
            fjall::Error::InvalidVersion(found) => DiskError::Future {
                place,
                found: found.map_or(0, |version| u32::from(u8::from(version))),
                known: 3,
            },
            other => damaged(other, place),
        }
    }
}

/// A file that ends too early, is not there, or is where it must not be, is damage: nobody but fjall and us writes here.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
    )
}

fn open_fjall(path: &Path, options: &FjallOptions) -> Result<Open, fjall::Error> {
    let database = Database::builder(path)
        .max_journaling_size(64 << 20)
        .worker_threads(options.worker_threads)
        .cache_size(options.cache_bytes)
        .journal_compression(CompressionType::None)
        .open()?;
    if database.keyspace_exists(LOG_THAT_SEALS) && !database.keyspace_exists(LOG) {
        return open_keyspaces_that_seal(database, options);
    }
    let unlimited = || KeyspaceCreateOptions::default().max_memtable_size(u64::MAX);
    let (log, hard) = (database.keyspace(LOG, unlimited)?, database.keyspace(HARD, unlimited)?);
    Ok(Open { database, log, hard, beyond_bytes: BEYOND_BYTES })
}

/// Those of before: no memtable may grow beyond its limit, for then fjall asks its thread with each commit.
fn open_keyspaces_that_seal(database: Database, options: &FjallOptions) -> Result<Open, fjall::Error> {
    let limited = |bytes| move || KeyspaceCreateOptions::default().max_memtable_size(bytes);
    let log = database.keyspace(LOG_THAT_SEALS, limited(options.log_memtable_bytes))?;
    let hard = database.keyspace(HARD_THAT_SEALS, limited(options.hard_memtable_bytes))?;
    Ok(Open { database, log, hard, beyond_bytes: 0 })
}

/// Whether a file is there. One that cannot be looked at is not a missing one: the remedy for that would lose data.
fn is_there(path: &Path) -> Result<bool, DiskError> {
    path.try_exists().map_err(failed("look at", path))
}

/// Makes a directory and what is missing above it; each is on the disk then, by its name in the one above. The one that was
/// there may have been made by a process that ended before that.
fn make_directory(path: &Path) -> Result<(), DiskError> {
    let above =
        path.ancestors().skip(1).map(|above| if above == Path::new("") { Path::new(".") } else { above });
    let missing = path.ancestors().take_while(|path| *path != Path::new("") && !path.exists()).count();
    std::fs::create_dir_all(path).map_err(failed("make", path))?;
    above.take(missing.max(1)).try_for_each(|above| match sync_directory(above) {
        // It may be written to and not read: nobody can sync it then.
        Err(DiskError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    })
}

fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn open_anchor(path: &Path) -> Result<File, DiskError> {
    OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let place = path.display().to_string();
    move |source| {
        if source.kind() == io::ErrorKind::StorageFull {
            DiskError::Full { place }
        } else {
            DiskError::Io { action, place, source }
        }
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
        let (unfinished, path) = (self.path("anchor.new"), self.path("anchor"));
        std::fs::write(&unfinished, sectors.concat()).map_err(failed("write", &unfinished))?;
        let file = open_anchor(&unfinished)?;
        file.sync_all().map_err(failed("sync", &unfinished))?;
        std::fs::rename(&unfinished, &path).map_err(failed("rename", &unfinished))?;
        self.sync_directory()?;
        self.anchor = Some(file);
        Ok(())
    }

    fn anchor_sectors(&self) -> Result<u64, DiskError> {
        let metadata = self.anchor()?.metadata().map_err(failed("measure", &self.path("anchor")))?;
        Ok(metadata.len() / SECTOR_BYTES as u64)
    }

    fn read_sector(&self, sector: u64) -> Result<Box<Sector>, DiskError> {
        let mut bytes = Box::new([0; SECTOR_BYTES]);
        let start = sector * SECTOR_BYTES as u64;
        let mut filled = 0;
        while filled < SECTOR_BYTES {
            let read = self.anchor()?.read_at(&mut bytes[filled..], start + filled as u64);
            match read.map_err(failed("read", &self.path("anchor")))? {
                0 => break,
                more => filled += more,
            }
        }
        Ok(bytes)
    }

    fn write_sector(&mut self, sector: u64, bytes: &Sector) -> Result<(), DiskError> {
        let written = self.anchor()?.write_all_at(bytes, sector * SECTOR_BYTES as u64);
        written.map_err(failed("write", &self.path("anchor")))
    }

    fn sync_anchor(&mut self) -> Result<(), DiskError> {
        self.anchor()?.sync_data().map_err(failed("sync", &self.path("anchor")))
    }

    fn database_exists(&self) -> Result<bool, DiskError> {
        is_there(&self.path("db"))
    }

    fn create_database(&mut self) -> Result<(), DiskError> {
        self.open_fjall()
    }

    fn open_database(&mut self) -> Result<Option<TornTail>, DiskError> {
        self.close();
        let path = self.path("db");
        version::check(&path)?;
        version::check_trees(&path)?;
        let lock = path.join("lock");
        if !is_there(&lock)? {
            // fjall's own lock: an empty file, and this directory is locked already. Nothing is lost with it.
            File::create(&lock).map_err(failed("make", &lock))?;
        }
        let torn = preflight::run(&path)?;
        self.open_fjall()?;
        Ok(torn)
    }

    fn set_database_aside(&mut self) -> Result<String, DiskError> {
        self.close();
        let free = (1..).map(|number| self.path(&format!("db.damaged-{number}")));
        let to = free.into_iter().find(|path| !path.exists()).expect("numbers do not run out");
        std::fs::rename(self.path("db"), &to).map_err(failed("rename", &self.path("db")))?;
        self.sync_directory()?;
        Ok(to.display().to_string())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        self.make_room()?;
        let open = self.open()?;
        let mut write = open.database.batch().durability(Some(PersistMode::SyncData));
        for (keyspace, key, value) in batch.rows() {
            match value {
                Some(value) => write.insert(open.keyspace(keyspace), key, value.as_ref()),
                None => write.remove(open.keyspace(keyspace), key),
            }
        }
        write.commit().map_err(|error| self.fjall("write", error))
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        let row = self.open()?.keyspace(keyspace).get(key).map_err(|error| self.fjall("read", error))?;
        Ok(row.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        // No snapshot is needed: this thread is the only writer.
        for row in self.open()?.keyspace(keyspace).range(from..) {
            let (key, value) = row.into_inner().map_err(|error| self.fjall("read", error))?;
            if visit(&key, Bytes::copy_from_slice(&value)) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn drop_range(&mut self, keyspace: Keyspace, from: &[u8], to: &[u8]) -> Result<(), DiskError> {
        match fjall_drop::run(self.open()?.keyspace(keyspace), from, to) {
            Ok(()) => Ok(()),
            Err(Undropped::Before(error)) => Err(error),
            Err(Undropped::Now(error)) => {
                self.close();
                Err(self.fjall("drop rows of", error))
            }
        }
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let found = rustix::fs::statvfs(&self.directory).map_err(io::Error::from);
        let found = found.map_err(failed("measure", &self.directory))?;
        Ok(found.f_bavail * found.f_frsize)
    }

    fn ballast_bytes(&self) -> Result<u64, DiskError> {
        Ok(std::fs::metadata(self.path("ballast")).map_or(0, |metadata| metadata.len()))
    }

    fn set_ballast(&mut self, bytes: u64) -> Result<(), DiskError> {
        let path = self.path("ballast");
        if path.exists() {
            std::fs::remove_file(&path).map_err(failed("delete", &path))?;
        }
        if bytes > 0 {
            let file = File::create(&path).map_err(failed("make", &path))?;
            let mode = rustix::fs::FallocateFlags::empty();
            let allocated = rustix::fs::fallocate(&file, mode, 0, bytes).map_err(io::Error::from);
            if let Err(error) = allocated {
                // A half-made ballast would be deleted when it is needed, and free nothing.
                let _ = std::fs::remove_file(&path);
                return Err(failed("allocate", &path)(error));
            }
        }
        self.sync_directory()
    }
}

//! The fjall database: its two keyspaces, how they are set up, and what fjall's errors mean to the store.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use fjall::{CompressionType, Database, KeyspaceCreateOptions, LsmError};

use super::file::{sync_directory, sync_tree};
use super::room::{self, Limit, NoRoom, Wait};
use super::tables;
use crate::disk::{Backlog, DiskError, Keyspace};

/// A keyspace keeps the options it was made with permanently, so another set of options gets another name. In these fjall
/// never seals a memtable by itself.
const LOG: &str = "log-2";
const HARD: &str = "hard-2";
/// Made before November 2026, with the default limits: fjall seals their memtables itself, from 16 MiB and 64 KiB on.
const LOG_THAT_SEALS: &str = "log-1";
const HARD_THAT_SEALS: &str = "hard-1";
/// Tables that are kept open. fjall's own bound, 900, is most of the usual limit of 1,024 open files; a table that is not kept
/// open costs one more system call per read.
const TABLE_FILES_MAX: usize = 64;
/// How far a memtable may grow past its limit while fjall's thread is busy.
const BEYOND_BYTES: u64 = 16 << 20;

/// How fjall is set up. The defaults are those of production.
#[derive(Debug, Clone)]
pub struct FjallOptions {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
    #[doc(hidden)]
    /// fjall's own threads, to measure what more of them do: one is the fastest and the only safe number (decision 0016).
    pub worker_threads: usize,
    /// Memtable limit for `log`, in bytes: a larger one is written to a table.
    pub log_memtable_bytes: u64,
    /// Memtable limit for `hard`: small, so that it flushes often and pins no journal.
    pub hard_memtable_bytes: u64,
    /// A commit that waits for flushes and compactions fails once nothing of them was done for this long.
    pub room_idle_max: Duration,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            worker_threads: 1,
            log_memtable_bytes: 16 << 20,
            hard_memtable_bytes: 64 << 10,
            room_idle_max: Duration::from_secs(180),
        }
    }
}

/// An open database.
pub(super) struct OpenDatabase {
    pub(super) database: Database,
    log: fjall::Keyspace,
    hard: fjall::Keyspace,
    log_limit: Limit,
    hard_limit: Limit,
    room_idle_max: Duration,
}

impl OpenDatabase {
    /// Opens the database at `path`, or makes it, and syncs the directories of all its files.
    pub(super) fn open(path: &Path, options: &FjallOptions) -> Result<Self, DiskError> {
        let open = guarded(path, || open_fjall(path, options))?;
        // fjall syncs the files it makes, but not the directory that names a new keyspace (found by the sweep of system
        // calls); and a process that made or renamed something here earlier may have crashed before it synced the directory.
        sync_tree(&path.join("keyspaces"))?;
        sync_directory(path)?;
        Ok(open)
    }

    pub(super) fn keyspace(&self, keyspace: Keyspace) -> &fjall::Keyspace {
        match keyspace {
            Keyspace::Log => &self.log,
            Keyspace::Hard => &self.hard,
        }
    }

    /// Waits until fjall has room for another batch.
    pub(super) fn make_room(&self, path: &Path, backlog: &Backlog) -> Result<(), DiskError> {
        let idle_max = self.room_idle_max;
        for (keyspace, limit) in [(&self.log, self.log_limit), (&self.hard, self.hard_limit)] {
            let wait = Wait { path, idle_max, backlog };
            room::make(&self.database, keyspace, limit, &wait).map_err(|error| match error {
                NoRoom::Failed(error) => failed("write", path)(error),
                NoRoom::Idle => DiskError::io("write", path)(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the disk did nothing of what was put off for {} s", idle_max.as_secs()),
                )),
            })?;
        }
        Ok(())
    }

    /// A database as it was made before keyspaces were without a limit.
    #[cfg(test)]
    pub(super) fn create_that_seals(path: &Path, options: &FjallOptions) -> Self {
        let database = Database::builder(path).worker_threads(1).open().expect("a database");
        open_keyspaces(database, options, true).expect("keyspaces")
    }
}

/// Calls fjall, which asserts and unwraps on damaged directories, and on healthy ones in an environment that it does not expect.
pub(crate) fn guarded<T>(
    path: &Path,
    open: impl FnOnce() -> Result<T, fjall::Error>,
) -> Result<T, DiskError> {
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| proven(path, failed("open", path)(error))),
        Err(panic) => Err(proven(path, engine(path, format!("it panicked: {}", said(&*panic))))),
    }
}

fn open_fjall(path: &Path, options: &FjallOptions) -> Result<OpenDatabase, fjall::Error> {
    let database = Database::builder(path)
        .max_journaling_size(64 << 20)
        .max_cached_files(Some(TABLE_FILES_MAX))
        .worker_threads(options.worker_threads)
        .cache_size(options.cache_bytes)
        .journal_compression(CompressionType::None)
        .open()?;
    let seals = database.keyspace_exists(LOG_THAT_SEALS) && !database.keyspace_exists(LOG);
    open_keyspaces(database, options, seals)
}

/// Opens the keyspaces, or makes them. Those that seal may not grow past their limit: fjall would ask its thread to seal them at
/// each commit.
fn open_keyspaces(
    database: Database,
    options: &FjallOptions,
    seals: bool,
) -> Result<OpenDatabase, fjall::Error> {
    let open = |name, bytes| {
        let memtable_bytes = if seals { bytes } else { u64::MAX };
        database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes))
    };
    let (log, hard) = if seals { (LOG_THAT_SEALS, HARD_THAT_SEALS) } else { (LOG, HARD) };
    let limit = |bytes| Limit { bytes, beyond_bytes: if seals { 0 } else { BEYOND_BYTES } };
    let (log_bytes, hard_bytes) = (options.log_memtable_bytes, options.hard_memtable_bytes);
    Ok(OpenDatabase {
        log: open(log, log_bytes)?,
        hard: open(hard, hard_bytes)?,
        log_limit: limit(log_bytes),
        hard_limit: limit(hard_bytes),
        room_idle_max: options.room_idle_max,
        database,
    })
}

/// For `map_err`: what an error of fjall means to the store. Damage is what a checksum or the format says.
pub(super) fn failed(action: &'static str, path: &Path) -> impl Fn(fjall::Error) -> DiskError {
    move |error| {
        let place = || path.display().to_string();
        match error {
            fjall::Error::Io(source) | fjall::Error::Storage(LsmError::Io(source)) => {
                // What it reads ends too early, or is no such thing: that is the format.
                if matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) {
                    DiskError::damaged(path, source.to_string())
                } else {
                    DiskError::io(action, path)(source)
                }
            }
            fjall::Error::Poisoned => DiskError::Poisoned { place: place() },
            fjall::Error::Locked => DiskError::Locked { place: place() },
            fjall::Error::InvalidVersion(found) => DiskError::Future {
                place: place(),
                found: found.map_or(0, |version| u32::from(u8::from(version))),
                known: 3,
            },
            fjall::Error::InvalidTrailer
            | fjall::Error::InvalidTag(_)
            | fjall::Error::Decompress(_)
            | fjall::Error::Storage(
                LsmError::ChecksumMismatch { .. }
                | LsmError::Decompress(_)
                | LsmError::InvalidTag(_)
                | LsmError::InvalidTrailer
                | LsmError::InvalidHeader(_)
                | LsmError::Utf8(_),
            ) => DiskError::damaged(path, format!("{error:?}")),
            other => engine(path, format!("{other:?}")),
        }
    }
}

/// The same error, or the damage behind it: one that proves nothing by itself is believed to be damage only if a checksum says so.
pub(super) fn proven(path: &Path, error: DiskError) -> DiskError {
    let proves_nothing = match &error {
        DiskError::Engine { .. } => true,
        DiskError::Io { source, .. } => matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidInput
        ),
        _ => false,
    };
    match proves_nothing.then(|| tables::check_all(path)) {
        Some(Err(damage @ DiskError::Damaged { .. })) => damage,
        Some(Ok(()) | Err(_)) | None => error,
    }
}

fn engine(path: &Path, detail: String) -> DiskError {
    DiskError::Engine { place: path.display().to_string(), detail }
}

/// The message of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_error_of_the_engine_is_no_damage_by_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        drop(OpenDatabase::open(&path, &FjallOptions::default()).expect("a database"));
        let io = |kind: io::ErrorKind| fjall::Error::Io(kind.into());
        for error in [
            fjall::Error::Unrecoverable,
            fjall::Error::KeyspaceDeleted,
            fjall::Error::Storage(LsmError::Unrecoverable),
            io(io::ErrorKind::NotFound),
            io(io::ErrorKind::AlreadyExists),
            io(io::ErrorKind::InvalidInput),
        ] {
            let text = format!("{error:?}");
            let said = guarded::<()>(&path, || Err(error));
            let is_refusal = matches!(said, Err(DiskError::Engine { .. } | DiskError::Io { .. }));
            assert!(is_refusal, "{text}: {said:?}");
        }
        for error in [fjall::Error::InvalidTrailer, io(io::ErrorKind::UnexpectedEof)] {
            let said = guarded::<()>(&path, || Err(error));
            assert!(matches!(said, Err(DiskError::Damaged { .. })), "the format says so: {said:?}");
        }
    }
}

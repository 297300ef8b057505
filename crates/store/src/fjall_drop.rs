//! Dropping whole tables without leaving a list of tables that looks damaged (decision 0016).
//!
//! fjall changes a keyspace's list of tables (`vN`) by writing `v(N+1)` and renaming `current`, which has its checksum, over the
//! old one. Where the sync after that fails it keeps list N in memory, and whoever changes the list next writes `v(N+1)`
//! anew, with other content, before `current` is renamed again: a process that ends in between leaves a `current` that does not
//! fit, and a healthy database is set aside. Two threads change lists: the one of fjall, which ends at its first error,
//! and ours, here. So ours changes nothing after an error of the other, and after an error of ours the other flushes nothing
//! more and the database is closed. That fjall has one thread, not two, is part of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fjall::{AbstractTree, Keyspace};

use super::disk::DiskError;
use super::version;

/// Why nothing, or not everything, was dropped.
pub(super) enum Undropped {
    /// A change of the list of tables failed before, or whether it did cannot be read. Nothing was done.
    Before(DiskError),
    /// It failed now. The lock of flushes is poisoned: the database must be closed before anything else.
    Now(fjall::Error),
}

/// Drops the tables of `keyspace` that hold nothing but keys from `from` up to `to`.
pub(super) fn run(keyspace: &Keyspace, from: &[u8], to: &[u8]) -> Result<(), Undropped> {
    let tree = &keyspace.tree;
    // Nobody flushes while we hold it; compactions are kept away by the lock that `drop_range` itself takes.
    let flushes = tree.get_flush_lock();
    if a_change_failed(keyspace).map_err(Undropped::Before)? {
        let place = keyspace.path().display().to_string();
        return Err(Undropped::Before(DiskError::Poisoned { place }));
    }
    let dropped = tree.drop_range(from..to);
    if dropped.is_err() {
        // A lock whose holder unwinds is poisoned, and fjall's thread ends where it wants to flush. No other lock: there it
        // would end while it holds what closing the database needs.
        let _unwound = catch_unwind(AssertUnwindSafe(|| {
            let _flushes = flushes;
            resume_unwind(Box::new("fjall's thread must end"));
        }));
    }
    dropped.map_err(|error| Undropped::Now(fjall::Error::Storage(error)))
}

/// Whether `current` names another list than fjall has in memory.
fn a_change_failed(keyspace: &Keyspace) -> Result<bool, DiskError> {
    let in_memory = || keyspace.tree.current_version().id();
    let mut before = in_memory();
    loop {
        let on_disk = version::newest(keyspace.path())?;
        // Waits for a change that is under way. A compaction that succeeded meanwhile has another number: then again, and
        // compactions come to an end.
        let after = in_memory();
        if after == before {
            return Ok(on_disk != after);
        }
        before = after;
    }
}

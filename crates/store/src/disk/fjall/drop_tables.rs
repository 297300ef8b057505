//! Dropping whole tables without leaving a list of tables that looks damaged (decision 0016).
//!
//! fjall changes a keyspace's list of tables (`vN`) by writing `v(N+1)` and renaming a new `current`, which holds its checksum,
//! over the old one. If the sync after the rename fails, fjall keeps list N in memory, and the next change of the list writes
//! `v(N+1)` again, with other content, before `current` is renamed again. A process that ends in between leaves a `current` that
//! does not match its list, and a healthy database would be set aside.
//!
//! Two threads change lists: fjall's, which ends at its first error, and the I/O thread, here. So this module changes nothing
//! after fjall's thread failed; and after a failure here fjall's thread is made to end and the database is closed. fjall must
//! have one thread, not two, for this to hold.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fjall::{AbstractTree, Keyspace};

use super::manifest;
use crate::disk::DiskError;

/// Why not everything was dropped.
pub(super) enum NotDropped {
    /// An earlier change of the list of tables failed, or the list cannot be read. Nothing was changed.
    Refused(DiskError),
    /// This change failed. The flush lock is poisoned: the database must be closed before anything else.
    Failed(fjall::Error),
}

/// Drops the tables of `keyspace` that hold only keys from `from` up to, not including, `to`.
pub(super) fn run(keyspace: &Keyspace, from: &[u8], to: &[u8]) -> Result<(), NotDropped> {
    let tree = &keyspace.tree;
    // Keeps flushes away; compactions are kept away by the lock that `drop_range` takes itself.
    let flushes = tree.get_flush_lock();
    if an_earlier_change_failed(keyspace).map_err(NotDropped::Refused)? {
        let place = keyspace.path().display().to_string();
        return Err(NotDropped::Refused(DiskError::Poisoned { place }));
    }
    let dropped = tree.drop_range(from..to);
    if dropped.is_err() {
        // A panic while the flush lock is held poisons it, and fjall's thread ends when it next wants to flush. It must be
        // this lock: with any other, the thread would end while it holds a lock that closing the database needs.
        let _unwound = catch_unwind(AssertUnwindSafe(|| {
            let _flushes = flushes;
            resume_unwind(Box::new("fjall's thread must end"));
        }));
    }
    dropped.map_err(|error| NotDropped::Failed(fjall::Error::Storage(error)))
}

/// Whether `current` names another list than fjall has in memory.
fn an_earlier_change_failed(keyspace: &Keyspace) -> Result<bool, DiskError> {
    let in_memory = || keyspace.tree.current_version().id();
    let mut before = in_memory();
    loop {
        let on_disk = manifest::newest_list(keyspace.path())?;
        // Waits for a change in progress. If a compaction succeeded meanwhile the number has changed: look again. This ends,
        // as compactions do.
        let after = in_memory();
        if after == before {
            return Ok(on_disk != after);
        }
        before = after;
    }
}

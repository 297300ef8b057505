//! Room for the next commit: full memtables are sealed here and fjall's thread is waited for here, not inside fjall (decision 0017).
//!
//! Left alone, fjall asks its thread with every commit to seal a full memtable. The queue has 1,000 places, and the thread,
//! sealing, puts a message into it itself: while it compacts, a few thousand commits fill the queue, and then it waits for
//! itself for ever; journals and memory grow without a bound, and nothing says so. And a commit that finds four memtables
//! sealed waits inside fjall, in steps of 100 ms, and goes on waiting when the thread has ended by an error.

use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, PersistMode};

/// Memtables that wait to be written to tables, of one keyspace, as far as we seal them. An opening or fjall's thread may
/// leave more; from four on a commit would wait inside fjall.
const SEALED_MAX: usize = 2;
/// Tables that wait to be merged, in runs; fjall slows commits down from so many on.
const RUNS_MAX: usize = 20;
/// One look at what its thread has done.
const LOOK: Duration = Duration::from_millis(1);
/// After so many looks at which it had done nothing at all, two minutes, it is taken for ended.
const LOOKS_MAX: u32 = 120_000;

/// When a memtable is sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// From so many bytes on, if fewer than two wait already.
    pub(super) bytes: u64,
    /// It may grow by so many more while two wait; then the commit waits.
    pub(super) beyond_bytes: u64,
}

/// Why there is no room.
#[derive(Debug)]
pub(super) enum NoRoom {
    /// What fjall said; `Poisoned` when its thread ended by an error.
    Failed(fjall::Error),
    /// Its thread does nothing.
    Idle,
}

/// Seals the memtable if it is full, and waits while too much is behind.
pub(super) fn make(database: &Database, keyspace: &Keyspace, limit: Limit) -> Result<(), NoRoom> {
    let mut idle = 0;
    let mut seen = None;
    loop {
        let (sealed, runs) = (keyspace.tree.sealed_memtable_count(), keyspace.tree.l0_run_count());
        let bytes = keyspace.tree.active_memtable().size();
        let is_full = sealed >= SEALED_MAX && bytes >= limit.bytes + limit.beyond_bytes;
        if !is_full && sealed <= SEALED_MAX && runs < RUNS_MAX {
            if sealed < SEALED_MAX && bytes >= limit.bytes {
                keyspace.rotate_memtable().map_err(NoRoom::Failed)?;
            }
            return Ok(());
        }
        // Writes nothing, since every commit was synced: it says whether the thread has ended.
        database.persist(PersistMode::Buffer).map_err(NoRoom::Failed)?;
        let done = Some((sealed, runs, database.compactions_completed()));
        idle = if done == seen { idle + 1 } else { 0 };
        seen = done;
        if idle == LOOKS_MAX {
            return Err(NoRoom::Idle);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "fjall has nothing to wait for; this thread is the disk's own"
        )]
        std::thread::sleep(LOOK);
    }
}

/// Keeps fjall's thread from writing tables of `keyspace` until it is dropped.
#[cfg(test)]
pub(super) fn hold(keyspace: &Keyspace) -> impl Drop + use<> {
    struct Held(Option<std::sync::mpsc::Sender<()>>, Option<std::thread::JoinHandle<()>>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0 = None;
            self.1.take().map(std::thread::JoinHandle::join);
        }
    }
    let keyspace = keyspace.clone();
    let ((release, released), (holds, held)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    #[expect(clippy::disallowed_methods, reason = "a test's, ended with it")]
    let thread = std::thread::spawn(move || {
        let _flushes = keyspace.tree.get_flush_lock();
        let _ = holds.send(());
        let _ = released.recv();
    });
    held.recv().expect("it holds");
    Held(Some(release), Some(thread))
}

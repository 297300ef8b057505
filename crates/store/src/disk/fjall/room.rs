//! Room for the next commit: full memtables are sealed and fjall's thread is waited for here, not inside fjall (decision 0017).
//!
//! By default fjall asks its thread, at every commit, to seal a full memtable. That queue has 1,000 places, and the thread puts
//! messages into it itself while it seals. During a compaction a few thousand commits fill the queue, and the thread then waits
//! for itself permanently: journals and memory grow without a bound, and no error is reported. Also, a commit that finds four
//! sealed memtables waits inside fjall, in steps of 100 ms, and goes on waiting after the thread has ended by an error.

use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, PersistMode};

/// Sealed memtables of one keyspace that may wait to be written to tables. Opening or fjall's thread may leave more; from
/// four on a commit would wait inside fjall.
const SEALED_MAX: usize = 2;
/// Runs of tables that may wait for compaction; fjall slows commits down from this number on.
const RUNS_MAX: usize = 20;
/// Pause between two looks at fjall's progress.
const LOOK: Duration = Duration::from_millis(1);
/// Looks without any progress, two minutes, after which fjall's thread is taken for ended.
const LOOKS_MAX: u32 = 120_000;

/// When a memtable is sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Size at which it is sealed, if fewer than [`SEALED_MAX`] wait.
    pub(super) bytes: u64,
    /// How far it may grow past `bytes` while [`SEALED_MAX`] wait; then the commit waits.
    pub(super) beyond_bytes: u64,
}

/// Why there is no room.
#[derive(Debug)]
pub(super) enum NoRoom {
    /// fjall's error: `Poisoned` if its thread ended by an error.
    Failed(fjall::Error),
    /// fjall's thread made no progress.
    Idle,
}

/// Seals the memtable if it is full, and waits while too much work waits for fjall's thread.
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
        // Writes nothing, since every commit was synced. It fails if the thread has ended by an error.
        database.persist(PersistMode::Buffer).map_err(NoRoom::Failed)?;
        let done = Some((sealed, runs, database.compactions_completed()));
        idle = if done == seen { idle + 1 } else { 0 };
        seen = done;
        if idle == LOOKS_MAX {
            return Err(NoRoom::Idle);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "fjall offers no event to wait for; this is the I/O thread"
        )]
        std::thread::sleep(LOOK);
    }
}

/// Keeps fjall's thread from writing tables of `keyspace` until the result is dropped.
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
    #[expect(clippy::disallowed_methods, reason = "a test's thread, joined when the result is dropped")]
    let thread = std::thread::spawn(move || {
        let _flushes = keyspace.tree.get_flush_lock();
        let _ = holds.send(());
        let _ = released.recv();
    });
    held.recv().expect("it holds");
    Held(Some(release), Some(thread))
}

//! Room for the next commit: full memtables are sealed and fjall's thread is waited for here, not inside fjall (decision 0017).
//!
//! By default fjall asks its thread, at every commit, to seal a full memtable. That queue has 1,000 places, and the thread puts
//! messages into it itself while it seals. During a compaction a few thousand commits fill the queue, and the thread then waits
//! for itself permanently: journals and memory grow without a bound, and no error is reported. Also, a commit that finds four
//! sealed memtables waits inside fjall, in steps of 100 ms, and goes on waiting after the thread has ended by an error.

use std::path::Path;
use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, PersistMode};

use crate::disk::Backlog;

/// Sealed memtables of one keyspace that may wait to be written to tables. Opening or fjall's thread may leave more; from
/// four on a commit would wait inside fjall.
const SEALED_MAX: usize = 2;
/// Runs of tables that may wait for compaction; fjall slows commits down from this number on.
const RUNS_MAX: usize = 20;
/// Pause between two looks at fjall's progress.
const LOOK: Duration = Duration::from_millis(1);
/// After so many looks others are told that a commit waits.
const LOOKS_TOLD: u64 = 1_000;
/// At each of so many looks the files are looked at, too: a compaction may take minutes until it is counted.
const LOOKS_PER_FILES: u64 = 500;

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

/// How a commit waits.
pub(super) struct Wait<'a> {
    /// The database's directory.
    pub(super) path: &'a Path,
    /// Without progress for so long fjall's thread is taken for ended.
    pub(super) idle_max: Duration,
    /// Where the wait, and each step of the work, is shown.
    pub(super) backlog: &'a Backlog,
}

/// Ends what is shown, however the wait ends.
struct Shown<'a>(&'a Backlog);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.set_waiting(false);
    }
}

/// Seals the memtable if it is full, and waits while too much work waits for fjall's thread. However long that takes: what is
/// done of it is a sign of life (decision 0017).
pub(super) fn make(
    database: &Database,
    keyspace: &Keyspace,
    limit: Limit,
    wait: &Wait<'_>,
) -> Result<(), NoRoom> {
    let _shown = Shown(wait.backlog);
    let (mut looks, mut idle_since) = (0, 0);
    let (mut seen, mut files) = (None, 0);
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
        if looks % LOOKS_PER_FILES == 0 {
            files = table_bytes(wait.path);
        }
        let done = Some((sealed, runs, database.compactions_completed(), files));
        if done != seen {
            (seen, idle_since) = (done, looks);
            wait.backlog.progressed();
        }
        if LOOK.saturating_mul(u32::try_from(looks - idle_since).unwrap_or(u32::MAX)) >= wait.idle_max {
            return Err(NoRoom::Idle);
        }
        looks += 1;
        if looks == LOOKS_TOLD {
            wait.backlog.set_waiting(true);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "fjall offers no event to wait for; this is the I/O thread"
        )]
        std::thread::sleep(LOOK);
    }
}

/// Bytes of the tables of all keyspaces, those being written included. What cannot be read counts as nothing: that it changes
/// is all that matters.
fn table_bytes(database: &Path) -> u64 {
    let entries = |directory: &Path| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let tables =
        entries(&database.join("keyspaces")).flat_map(|keyspace| entries(&keyspace.path().join("tables")));
    tables.filter_map(|table| table.metadata().ok()).map(|table| table.len()).sum()
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

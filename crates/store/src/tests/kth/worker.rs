//! The worker: runs the script on a real directory and records each acknowledgement at once.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_core::GroupId;
use quorate_store::{
    Disk, DiskError, FjallDisk, FjallOptions, OpenError, OpenReport, SnapshotError, Store, StoreOptions,
};

use super::files;
use crate::workload::{Action, World, act, after, options, read, script};

/// The data directory, below the watched one, so that its creation is watched, too.
pub(crate) const NODE: &str = "node";

/// The environment that makes this test binary a worker.
pub(crate) const DATA: &str = "KTH_DATA";
/// What the shim watches.
pub(crate) const WATCHED: &str = "KTH_DIRECTORY";
/// Set if the worker is to handle snapshot files and nothing else.
pub(crate) const FILES: &str = "KTH_FILES";
pub(crate) const SAYS: &str = "KTH_SAYS";
/// Set if the worker is to continue until fjall has deleted a journal.
pub(crate) const LONG: &str = "KTH_LONG";

/// Milliseconds by which the shim delays later calls.
pub(crate) const SLOW: &str = "KTH_SLOW";
const LINGER: Duration = Duration::from_millis(30);

/// Exit codes of the worker.
pub(crate) const FINISHED: i32 = 0;
pub(crate) const REFUSED: i32 = 3;
pub(crate) const FAILED: i32 = 4;
pub(crate) const WRONG: i32 = 5;

#[expect(
    clippy::disallowed_methods,
    reason = "a real disk beside no runtime: how long its calls take is what is measured"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The script, and the numbers of the actions before which the directory is closed and opened again.
pub(crate) fn actions() -> (Vec<Action>, Vec<usize>) {
    let mut actions = script();
    let mut reopened = vec![12, actions.len()];
    // Enough for memtables to rotate, tables to be written and merged, journals to be sealed and deleted.
    for round in 0..24 {
        actions.push(Action::Write(vec![("a", 8, None, None, 3, 400), ("b", 5, None, None, 1, 700)]));
        if round % 8 == 7 {
            actions.push(Action::Settle);
        }
    }
    reopened.push(actions.len());
    actions.extend([
        Action::Write(vec![("a", 9, Some("node1"), Some(70), 2, 300)]),
        Action::Settle,
        Action::Compact("a", 60),
        Action::Reclaim,
        Action::Write(vec![("b", 6, Some("node2"), None, 2, 5_000)]),
        Action::Settle,
    ]);
    (actions, reopened)
}

/// The world after `count` actions.
pub(crate) fn world_after(count: usize) -> World {
    actions().0.iter().take(count).fold(World::new(), |world, action| after(&world, action))
}

/// Locks the directory of a worker.
pub(crate) fn lock(path: &Path) -> Result<Box<dyn Disk>, DiskError> {
    // Small memtables, so that there are tables on disk; one thread, so that runs are alike.
    let options = FjallOptions {
        cache_bytes: 1 << 20,
        worker_threads: 1,
        log_memtable_bytes: 8 << 10,
        hard_memtable_bytes: 4 << 10,
        ..FjallOptions::default()
    };
    Ok(Box::new(FjallDisk::lock(path, options)?))
}

/// Opens the directory of a worker.
pub(crate) fn open(path: &Path) -> Result<(Store, OpenReport), OpenError> {
    Store::open(lock(path)?, StoreOptions { ballast_bytes: 64 << 10, ..options() })
}

/// Writes of 800 KB each.
const WRITES_MAX: u64 = 600;

/// What the worker says once its snapshot is published.
pub(crate) const PUBLISHED: &str = "published";

/// Writes a snapshot of group `a` at this index.
pub(crate) fn publish(store: &Store, index: u64) -> Result<(), SnapshotError> {
    files::publish(&store.snapshots(), files::head("a", index))
}

struct Transcript(File);

impl Transcript {
    fn line(&mut self, what: &str) {
        self.0.write_all(format!("{what}\n").as_bytes()).expect("what the worker says is written");
    }

    fn end(mut self, code: i32, what: &str) -> ! {
        self.line(what);
        if code == FAILED && std::env::var(SLOW).is_ok_and(|slow| slow != "0") {
            until_slow();
        }
        std::process::exit(code)
    }
}

/// Waits until fjall's thread is in its slow call, as the shim reports, or has had the time to get there.
fn until_slow() {
    let report = std::env::var("KTH_REPORT").expect("the shim has one");
    let start = now();
    while start.elapsed() < LINGER {
        if std::fs::read_to_string(&report)
            .is_ok_and(|said| said.lines().any(|line| line.starts_with("slow ")))
        {
            return;
        }
        std::thread::yield_now();
    }
}

/// Does nothing in a test run of its own: `rule_06_every_system_call_fails_once` starts it as a process.
#[test]
fn worker_process() {
    let (Ok(data), Ok(says)) = (std::env::var(DATA), std::env::var(SAYS)) else { return };
    let mut transcript = Transcript(File::create(says).expect("a file for what it says"));
    let data = PathBuf::from(data).join(NODE);
    if std::env::var_os(FILES).is_some() {
        let (store, _) = open(&data).expect("nothing fails outside the directory of snapshots");
        let done = files::script(&store.snapshots());
        drop(store);
        match done {
            Ok(()) => transcript.line(PUBLISHED),
            Err(wrong) => transcript.end(WRONG, &format!("wrong: {wrong}")),
        }
        transcript.end(FINISHED, "finished");
    }
    let (actions, reopened) = actions();
    let mut world = World::new();
    let mut store = None;
    for (at, action) in actions.iter().enumerate() {
        if reopened.contains(&at) {
            store = None;
        }
        let store = match &mut store {
            Some(store) => store,
            none => match open(&data) {
                Ok((opened, _)) => none.insert(opened),
                Err(error) => transcript.end(REFUSED, &format!("refused {error}")),
            },
        };
        if let Err(error) = act(store, &world, action) {
            if act(store, &world, &Action::Settle).is_ok() {
                transcript.end(WRONG, &format!("wrong: it answers after {error}"));
            }
            transcript.end(FAILED, &format!("failed {error}"));
        }
        world = after(&world, action);
        transcript.line("did");
        if matches!(action, Action::Settle) {
            look(store, &world, &mut transcript);
        }
    }
    match publish(store.as_ref().expect("there are actions"), 50) {
        Ok(()) => transcript.line(PUBLISHED),
        Err(error) => transcript.end(FAILED, &format!("failed {error}")),
    }
    if let Some(store) = store.as_mut().filter(|_| std::env::var(LONG).is_ok()) {
        outgrow_a_journal(store, world, &data, &mut transcript);
    }
    drop(store);
    transcript.end(FINISHED, "finished");
}

/// A journal ends at 64 MB and is deleted when tables hold its content. Memtables of up to 16 MiB wait for fjall's thread, then
/// those of the other keyspace, so on a busy machine another hundred MB may be written first.
fn outgrow_a_journal(store: &mut Store, mut world: World, data: &Path, transcript: &mut Transcript) {
    for written in 1..=WRITES_MAX {
        let action = Action::Write(vec![("a", 10, None, None, 100, 8_000), ("b", 7, None, None, 1, 100)]);
        act(store, &world, &action).expect("a healthy disk writes");
        world = after(&world, &action);
        transcript.line("did");
        if !data.join("db/0.jnl").exists() {
            transcript.line(&format!("deleted after {written} writes"));
            return;
        }
    }
    panic!("{WRITES_MAX} times 800 KB were written, and the first journal is still there");
}

/// What is read is what was written, or a typed error.
fn look(store: &Store, world: &World, transcript: &mut Transcript) {
    let look = |group: &GroupId| read(store, *group).map(|found| found == world[group]);
    for group in world.keys() {
        match look(group) {
            Ok(true) => {}
            Ok(false) => {
                transcript.line(&format!("wrong: group {group} reads otherwise than written"));
                std::process::exit(WRONG);
            }
            Err(error) => {
                transcript.line(&format!("failed {error}"));
                std::process::exit(FAILED);
            }
        }
    }
}

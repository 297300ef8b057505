//! Builds the shim, runs the worker under it, and checks the directory it leaves.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use quorate_core::GroupId;
use quorate_store::{DiskError, Offline, OpenError, OpenReport, Store};
use tempfile::TempDir;

use super::cases::{Case, Ended, Outcome};
use super::worker::{
    DATA, FAILED, FILES, FINISHED, LONG, NODE, PUBLISHED, REFUSED, SAYS, SLOW, WATCHED, actions, lock, now,
    open, publish, world_after,
};
use crate::promises::kept;
use crate::workload::{Action, World, act, after, held};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/kth/kth_call.c");
/// A worker takes a fraction of a second; after this many seconds it hangs.
const WORKER_SECONDS_MAX: &str = "60";

/// Exit code of the shim if it cannot set its filter.
const NO_FILTER: i32 = 90;
const UNLOCKED_WITHIN: Duration = Duration::from_secs(20);

/// The shim, compiled.
pub(crate) struct Shim {
    directory: TempDir,
    /// Only snapshot files are handled and watched.
    files: bool,
}

/// A directory and the files beside it.
struct Place {
    _owner: TempDir,
    /// The directory whose calls are watched.
    watched: PathBuf,
    data: PathBuf,
    says: PathBuf,
    report: PathBuf,
}

impl Place {
    fn new() -> Self {
        let owner = tempfile::tempdir().expect("a directory");
        let path = owner.path().canonicalize().expect("it is there");
        let at = |name: &str| path.join(name);
        let watched = at("watched");
        std::fs::create_dir(&watched).expect("made");
        Self { data: watched.join(NODE), watched, says: at("says"), report: at("report"), _owner: owner }
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Shim {
    /// Compiles it, and checks that it works here.
    pub(crate) fn build() -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err("the shim knows Linux on x86-64 only".to_owned());
        }
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let shim = Self { directory, files: false };
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(shim.library()).arg(SOURCE);
        let built = cc.output().map_err(|error| format!("no C compiler `cc`: {error}"))?;
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let (_, output) = shim.work(&[]);
        if output.status.code() == Some(NO_FILTER) {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(shim)
    }

    /// The same, for snapshot files alone.
    pub(crate) fn of_files(self) -> Self {
        Self { files: true, ..self }
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("kth_call.so")
    }

    fn work(&self, environment: &[(&str, String)]) -> (Place, Output) {
        let place = Place::new();
        let snapshots = place.data.join("snapshots");
        let watched = if self.files { &snapshots } else { &place.watched };
        let binary = std::env::current_exe().expect("this test binary has a path");
        let mut command = Command::new(binary);
        command.args(["--exact", "kth::worker::worker_process", "--test-threads=1"]);
        command.env_remove("RUST_BACKTRACE");
        command.env("LD_PRELOAD", self.library()).env("KTH_SECONDS", WORKER_SECONDS_MAX);
        command.env(DATA, &place.watched).env(SAYS, &place.says).env("KTH_REPORT", &place.report);
        command.env(WATCHED, watched);
        if self.files {
            command.env(FILES, "");
        }
        command.envs(environment.iter().map(|(name, value)| (*name, value)));
        let output = command.output().expect("the test binary runs");
        (place, output)
    }

    /// The number of calls of each name that the script makes below its directory.
    pub(crate) fn count(&self) -> BTreeMap<String, u64> {
        let (place, output) = self.work(&[]);
        assert!(output.status.success(), "without faults: {}\n{output:?}", Place::read(&place.says));
        let report = Place::read(&place.report);
        let counts = report.lines().filter_map(|line| line.strip_prefix("calls ")?.split_once(' '));
        counts.map(|(call, count)| (call.to_owned(), count.parse().expect("a number"))).collect()
    }

    /// Files that were not synced when their content was acknowledged, or when the journal that held it was deleted. A `deaf`
    /// audit ignores all syncs.
    pub(crate) fn unsynced(&self, deaf: bool) -> Vec<String> {
        let hearing = [(LONG, String::new()), ("KTH_DEAF", String::new())];
        let (place, output) = self.work(&hearing[..=usize::from(deaf)]);
        assert!(output.status.success(), "without faults: {}\n{output:?}", Place::read(&place.says));
        let report = Place::read(&place.report);
        let found = report.lines().filter_map(|line| line.strip_prefix("unsynced"));
        found.map(|line| line.replace(&place.watched.display().to_string(), "").trim().to_owned()).collect()
    }

    /// Runs one case. Returns its outcome, `None` if there are fewer calls than that, or what is wrong. After the failure each
    /// call of that name is delayed by `slow`.
    pub(crate) fn run(&self, case: &Case, slow: Duration) -> Result<Option<Outcome>, String> {
        let (place, output) = self.work(&[
            ("KTH_CALL", case.call.clone()),
            ("KTH_NUMBER", case.number.to_string()),
            ("KTH_KIND", case.kind.word().to_owned()),
            (SLOW, slow.as_millis().to_string()),
        ]);
        let (said, report) = (Place::read(&place.says), Place::read(&place.report));
        let hit = report.lines().find_map(|line| line.strip_prefix("hit "));
        let place_of_hit = hit.map(|hit| hit.rsplit("/watched").next().unwrap_or(hit));
        let last = said.lines().last().unwrap_or_default();
        let context = |why: String| format!("{why} [{}; it said: {last}]", place_of_hit.unwrap_or("no hit"));
        let ended = match output.status.code() {
            Some(FINISHED) => Ended::Finished,
            Some(REFUSED) => Ended::Refused,
            Some(FAILED) => Ended::Failed,
            Some(_) | None => {
                let stdout = String::from_utf8_lossy(&output.stdout);
                let panic = stdout.lines().find(|line| line.contains("panicked")).unwrap_or_default();
                return Err(context(format!("the worker ended with {}: {panic}", output.status)));
            }
        };
        let did = said.lines().filter(|line| *line == "did").count();
        let published = said.lines().any(|line| line == PUBLISHED);
        catch_unwind(AssertUnwindSafe(|| check(&place.data, did, published)))
            .unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Err(format!("panicked: {}", text.unwrap_or_default()))
            })
            .map_err(context)?;
        Ok(hit.map(|_| Outcome { kind: case.kind, ended }))
    }
}

/// Opens a directory that is closed. A process that another thread starts holds the lock from its fork to its exec.
fn reopen(data: &Path) -> Result<(Store, OpenReport), OpenError> {
    let start = now();
    loop {
        match open(data) {
            Err(OpenError::Disk(DiskError::Locked { .. })) if start.elapsed() < UNLOCKED_WITHIN => {
                std::thread::yield_now();
            }
            opened => return opened,
        }
    }
}

/// Opens what a worker left after `did` actions, checks it, continues to work, opens it again, and verifies it closed.
fn check(data: &Path, did: usize, published: bool) -> Result<(), String> {
    let (promised, next) = (world_after(did), world_after((did + 1).min(actions().0.len())));
    // The store that recovered is the one that works on: what it holds in memory must be right, not only the disk.
    let (mut store, report) = reopen(data).map_err(|error| format!("it does not open: {error}"))?;
    kept(&store, &report, &promised, &next)?;
    check_snapshots(&store, published).map_err(|why| format!("snapshots: {why}"))?;
    let mut world = World::new();
    let mut work = vec![Action::Group("a"), Action::Group("b")];
    work.push(Action::Write(vec![("a", 20, Some("node1"), None, 2, 50), ("b", 20, None, None, 1, 50)]));
    work.push(Action::Settle);
    for action in &work {
        act(&mut store, &world, action).map_err(|error| format!("work does not go on: {error}"))?;
        world = match action {
            Action::Group(name) => {
                let group = quorate_core::GroupId::of_name(name);
                world.insert(group, held(&store, group).ok_or("a group that was opened is not there")?);
                world
            }
            other => after(&world, other),
        };
    }
    drop(store);
    let (store, report) = reopen(data).map_err(|error| format!("it does not open again: {error}"))?;
    if !report.notices.is_empty() {
        return Err(format!("opened again it says {:?}", report.notices));
    }
    kept(&store, &report, &world, &world)?;
    drop(store);
    verify(data)
}

/// What has a snapshot's name is one, the one that was acknowledged is there, and the next one is written.
fn check_snapshots(store: &Store, published: bool) -> Result<(), String> {
    let (snapshots, group) = (store.snapshots(), GroupId::of_name("a"));
    let list = || snapshots.list(group).map_err(|error| error.to_string());
    let found = list()?;
    if let Some(damaged) = found.damaged.first() {
        return Err(damaged.error.to_string());
    }
    if published && found.found.is_empty() {
        return Err("the one that was published is gone".to_owned());
    }
    snapshots.remove_parts(group).map_err(|error| error.to_string())?;
    publish(store, 60).map_err(|error| error.to_string())?;
    let found = list()?.found;
    for info in &found {
        let file = snapshots.open(group, info.head.at).map_err(|error| error.to_string())?;
        file.verify().map_err(|error| error.to_string())?;
    }
    if found.first().is_none_or(|info| info.head.at.index.0 != 60) {
        return Err(format!("the next one is not the newest of {found:?}"));
    }
    Ok(())
}

/// Walks every log of a closed directory, and looks for rows that belong to none.
fn verify(data: &Path) -> Result<(), String> {
    let start = now();
    let disk = loop {
        match lock(data) {
            Err(DiskError::Locked { .. }) if start.elapsed() < UNLOCKED_WITHIN => std::thread::yield_now(),
            locked => break locked.map_err(|error| format!("it cannot be verified: {error}"))?,
        }
    };
    let opened = Offline::open(disk).map_err(|error| format!("it cannot be verified: {error}"))?;
    let report = opened.ok_or("there is nothing to verify")?.verify();
    let of_groups = report.groups.iter().flat_map(|group| &group.damage);
    let damage: Vec<_> = report.damage.iter().chain(of_groups).collect();
    if damage.is_empty() { Ok(()) } else { Err(format!("verified, it has {damage:?}")) }
}

//! Every system call of the real store fails once, in turn (`safety.md` 6, 16).
//!
//! A worker, which is this test binary again with a shim preloaded (`kth/kth_call.c`), carries out a script on a
//! real directory and records what was acknowledged. The k-th call of one name below the directory fails; then the directory
//! is opened without faults. What was acknowledged must be there, nothing may look like damage, work must go on, and the
//! worker must have ended in a way that was promised: it finished, it refused to open, or a call failed with a typed
//! error and nothing was answered after it.
//!
//! `QUORATE_DISK_STRIDE=1` takes every k; the default takes a few. `QUORATE_KTH=CALL:K:KIND` takes one case,
//! `QUORATE_KTH_SLOW` one of the sweep in which later calls are slow.

mod kth {
    pub(crate) mod cases;
    pub(crate) mod files;
    pub(crate) mod shim;
    pub(crate) mod worker;
}
#[allow(dead_code, reason = "shared with the tests of crash images, which need more of it")]
mod promises;
#[allow(dead_code, reason = "shared with the tests of crash images, which need more of it")]
mod workload;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use quorate_store::*;

use self::kth::cases::{Case, Fault, Outcome, cases};
use self::kth::shim::Shim;

/// One call in so many fails by default: a few seconds' worth.
const STRIDE: u64 = 131;
/// Of the calls on snapshot files, which are few.
const FILES_STRIDE: u64 = 5;

fn stride() -> u64 {
    std::env::var("QUORATE_DISK_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(STRIDE).max(1)
}

/// The shim, or `None` where it does not work: then the test is reported as skipped.
fn shim() -> Option<Shim> {
    let built = Shim::build();
    if let Err(why) = &built {
        skipped(&format!("disk sweep: {why}"));
    }
    built.ok()
}

/// A test that this machine cannot run: a line of the file that `QUORATE_SKIPS` names, which `.ci/run` prints; a failure
/// under `QUORATE_NO_SKIP`.
fn skipped(why: &str) {
    println!("SKIPPED: {why}");
    if let Ok(path) = std::env::var("QUORATE_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{why}")).expect("the list of skipped tests is written");
    }
    assert!(
        std::env::var_os("QUORATE_NO_SKIP").is_none(),
        "QUORATE_NO_SKIP is set, and this is skipped: {why}"
    );
}

/// Acknowledged means synced to the disk, not only written, and so is the directory that names the file.
#[test]
fn rule_02_what_is_acknowledged_was_synced() {
    let Some(shim) = shim() else { return };
    assert_eq!(shim.unsynced(false), Vec::<String>::new());
    let unheard = shim.unsynced(true);
    for file in [
        "/node when",
        "/anchor when",
        "/db when",
        "/db/0.jnl when",
        "/db/keyspaces when",
        "/tables/",
        "/snapshots when",
        ".snap when",
    ] {
        assert!(unheard.iter().any(|line| line.contains(file)), "a deaf audit does not see {file}");
    }
}

#[test]
fn rule_06_every_system_call_fails_once() {
    let Some(shim) = shim() else { return };
    if let Some(case) = chosen("QUORATE_KTH") {
        let outcome = shim.run(&case, Duration::ZERO);
        println!("{case}: {:?}", outcome.unwrap_or_else(|why| panic!("{case}: {why}")));
        return;
    }
    let counted = shim.count();
    assert!(counted.values().sum::<u64>() > 500, "the script makes few calls: {counted:?}");
    let swept = sweep(&shim, cases(&counted, stride()), Duration::ZERO);
    println!(
        "disk sweep: {} calls by name, {} made, stride {}; {}",
        counted.len(),
        counted.values().sum::<u64>(),
        stride(),
        swept
    );
    swept.judge("QUORATE_KTH");
}

/// The same for snapshot files alone, of which every call fails: a failure costs an attempt and no file, and no file is taken for damaged.
#[test]
fn rule_06_every_system_call_on_a_snapshot_file_fails_once() {
    let Some(shim) = shim() else { return };
    let shim = shim.of_files();
    if let Some(case) = chosen("QUORATE_KTH_FILES") {
        let outcome = shim.run(&case, Duration::ZERO);
        println!("{case}: {:?}", outcome.unwrap_or_else(|why| panic!("{case}: {why}")));
        return;
    }
    let counted = shim.count();
    for call in ["openat", "pread64", "pwrite64", "fsync", "rename", "unlink", "getdents64"] {
        assert!(counted.contains_key(call), "the script makes no {call}: {counted:?}");
    }
    let swept = sweep(&shim, cases(&counted, stride().min(FILES_STRIDE)), Duration::ZERO);
    println!("disk sweep: snapshot files, {counted:?}; {swept}");
    swept.judge("QUORATE_KTH_FILES");
}

/// After a failed change of its list of tables fjall keeps the old list in memory and writes the same file again at the next
/// change; until then `current`, already renamed, names that file with the checksum of the failed one. A process that ends
/// in between leaves what looks like damage. So every sync fails once, late, and each sync after it is slow.
#[test]
fn rule_06_a_list_of_tables_is_not_written_again_after_a_failure() {
    let Some(shim) = shim() else { return };
    let slow = Duration::from_millis(200);
    if let Some(case) = chosen("QUORATE_KTH_SLOW") {
        println!("{case}: {:?}", shim.run(&case, slow).unwrap_or_else(|why| panic!("{case}: {why}")));
        return;
    }
    let syncs = shim.count()["fsync"];
    let late = |number| Case { call: "fsync".to_owned(), number, kind: Fault::Late };
    let step = usize::try_from(stride().min(3)).expect("small");
    let swept = sweep(&shim, (1..=syncs).step_by(step).map(late).collect(), slow);
    println!("slow sweep: {syncs} syncs made; {swept}");
    swept.judge("QUORATE_KTH_SLOW");
}

/// The one case that the environment asks for.
fn chosen(variable: &str) -> Option<Case> {
    let text = std::env::var(variable).ok()?;
    Some(Case::parse(&text).unwrap_or_else(|| panic!("no case: {text}; one is openat:246:eio")))
}

/// The results of many cases.
struct Swept {
    outcomes: BTreeMap<Outcome, u64>,
    wrong: Vec<String>,
}

impl std::fmt::Display for Swept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said: Vec<_> =
            self.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let failed: u64 = self.outcomes.values().sum();
        write!(f, "{failed} failed: {}; {} wrong", said.join(", "), self.wrong.len())?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\ndisk sweep: WRONG {wrong}"))
    }
}

impl Swept {
    /// Fails if a case is wrong; prints the command that repeats the first one.
    fn judge(&self, variable: &str) {
        let first = self.wrong.first().map(String::as_str).unwrap_or_default();
        let case = first.split(' ').next().unwrap_or_default().trim_end_matches(':');
        assert!(
            self.wrong.is_empty(),
            "{first}\nreplay: {variable}={case} cargo test -p quorate-store --test kth_call rule_06 -- --nocapture"
        );
        let failed: u64 = self.outcomes.values().sum();
        assert!(failed >= 30, "too few calls failed to show anything: {:?}", self.outcomes);
    }
}

/// Runs the cases, two at a time.
fn sweep(shim: &Shim, cases: Vec<Case>, slow: Duration) -> Swept {
    let waiting = Mutex::new(cases);
    let swept = Mutex::new(Swept { outcomes: BTreeMap::new(), wrong: Vec::new() });
    let work = || {
        while let Some(case) = { waiting.lock().expect("no panic").pop() } {
            let ended = shim.run(&case, slow);
            let mut swept = swept.lock().expect("no panic");
            match ended {
                Ok(Some(outcome)) => *swept.outcomes.entry(outcome).or_default() += 1,
                // The number of calls varies from run to run by a few: fjall has a thread of its own.
                Ok(None) => {}
                Err(why) => swept.wrong.push(format!("{case}: {why}")),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    swept.into_inner().expect("no panic")
}

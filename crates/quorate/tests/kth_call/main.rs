//! Every system call of the real store fails once, in turn (`safety.md` 6, 16).
//!
//! A worker, which is this test binary again with a shim preloaded (`kth_call.c` beside this), carries out a script on a
//! real directory and says what was acknowledged. The k-th call of one name below the directory fails; then the directory
//! is opened without faults. What was acknowledged must be there, nothing may look like damage, work must go on, and the
//! worker must have ended in a way that was promised: it finished, it refused to open, or a call failed with a typed
//! error and nothing was answered after it.
//!
//! `QUORATE_DISK_STRIDE=1` takes every k; the default takes a few. `QUORATE_KTH=CALL:K:KIND` takes one case.

mod cases;
#[path = "../../src/store/tests/promises.rs"]
#[allow(dead_code, reason = "shared with the tests of crash images, which need more of it")]
mod promises;
mod shim;
#[path = "../../../../tests/skip.rs"]
#[allow(unreachable_pub, reason = "shared with the tests of processes, whose library shows it")]
mod skip;
mod worker;
#[path = "../../src/store/tests/workload.rs"]
#[allow(dead_code, reason = "shared with the tests of crash images, which need more of it")]
mod workload;

/// What the shared modules call it.
mod store {
    pub(crate) use quorate::store::*;
}

use std::collections::BTreeMap;
use std::sync::Mutex;

use self::cases::{Case, Outcome, cases};
use self::shim::Shim;

/// Every so many calls one fails, where nobody says otherwise: a few seconds' worth.
const STRIDE: u64 = 131;

fn stride() -> u64 {
    std::env::var("QUORATE_DISK_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(STRIDE).max(1)
}

/// The shim, or `None` where it does not work: then the test says so.
fn shim() -> Option<Shim> {
    let built = Shim::build();
    if let Err(why) = &built {
        skip::skipped(&format!("disk sweep: {why}"));
    }
    built.ok()
}

/// Acknowledged is on the disk: not handed to the system, but synced, and so is the directory that names it.
#[test]
fn rule_02_what_is_acknowledged_was_synced() {
    let Some(shim) = shim() else { return };
    assert_eq!(shim.unsynced(false), Vec::<String>::new());
    let unheard = shim.unsynced(true);
    for file in ["/node when", "/anchor when", "/db when", "/db/0.jnl when", "/db/keyspaces when", "/tables/"]
    {
        assert!(unheard.iter().any(|line| line.contains(file)), "a deaf audit does not see {file}");
    }
}

#[test]
fn rule_06_every_system_call_fails_once() {
    let Some(shim) = shim() else { return };
    if let Ok(text) = std::env::var("QUORATE_KTH") {
        let case = Case::parse(&text).unwrap_or_else(|| panic!("no case: {text}; one is openat:246:eio"));
        match shim.run(&case) {
            Ok(outcome) => println!("{case}: {outcome:?}"),
            Err(why) => panic!("{case}: {why}"),
        }
        return;
    }
    let counted = shim.count();
    assert!(counted.values().sum::<u64>() > 500, "the script makes few calls: {counted:?}");
    let waiting = Mutex::new(cases(&counted, stride()));
    let (outcomes, wrong) = (Mutex::new(BTreeMap::<Outcome, u64>::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = { waiting.lock().expect("no panic").pop() } {
            match shim.run(&case) {
                Ok(Some(outcome)) => *outcomes.lock().expect("no panic").entry(outcome).or_default() += 1,
                // It makes a call more or less from run to run: fjall has threads of its own.
                Ok(None) => {}
                Err(why) => wrong.lock().expect("no panic").push(format!("{case}: {why}")),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let (outcomes, wrong) = (outcomes.into_inner().expect("no panic"), wrong.into_inner().expect("no panic"));
    let said: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    println!(
        "disk sweep: {} calls by name, {} made, stride {}; {} failed: {}; {} wrong",
        counted.len(),
        counted.values().sum::<u64>(),
        stride(),
        outcomes.values().sum::<u64>(),
        said.join(", "),
        wrong.len()
    );
    for wrong in &wrong {
        println!("disk sweep: WRONG {wrong}");
    }
    let first = wrong.first().map(String::as_str).unwrap_or_default();
    let case = first.split(' ').next().unwrap_or_default().trim_end_matches(':');
    assert!(
        wrong.is_empty(),
        "{first}\nreplay: QUORATE_KTH={case} cargo test -p quorate --test kth_call -- --nocapture"
    );
    assert!(outcomes.values().sum::<u64>() >= 50, "too few calls failed to show anything: {outcomes:?}");
}

//! Crash images: the machine stops at every write boundary of the script, with unsynced writes lost, kept or torn. What is
//! found then must be exactly what was promised: acknowledged writes are there, unacknowledged ones are there whole or not at
//! all, and nothing looks like damage.

use super::promises::kept;
use super::workload::{Action, Held, World, act, after, held, open, script};
use crate::anchor::Anchor;
use crate::{Crash, SimDisk, SimImage, Store};

/// The script up to the step where the machine stops.
struct Stopped {
    disk: SimDisk,
    /// What was acknowledged.
    promised: World,
    /// The action in progress, and what would hold if it had finished.
    under_way: Option<(Action, World)>,
}

fn run(stop_at: u64) -> Stopped {
    let disk = SimDisk::new();
    disk.stop_at(stop_at);
    let stopped = run_on(disk);
    if let Some((action, _)) = &stopped.under_way {
        assert!(stopped.disk.has_stopped(), "nothing fails but the machine: {action:?}");
    }
    stopped
}

fn run_on(disk: SimDisk) -> Stopped {
    let mut promised = World::new();
    let Ok((mut store, _)) = open(&disk) else { return Stopped { disk, promised, under_way: None } };
    for action in script() {
        let next = after(&promised, &action);
        if act(&mut store, &promised, &action).is_err() {
            return Stopped { disk, promised, under_way: Some((action, next)) };
        }
        promised = next;
    }
    Stopped { disk, promised, under_way: None }
}

/// Number of steps of the whole script.
fn steps() -> u64 {
    run(u64::MAX).disk.steps()
}

/// Opens an image; an error says what is wrong with it.
fn check(image: SimImage, stopped: &Stopped) -> Result<Store, String> {
    let (store, report) = open(&SimDisk::from_image(image)).map_err(|error| error.to_string())?;
    let next = stopped.under_way.as_ref().map_or(&stopped.promised, |(_, next)| next);
    kept(&store, &report, &stopped.promised, next).map(|()| store)
}

const CRASHES: [Crash; 4] = [Crash::Lost, Crash::Kept, Crash::Torn, Crash::Process];

/// Every combination of fates of the unsynced writes: three to the power of their number.
fn mixed(disk: &SimDisk) -> impl Iterator<Item = Crash> + use<> {
    let writes = u32::try_from(disk.unsynced()).expect("few");
    (0..3_u64.pow(writes)).map(move |mut which| {
        let bits = (0..writes).fold(0, |bits, write| {
            let fate = which % 3;
            which /= 3;
            bits | fate << (2 * write)
        });
        Crash::Mixed(bits)
    })
}

#[test]
fn rule_04_every_crash_image_holds_what_was_promised() {
    let steps = steps();
    assert!(steps > 60, "the script has {steps} write boundaries");
    let (mut images, mut most) = (0, 0);
    for stop_at in 1..=steps {
        let stopped = run(stop_at);
        for crash in CRASHES.into_iter().chain(mixed(&stopped.disk)) {
            let what = || format!("stopped at step {stop_at}, {crash:?}, {:?}", stopped.under_way);
            let checked = check(stopped.disk.crash(crash), &stopped);
            checked.unwrap_or_else(|wrong| panic!("{wrong}; {}", what()));
            images += 1;
        }
        most = most.max(stopped.disk.unsynced());
    }
    assert!(most > 2 && images > 600, "{images} images, {most} unsynced writes at most");
}

/// What opening finds only in the page cache it must write to the disk before it answers. A sync does not do that for pages the
/// system takes for clean: the next crash would lose a vote or an entry that was acknowledged meanwhile.
#[test]
fn rule_10_bug_72_what_an_opening_found_is_on_the_disk() {
    let stops = (1..=steps()).map(run);
    let failing = (0..).map(|sync| {
        let disk = SimDisk::new();
        disk.fail_sync_in(sync);
        run_on(disk)
    });
    let failing = failing.take_while(|failed| failed.disk.sync_failed());
    let (mut failures, mut cached) = (0, 0);
    for stopped in stops.chain(failing) {
        let what = format!("sync failed: {}, {:?}", stopped.disk.sync_failed(), stopped.under_way);
        failures += usize::from(stopped.disk.sync_failed());
        cached += stopped.disk.unsynced();
        let disk = SimDisk::from_image(stopped.disk.crash(Crash::Process));
        let (store, report) = open(&disk).unwrap_or_else(|error| panic!("{error}; {what}"));
        let next = stopped.under_way.as_ref().map_or(&stopped.promised, |(_, next)| next);
        kept(&store, &report, &stopped.promised, next).unwrap_or_else(|wrong| panic!("{wrong}; {what}"));
        let lost = disk.crash(Crash::Lost);
        let (anchor, _) = Anchor::load(&SimDisk::from_image(lost.clone())).expect("a whole anchor");
        let (again, _) = open(&SimDisk::from_image(lost)).unwrap_or_else(|error| panic!("{error}; {what}"));
        for group in &report.groups {
            let found = held(&store, group.group);
            assert_eq!(found, held(&again, group.group), "{what}");
            // The database is not enough: it may be damaged before the anchor is written again.
            if let Some(found) = found {
                let slot = anchor.slot_of(group.group).expect("a group has a cell before it has a log");
                assert_eq!(anchor.groups[slot].record.hard, found.hard, "{what}");
            }
        }
    }
    assert!(failures > 30 && cached > 30, "{failures} failed syncs, {cached} writes in the page cache alone");
}

/// A crash during the recovery from another crash.
#[test]
fn rule_01_crashes_while_opening_change_nothing() {
    let steps = steps();
    for stop_at in (1..=steps).step_by(3) {
        let stopped = run(stop_at);
        for crash in CRASHES {
            for second in 1..12 {
                let disk = SimDisk::from_image(stopped.disk.crash(crash));
                disk.stop_at(second);
                if open(&disk).is_ok() {
                    break;
                }
                for again in CRASHES {
                    let checked = check(disk.crash(again), &stopped);
                    checked.unwrap_or_else(|wrong| {
                        panic!("{wrong}; stopped at {stop_at}, {crash:?}, then at {second}, {again:?}")
                    });
                }
            }
        }
    }
}

/// After any crash the node goes on, and what it does then survives the next one.
#[test]
fn rule_09_work_goes_on_after_every_crash() {
    for stop_at in 1..=steps() {
        let stopped = run(stop_at);
        let disk = SimDisk::from_image(stopped.disk.crash(Crash::Torn));
        let (mut store, _) = open(&disk).expect("checked in rule_04");
        let mut world = World::new();
        for name in ["a", "b"] {
            act(&mut store, &world, &Action::Group(name)).expect("a group opens, or is found");
            let group = quorate_core::GroupId::of_name(name);
            world.insert(group, held(&store, group).expect("opened"));
        }
        for round in 0..3_u64 {
            let action = Action::Write(vec![
                ("a", 10 + round, Some("node1"), None, 2, 50),
                ("b", 10 + round, None, None, 1, 50),
            ]);
            act(&mut store, &world, &action).expect("a healthy disk writes");
            world = after(&world, &action);
        }
        store.settle_anchor().expect("a healthy disk writes");
        drop(store);
        let (store, report) = open(&SimDisk::from_image(disk.crash(Crash::Lost))).expect("it opens");
        assert!(report.notices.is_empty(), "stopped at {stop_at}: {:?}", report.notices);
        let found: Vec<Held> = world.keys().filter_map(|group| held(&store, *group)).collect();
        assert_eq!(found, world.values().cloned().collect::<Vec<_>>(), "stopped at {stop_at}");
    }
}

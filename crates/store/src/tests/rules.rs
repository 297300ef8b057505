//! `safety.md` 7, 8, 10, 16 and the bugs of other engines that concern a store.

use std::ops::ControlFlow;

use quorate_core::{GroupId, Index, decode_run};

use super::votes::settled;
use super::workload::{Action, World, act, after, entries, founding, hard, held, open, options};
use crate::log::run_key;
use crate::{
    Batch, Crash, Disk, DiskError, GroupWrite, Keyspace, Offline, OpenNotice, SimDisk, Store, StoreError,
};

fn group() -> GroupId {
    GroupId::of_name("a")
}

fn rows(disk: &SimDisk) -> usize {
    let mut rows = 0;
    disk.scan(Keyspace::Log, &[], &mut |_, _| {
        rows += 1;
        ControlFlow::Continue(())
    })
    .expect("it scans");
    rows
}

#[test]
fn rule_07_a_run_goes_only_when_its_last_entry_is_below_the_marker() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk).expect("it opens");
    let mut world = World::new();
    for action in [
        Action::Group("a"),
        Action::Write(vec![("a", 1, None, None, 5, 10)]),
        Action::Write(vec![("a", 1, None, None, 5, 10)]),
        Action::Write(vec![("a", 1, None, None, 5, 10)]),
    ] {
        act(&mut store, &world, &action).expect("it writes");
        world = after(&world, &action);
    }
    for (through, left) in [(4, 3), (5, 2), (9, 2), (10, 1), (14, 1)] {
        for action in [Action::Compact("a", through), Action::Reclaim] {
            act(&mut store, &world, &action).expect("it writes");
            world = after(&world, &action);
        }
        assert_eq!(rows(&disk), left, "compacted through {through}");
        assert_eq!(held(&store, group()).as_ref(), world.get(&group()));
    }
    drop(store);
    // Dropped rows come back after reopening, and are harmless.
    let disk = SimDisk::from_image(disk.crash(Crash::Lost));
    let (mut store, report) = open(&disk).expect("it opens");
    assert!(report.notices.is_empty());
    assert_eq!(rows(&disk), 3, "dropped rows came back");
    assert_eq!(held(&store, group()).as_ref(), world.get(&group()));
    assert!(store.has_dead_runs());
    store.reclaim().expect("it frees them again");
    assert_eq!(rows(&disk), 1);
}

#[test]
fn rule_07_bug_61_an_install_over_a_conflict_is_one_batch() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk).expect("it opens");
    let world = World::new();
    act(&mut store, &world, &Action::Group("a")).expect("it opens");
    let world = after(&world, &Action::Group("a"));
    let write = Action::Write(vec![("a", 1, None, None, 20, 100)]);
    act(&mut store, &world, &write).expect("it writes");
    let before = disk.crash(Crash::Lost).batches();
    act(&mut store, &world, &Action::Install("a", 3, 10)).expect("it installs");
    assert_eq!(disk.crash(Crash::Lost).batches(), before + 1);
    let beyond = disk.scan(Keyspace::Log, &[], &mut |_, row| {
        let last = decode_run(&row).expect("it is whole").pop().expect("a run has an entry");
        assert!(last.index <= Index(10), "{} reaches beyond the snapshot", last.index);
        ControlFlow::Continue(())
    });
    beyond.expect("it scans");
    store.reclaim().expect("it frees the others");
    assert_eq!(rows(&disk), 0, "no row of the old log is left, below or above the snapshot");
}

/// Nothing of a node is persisted meanwhile, no vote of any group: a long log that a snapshot replaces is not read.
#[test]
fn rule_07_an_install_reads_nothing_of_a_log_that_ends_below_it() {
    const RUNS: usize = 50;
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk).expect("it opens");
    let mut world = World::new();
    let write = || Action::Write(vec![("a", 1, None, None, 5, 10)]);
    for action in [Action::Group("a")].into_iter().chain((0..RUNS).map(|_| write())) {
        act(&mut store, &world, &action).expect("it writes");
        world = after(&world, &action);
    }
    let (reads, bytes) = (disk.log_reads(), disk.free_bytes().expect("measured"));
    let install = Action::Install("a", 3, 5 * RUNS as u64 + 7);
    act(&mut store, &world, &install).expect("it installs");
    world = after(&world, &install);
    assert_eq!((disk.log_reads(), rows(&disk)), (reads, RUNS));
    assert_eq!(held(&store, group()).as_ref(), world.get(&group()));
    // The process may end before they are freed, and after that.
    for image in [disk.crash(Crash::Lost), {
        assert!(store.has_dead_runs());
        store.reclaim().expect("it frees them");
        assert_eq!(rows(&disk), 0);
        assert!(disk.free_bytes().expect("measured") > bytes);
        disk.crash(Crash::Lost)
    }] {
        let disk = SimDisk::from_image(image);
        let (mut store, report) = open(&disk).expect("it opens");
        assert!(report.notices.is_empty(), "{:?}", report.notices);
        assert_eq!(held(&store, group()).as_ref(), world.get(&group()));
        let write = Action::Write(vec![("a", 4, None, None, 5, 10)]);
        act(&mut store, &world, &write).expect("it writes");
        let world = after(&world, &write);
        store.reclaim().expect("it frees them again");
        assert_eq!(rows(&disk), 1);
        assert_eq!(held(&store, group()).as_ref(), world.get(&group()));
    }
}

#[test]
fn rule_08_bug_45_a_rotten_entry_is_never_read_as_another_or_as_the_end() {
    let (image, world) = settled();
    let disk = SimDisk::from_image(image);
    let (store, _) = open(&disk).expect("it opens");
    let key = run_key(group(), Index(5));
    let whole = disk.get(Keyspace::Log, &key).expect("it reads").expect("the second run");
    for byte in 0..whole.len() {
        let mut rotten = whole.to_vec();
        rotten[byte] ^= 0x10;
        put(&disk, &key, Some(rotten));
        let read = store.read(group(), Index(1), Index(10), usize::MAX);
        assert!(matches!(&read, Err(error) if error.is_fatal()), "byte {byte}: {read:?}");
        assert!(store.load(group(), usize::MAX).is_err(), "byte {byte}");
        let offline = Offline::open(Box::new(disk.clone())).expect("it opens").expect("it was made");
        assert!(offline.verify().groups.iter().any(|group| !group.damage.is_empty()), "byte {byte}");
    }
    put(&disk, &key, None);
    let hole = store.read(group(), Index(3), Index(6), usize::MAX);
    assert!(matches!(hole, Err(StoreError::Damaged { .. })), "a hole is no end of the log: {hole:?}");
    put(&disk, &key, Some(whole.to_vec()));
    let last = run_key(group(), Index(8));
    put(&disk, &last, None);
    let end = store.read(group(), Index(3), Index(10), usize::MAX);
    assert!(matches!(end, Err(StoreError::Damaged { .. })), "nor is a missing last run: {end:?}");
    assert_eq!(world[&group()].entries.len(), 10);
}

fn put(disk: &SimDisk, key: &[u8], value: Option<Vec<u8>>) {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(Keyspace::Log, key.to_vec(), value.into()),
        None => batch.remove(Keyspace::Log, key.to_vec()),
    }
    disk.clone().commit(&batch).expect("it writes");
}

#[test]
fn rule_10_what_failed_to_sync_is_never_read() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk).expect("it opens");
    store.open_group("a", &founding()).expect("it opens");
    let new = entries(quorate_core::Position::ORIGIN, 1, 3, 10);
    let write =
        GroupWrite { group: group(), hard_state: hard(1, None), truncate_from: None, entries: new.into() };
    // The sync of the anchor succeeds, that of the batch fails.
    disk.fail_sync_in(1);
    assert!(store.write(vec![write]).is_err());
    assert!(store.read(group(), Index(1), Index(3), 100).is_err(), "no answer after a failure");
}

#[test]
fn bug_72_nothing_works_after_a_failed_sync() {
    for failing in 0..2 {
        let (image, world) = settled();
        let disk = SimDisk::from_image(image);
        let (mut store, _) = open(&disk).expect("it opens");
        disk.fail_sync_in(failing);
        let new = entries(world[&group()].last(), 3, 3, 10);
        let write = GroupWrite {
            group: group(),
            hard_state: hard(3, None),
            truncate_from: None,
            entries: new.clone().into(),
        };
        assert!(store.write(vec![write.clone()]).is_err());
        assert!(matches!(store.write(vec![write]), Err(StoreError::Failed)), "it is not tried again");
        assert!(matches!(store.settle_anchor(), Err(StoreError::Failed)));
        assert!(matches!(store.load(group(), 1), Err(StoreError::Failed)));
        drop(store);
        // The outcome is unknown: the batch is there whole or not at all, and it looks like an ordinary crash.
        for crash in [Crash::Lost, Crash::Kept, Crash::Torn] {
            let (store, report) = open(&SimDisk::from_image(disk.crash(crash))).expect("it opens");
            assert!(report.groups.iter().all(|group| !group.recovering));
            let found = held(&store, group()).expect("open").entries.len();
            assert!(found == 10 || found == 13, "{crash:?}: {found} entries");
        }
    }
}

#[test]
fn bug_70_a_torn_last_batch_is_cut_and_said() {
    let (image, world) = settled();
    let disk = SimDisk::from_image(image);
    let (mut store, _) = open(&disk).expect("it opens");
    let new = entries(world[&group()].last(), 2, 3, 10);
    let hard_state = world[&group()].hard.clone();
    let write = GroupWrite { group: group(), hard_state, truncate_from: None, entries: new.into() };
    disk.stop_at(disk.steps() + 1);
    assert!(store.write(vec![write]).is_err());
    let (store, report) = open(&SimDisk::from_image(disk.crash(Crash::Torn))).expect("it opens");
    assert!(matches!(report.notices.as_slice(), [OpenNotice::TornTail(_)]), "{:?}", report.notices);
    assert_eq!(held(&store, group()).as_ref(), world.get(&group()));
}

#[test]
fn rule_16_bug_73_a_full_disk_is_seen_before_the_engine_meets_it() {
    let disk = SimDisk::new();
    let mut with_reserve = options();
    with_reserve.reserve_bytes_min = Some(20_000);
    with_reserve.ballast_bytes = 25_000;
    let boxed = || -> Box<dyn Disk> { Box::new(disk.clone()) };
    disk.set_capacity(200_000);
    let (mut store, _) = Store::open(boxed(), with_reserve.clone()).expect("it opens");
    assert_eq!(disk.ballast_bytes().expect("it answers"), 25_000, "the ballast is made in good times");
    store.open_group("a", &founding()).expect("it opens");
    let mut last = quorate_core::Position::ORIGIN;
    let mut accepted = 0;
    while !store.space().expect("it answers").is_full() {
        let new = entries(last, 1, 1, 1_000);
        last = new[0].position();
        let write = GroupWrite {
            group: group(),
            hard_state: hard(1, None),
            truncate_from: None,
            entries: new.into(),
        };
        store.write(vec![write]).expect("above the reserve everything is written");
        accepted += 1;
    }
    let space = store.space().expect("it answers");
    assert!(space.reserve_bytes >= 2 * space.live_bytes && accepted > 10, "{space:?}");
    // Below the reserve term and vote are still written.
    let hard_state = hard(2, Some("node1"));
    let vote = GroupWrite { group: group(), hard_state, truncate_from: None, entries: Vec::new().into() };
    store.write(vec![vote]).expect("a vote is small");
    drop(store);
    // A start on a full disk: the ballast is deleted first, and the node opens.
    disk.set_capacity(200_000 - space.free_bytes + 2_000);
    let (mut store, report) = Store::open(boxed(), with_reserve).expect("it opens");
    assert!(report.notices.contains(&OpenNotice::BallastDropped { bytes: 25_000 }));
    assert!(store.space().expect("it answers").is_full());
    // If a write still meets a full disk, the store ends.
    disk.set_capacity(0);
    let write = GroupWrite {
        group: group(),
        hard_state: hard(3, None),
        truncate_from: None,
        entries: Vec::new().into(),
    };
    let full = store.write(vec![write.clone()]);
    assert!(matches!(full, Err(StoreError::Disk(DiskError::Full { .. }))), "{full:?}");
    disk.set_capacity(1 << 30);
    assert!(matches!(store.write(vec![write]), Err(StoreError::Failed)));
}

#[test]
fn rule_07_bug_41_the_run_index_is_bounded() {
    let disk = SimDisk::new();
    let mut few = options();
    few.boundaries_max = 16;
    let (mut store, _) = Store::open(Box::new(disk), few).expect("it opens");
    store.open_group("a", &founding()).expect("it opens");
    let mut last = quorate_core::Position::ORIGIN;
    for _ in 0..500 {
        let new = entries(last, 1, 1, 10);
        last = new[0].position();
        let write = GroupWrite {
            group: group(),
            hard_state: hard(1, None),
            truncate_from: None,
            entries: new.into(),
        };
        store.write(vec![write]).expect("it writes");
    }
    assert!(store.groups[&group()].runs.len() <= 17);
    let tail = store.load(group(), 10 * 74).expect("it loads").tail;
    assert_eq!((tail.base().index, tail.last()), (Index(490), last), "no more than was asked for");
    assert_eq!(store.space().expect("it answers").live_bytes, 500 * 74, "no run is forgotten in the sum");
    let cut = GroupWrite {
        group: group(),
        hard_state: hard(2, None),
        truncate_from: Some(Index(101)),
        entries: Vec::new().into(),
    };
    store.write(vec![cut]).expect("it truncates");
    assert_eq!(
        held(&store, group()).expect("open").last().index,
        Index(100),
        "index and disk truncate together"
    );
}

#[test]
fn bug_74_compaction_does_not_pass_the_durable_end() {
    let (image, _) = settled();
    let (mut store, _) = open(&SimDisk::from_image(image)).expect("it opens");
    assert!(matches!(store.compact(group(), Index(11)), Err(StoreError::Outside { .. })));
    store.compact(group(), Index(10)).expect("up to the end it may");
    assert_eq!(store.locate(group(), Index(10)).expect("the beginning").index, Index(10));
}

#[test]
fn rule_01_a_misdirected_sector_is_seen() {
    let (image, world) = settled();
    for skip in 0..2 {
        let disk = SimDisk::from_image(image.clone());
        let (mut store, _) = open(&disk).expect("it opens");
        for term in 0..=skip {
            disk.misdirect_next_sector();
            let hard_state = hard(8 + term, Some("node2"));
            let write =
                GroupWrite { group: group(), hard_state, truncate_from: None, entries: Vec::new().into() };
            store.write(vec![write]).expect("it is not detected yet");
        }
        // The sector may be in the next group's cell: it is detected, and the database's copy holds.
        let (store, _) = open(&SimDisk::from_image(disk.crash(Crash::Lost))).expect("the database is whole");
        assert_eq!(held(&store, group()).expect("open").hard, hard(8 + skip, Some("node2")));
        let other = GroupId::of_name("b");
        assert_eq!(held(&store, other).as_ref(), world.get(&other), "nor is the other group's vote lost");
    }
}

/// Each conflict added what it removed to the sum, and the reserve grew with it.
#[test]
fn rule_16_the_live_log_is_what_is_left_after_truncations() {
    let (mut store, _) = Store::open(Box::new(SimDisk::new()), options()).expect("it opens");
    store.open_group("a", &founding()).expect("it opens");
    let log = entries(quorate_core::Position::ORIGIN, 1, 20, 10);
    for at in [20, 5, 7, 13, 7, 1, 20, 19] {
        let truncate_from = (store.space().expect("it answers").live_bytes > 0).then_some(Index(at));
        let from = truncate_from.map_or(0, |from| from.0 as usize - 1);
        let new = log[from..].to_vec();
        let write =
            GroupWrite { group: group(), hard_state: hard(1, None), truncate_from, entries: new.into() };
        store.write(vec![write]).expect("it writes");
        let live = log.iter().map(|entry| entry.encoded_bytes() as u64).sum::<u64>();
        assert_eq!(store.space().expect("it answers").live_bytes, live, "cut at {at}");
    }
}

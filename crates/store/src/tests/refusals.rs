//! `safety.md` 1, 5, 6: a refusal holds at every attempt, and a replaced database stays replaced whichever sector rots later.

use quorate_core::{GroupId, HardRecord, Position};

use super::votes::settled;
use super::workload::{Held, entries, founding, hard, held, open};
use crate::anchor::{Anchor, DatabaseStatus, GroupRecord};
use crate::{
    Crash, DiskError, GroupWrite, OpenError, OpenNotice, OpenReport, Rot, SimDisk, SimImage, Store,
    StoreError,
};

pub(super) fn group() -> GroupId {
    GroupId::of_name("a")
}

pub(super) fn reopened(image: &SimImage) -> Result<(Store, OpenReport), OpenError> {
    open(&SimDisk::from_image(image.clone()))
}

pub(super) fn vote(term: u64, vote: Option<&str>) -> GroupWrite {
    GroupWrite {
        group: group(),
        hard_state: hard(term, vote),
        truncate_from: None,
        entries: Vec::new().into(),
    }
}

fn rots(sector: u64) -> [Rot; 2] {
    [Rot::Sector { sector, byte: 60 }, Rot::BlankSector { sector }]
}

/// The image after another identity was written over it, in both sectors.
fn with_identity(image: SimImage, change: impl FnOnce(&mut Anchor)) -> SimImage {
    let mut disk = SimDisk::from_image(image);
    let (mut anchor, _) = Anchor::load(&disk).expect("a whole anchor");
    change(&mut anchor);
    anchor.write_identity_twice(&mut disk).expect("it writes");
    disk.crash(Crash::Lost)
}

#[test]
fn rule_06_a_replaced_database_outlives_either_sector_of_the_identity() {
    let (image, _) = settled();
    let disk = SimDisk::from_image(image.rot(&Rot::Batch { batch: 4 }));
    let (mut store, _) = open(&disk).expect("it recovers");
    store.open_group("a", &founding()).expect("it is found in the anchor");
    let new = entries(Position::ORIGIN, 2, 10, 10);
    let write = GroupWrite { entries: new.clone().into(), ..vote(2, Some("node1")) };
    store.write(vec![write]).expect("the log is refilled, and the flag clears");
    store.settle_anchor().expect("it settles");
    let image = disk.crash(Crash::Lost);
    for rot in [rots(0), rots(1)].concat() {
        let (store, report) = reopened(&image.clone().rot(&rot)).expect("one sector is whole");
        let aside = report.notices.iter().any(|notice| matches!(notice, OpenNotice::SetAside { .. }));
        assert!(!aside, "{rot:?}: a healthy database was set aside");
        let expected = Held { start: Position::ORIGIN, entries: new.clone(), hard: hard(2, Some("node1")) };
        assert_eq!(held(&store, group()), Some(expected), "{rot:?}");
    }
}

#[test]
fn rule_06_a_new_group_outlives_either_sector_of_the_identity() {
    let (image, world) = settled();
    for rot in [rots(0), rots(1)].concat() {
        let (store, _) = reopened(&image.clone().rot(&rot)).expect("one sector is whole");
        for (id, expected) in &world {
            assert_eq!(held(&store, *id).as_ref(), Some(expected), "{rot:?}");
        }
    }
}

#[test]
fn rule_05_an_identity_that_says_rebuilding_marks_every_group() {
    let (image, world) = settled();
    let image = with_identity(image, |anchor| anchor.identity.status = DatabaseStatus::Rebuilding);
    for rot in [rots(0), rots(1)].concat() {
        let (mut store, report) = reopened(&image.clone().rot(&rot)).expect("it goes on replacing");
        assert!(report.groups.iter().all(|group| group.recovering), "{rot:?}");
        for (name, id) in ["a", "b"].map(|name| (name, GroupId::of_name(name))) {
            store.open_group(name, &founding()).expect("it is found in the anchor");
            let expected = world[&id].hard.marked_recovering();
            assert_eq!(held(&store, id).expect("open").hard, expected, "{rot:?}");
        }
    }
    let (_, report) = reopened(&image).expect("it goes on replacing");
    assert!(report.groups.iter().all(|group| group.recovering));
}

#[test]
fn rule_05_a_group_the_anchor_knows_and_the_database_does_not_recovers() {
    let (image, _) = settled();
    let disk = SimDisk::from_image(image);
    let (mut store, _) = open(&disk).expect("it opens");
    store.groups.remove(&group());
    store.open_group("a", &founding()).expect("it is found in the anchor");
    let expected = hard(2, Some("node1")).marked_recovering();
    assert_eq!(store.groups[&group()].hard, expected);
    drop(store);
    let (anchor, _) = Anchor::load(&SimDisk::from_image(disk.crash(Crash::Lost))).expect("a whole anchor");
    assert_eq!(anchor.groups[0].record.hard, expected, "durably, before a role starts");
}

/// Opens repeatedly: the same refusal each time, and nothing is written.
pub(super) fn stays_refused(what: &str, image: &SimImage) -> OpenError {
    let disk = SimDisk::from_image(image.clone());
    let first = open(&disk).expect_err(what);
    for attempt in 2..8 {
        match open(&disk) {
            Err(again) => assert_eq!(again.to_string(), first.to_string(), "{what}, attempt {attempt}"),
            Ok(_) => panic!("{what}: attempt {attempt} opened what had been refused: {first}"),
        }
    }
    let after = disk.crash(Crash::Kept);
    for sector in image.sectors() {
        assert_eq!(after.sector(sector), image.sector(sector), "{what}: sector {sector} was written");
    }
    assert_eq!(after.batches(), image.batches(), "{what}: the database was written");
    first
}

/// The image after `times` more starts.
fn restarted(image: &SimImage, times: u64) -> SimImage {
    let disk = SimDisk::from_image(image.clone());
    for _ in 0..times {
        drop(open(&disk).expect("a healthy image opens"));
    }
    disk.crash(Crash::Lost)
}

#[test]
fn rule_06_a_refusal_holds_at_every_attempt() {
    let (image, _) = settled();
    for boots in 1..5 {
        let old = restarted(&image, boots).with_anchor_of(&image);
        let refused = stays_refused("an old anchor", &old);
        assert!(matches!(refused, OpenError::AnchorOld { .. }), "{refused}");
        // A damaged group cell excuses no old anchor, and a damaged identity only one boot.
        for sector in if boots == 1 { 4..6 } else { 0..6 } {
            for rot in rots(sector) {
                stays_refused("an old anchor with a damaged sector", &old.clone().rot(&rot));
            }
        }
    }
    let damaged = image.clone().rot(&Rot::Batch { batch: 3 });
    for sector in [0, 1, 4, 5] {
        for rot in rots(sector) {
            let refused = stays_refused("both damaged", &damaged.clone().rot(&rot));
            assert!(matches!(refused, OpenError::BothDamaged { .. }), "{refused}");
        }
    }
    let voted = |who| {
        let disk = SimDisk::from_image(image.clone());
        let (mut store, _) = open(&disk).expect("it opens");
        store.write(vec![vote(9, Some(who))]).expect("a vote is written");
        disk.crash(Crash::Lost)
    };
    let refused = stays_refused("two votes", &voted("node1").with_anchor_of(&voted("node2")));
    assert!(matches!(refused, OpenError::TwoVotes { .. }), "{refused}");
    let forgotten = with_identity(image.clone(), |anchor| anchor.identity.groups = 1);
    let refused = stays_refused("a forgotten group", &forgotten);
    assert!(matches!(refused, OpenError::ForeignDatabase { .. }), "{refused}");
}

#[test]
fn rule_01_a_cell_with_a_term_is_never_given_to_another_group() {
    let (image, _) = settled();
    let image = with_identity(image, |anchor| anchor.identity.groups = 1);
    let mut disk = SimDisk::from_image(image.clone());
    let (mut anchor, _) = Anchor::load(&disk).expect("a whole anchor");
    for name in ["b", "c"] {
        let record = GroupRecord {
            group: GroupId::of_name(name),
            name: name.to_owned(),
            hard: HardRecord::default(),
            start: Position::ORIGIN,
            aside: None,
            only_copy: false,
        };
        let refused = anchor.add_group(&mut disk, record);
        assert!(matches!(refused, Err(DiskError::Damaged { .. })), "{refused:?}");
    }
    let after = disk.crash(Crash::Kept);
    assert!(image.sectors().iter().all(|sector| after.sector(*sector) == image.sector(*sector)));
}

#[test]
fn rule_01_two_votes_of_one_term_in_one_batch_are_refused() {
    let (image, world) = settled();
    let batches = [
        vec![vote(9, Some("node1")), vote(9, Some("node2"))],
        vec![vote(9, Some("node1")), vote(9, Some("node2")), vote(10, None)],
        // The first differs from what is on disk, the last does not.
        vec![vote(2, Some("node2")), vote(3, None)],
        vec![vote(9, None), vote(8, None)],
        vec![vote(9, Some("node1")), vote(9, None)],
    ];
    for batch in batches {
        let disk = SimDisk::from_image(image.clone());
        let (mut store, _) = open(&disk).expect("it opens");
        let refused = store.write(batch.clone());
        assert!(matches!(refused, Err(StoreError::Order { .. })), "{batch:?}: {refused:?}");
        drop(store);
        let (store, _) = open(&disk).expect("it opens");
        assert_eq!(held(&store, group()).as_ref(), world.get(&group()), "{batch:?}: nothing was written");
    }
    let (mut store, _) = reopened(&image).expect("it opens");
    store.write(vec![vote(9, None), vote(9, Some("node1")), vote(10, None)]).expect("each step is legal");
}

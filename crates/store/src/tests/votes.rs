//! `safety.md` 1, 5, 6, 14: terms, votes and the node's identity after damage at rest.

use quorate_core::{GroupId, HardState, Incarnation, Index, Term};

use super::workload::{Action, World, act, after, entries, founding, hard, held, node, open, options};
use crate::{
    Crash, Disk, DiskError, GroupError, GroupWrite, Keyspace, OpenError, OpenNotice, OpenReport, Rot,
    SimDisk, SimImage, Store, StoreOptions,
};

/// A node that has voted and has a settled log of ten entries.
pub(super) fn settled() -> (SimImage, World) {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk).expect("an empty disk opens");
    let mut world = World::new();
    for action in [
        Action::Group("a"),
        Action::Group("b"),
        Action::Write(vec![("a", 1, Some("node0"), None, 4, 10), ("b", 1, None, None, 2, 10)]),
        Action::Write(vec![("a", 2, Some("node1"), None, 3, 10)]),
        Action::Write(vec![("a", 2, Some("node1"), None, 3, 10)]),
        Action::Settle,
    ] {
        act(&mut store, &world, &action).expect("a healthy disk writes");
        world = after(&world, &action);
    }
    drop(store);
    (disk.crash(Crash::Lost), world)
}

fn reopened(image: &SimImage) -> Result<(Store, OpenReport), OpenError> {
    open(&SimDisk::from_image(image.clone()))
}

fn group() -> GroupId {
    GroupId::of_name("a")
}

/// Writes one more vote and returns the image.
fn voted(image: &SimImage, term: u64, vote: &str) -> SimImage {
    let disk = SimDisk::from_image(image.clone());
    let (mut store, _) = open(&disk).expect("a healthy image opens");
    let hard_state = hard(term, Some(vote));
    let write = GroupWrite { group: group(), hard_state, truncate_from: None, entries: Vec::new().into() };
    store.write(vec![write]).expect("a vote is written");
    disk.crash(Crash::Lost)
}

#[test]
fn rule_01_the_greater_vote_of_anchor_and_database_holds() {
    let (image, _) = settled();
    let newer = voted(&image, 9, "node2");
    // Only the anchor has the vote: the batch was cut off as a torn tail.
    let batch = newer.batches() - 1;
    let (store, _) = reopened(&newer.clone().rot(&Rot::Suffix { batch })).expect("within the anchor's lag");
    assert_eq!(held(&store, group()).expect("open").hard, hard(9, Some("node2")));
    // Only the database has it: the sector written last is rotten.
    for sector in newer.sectors() {
        if newer.sector(sector) != image.sector(sector) && sector > 1 {
            let rotten = newer.clone().rot(&Rot::Sector { sector, byte: 700 });
            let (store, report) = reopened(&rotten).expect("the database is whole");
            assert_eq!(held(&store, group()).expect("open").hard, hard(9, Some("node2")));
            assert!(report.notices.iter().any(|notice| matches!(notice, OpenNotice::BadSector { .. })));
        }
    }
}

#[test]
fn rule_01_the_lesser_copy_is_rewritten_before_opening_ends() {
    let (image, _) = settled();
    let newer = voted(&image, 9, "node2");
    let disk = SimDisk::from_image(newer.clone().rot(&Rot::Suffix { batch: newer.batches() - 1 }));
    drop(open(&disk).expect("within the anchor's lag"));
    let rewritten = disk.crash(Crash::Lost);
    // Now the database has it as well: all sectors of the group's cell but one may rot.
    for sector in rewritten.sectors() {
        let rotten = rewritten.clone().rot(&Rot::Sector { sector, byte: 99 });
        let (store, _) = reopened(&rotten).expect("one rotten sector is survived");
        assert_eq!(held(&store, group()).expect("open").hard, hard(9, Some("node2")), "sector {sector}");
    }
}

#[test]
fn rule_01_two_votes_in_one_term_are_refused() {
    let (image, _) = settled();
    let one = voted(&image, 9, "node1");
    let other = voted(&image, 9, "node2");
    let refused = reopened(&one.with_anchor_of(&other)).expect_err("the node may have voted twice");
    assert!(matches!(refused, OpenError::TwoVotes { .. }), "{refused}");
    let disk = SimDisk::from_image(image);
    let (mut store, _) = open(&disk).expect("a healthy image opens");
    let change = |vote| GroupWrite {
        group: group(),
        hard_state: hard(9, Some(vote)),
        truncate_from: None,
        entries: Vec::new().into(),
    };
    store.write(vec![change("node1")]).expect("a vote is written");
    assert!(store.write(vec![change("node2")]).is_err(), "and never changed within its term");
}

#[test]
fn rule_01_a_bad_slot_beside_a_damaged_database_is_refused() {
    let (image, _) = settled();
    let damaged = image.clone().rot(&Rot::Batch { batch: 3 });
    assert!(reopened(&damaged).is_ok(), "with a whole anchor the node recovers");
    let mut refused = 0;
    for sector in image.sectors() {
        for rot in [Rot::Sector { sector, byte: 40 }, Rot::BlankSector { sector }] {
            match reopened(&damaged.clone().rot(&rot)) {
                Err(OpenError::BothDamaged { .. }) => refused += 1,
                // Tables lag anyway, and sectors without a group do not count.
                Ok((_, report)) => assert!(report.groups.iter().all(|group| group.recovering)),
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert_eq!(refused, 12, "identity and two groups, two slots each, rotten or blank");
}

#[test]
fn rule_05_recovering_is_durable_before_the_role_starts() {
    let (image, _) = settled();
    let damaged = image.clone().rot(&Rot::Batch { batch: 4 });
    for stop_at in 1..60 {
        let disk = SimDisk::from_image(damaged.clone());
        disk.stop_at(stop_at);
        let opened = open(&disk).is_ok();
        for crash in [Crash::Lost, Crash::Kept, Crash::Torn] {
            match reopened(&disk.crash(crash)) {
                Ok((mut store, report)) => {
                    assert!(report.groups.iter().all(|group| group.recovering), "step {stop_at}, {crash:?}");
                    store.open_group("a", &founding()).expect("it is found in the anchor");
                    let found = HardState::from(held(&store, group()).expect("open").hard);
                    assert!(found.recovering && found.term == Term(2), "step {stop_at}: {found:?}");
                    assert_eq!(found.voted_for, Some(node("node1")), "the vote is never forgotten");
                }
                // A torn anchor beside a damaged database: the votes are unknown.
                Err(OpenError::BothDamaged { .. }) => assert_eq!(crash, Crash::Torn),
                Err(other) => panic!("step {stop_at}, {crash:?}: {other}"),
            }
        }
        if opened {
            return;
        }
    }
    panic!("opening takes fewer steps");
}

#[test]
fn rule_05_recovering_clears_only_when_told() {
    let (image, _) = settled();
    let disk = SimDisk::from_image(image.rot(&Rot::Batch { batch: 4 }));
    let (mut store, _) = open(&disk).expect("it recovers");
    store.open_group("a", &founding()).expect("it is found in the anchor");
    let hard_state = held(&store, group()).expect("open").hard;
    let new = entries(quorate_core::Position::ORIGIN, 2, 10, 10);
    let write = GroupWrite {
        group: group(),
        hard_state: hard_state.clone(),
        truncate_from: None,
        entries: new.into(),
    };
    store.write(vec![write]).expect("the log is refilled");
    drop(store);
    let disk = SimDisk::from_image(disk.crash(Crash::Lost));
    let (mut store, report) = open(&disk).expect("it opens");
    assert!(report.groups.iter().all(|group| group.recovering), "entries alone do not clear it");
    let hard_state = HardState { recovering: false, ..hard_state.into() }.into();
    let write = GroupWrite { group: group(), hard_state, truncate_from: None, entries: Vec::new().into() };
    store.write(vec![write]).expect("the flag clears");
    drop(store);
    let (_, report) = open(&SimDisk::from_image(disk.crash(Crash::Lost))).expect("it opens");
    let clear: Vec<_> = report.groups.iter().map(|group| (group.name.as_str(), group.recovering)).collect();
    assert_eq!(clear, [("a", false), ("b", true)]);
}

#[test]
fn rule_06_a_damaged_database_is_set_aside_and_every_group_recovers() {
    let (image, world) = settled();
    for batch in 0..image.batches() {
        let (mut store, report) = reopened(&image.clone().rot(&Rot::Batch { batch })).expect("it recovers");
        assert!(matches!(report.notices.as_slice(), [OpenNotice::SetAside { .. }]), "it is said");
        assert_eq!(report.groups.len(), 2);
        for (name, id) in [("a", GroupId::of_name("a")), ("b", GroupId::of_name("b"))] {
            store.open_group(name, &founding()).expect("it is found in the anchor");
            let found = held(&store, id).expect("open");
            assert!(found.entries.is_empty());
            assert_eq!(found.hard, world[&id].hard.marked_recovering(), "term and vote are kept");
        }
    }
}

#[test]
fn rule_06_a_missing_half_is_refused_with_the_remedy() {
    let (image, _) = settled();
    let refused = reopened(&image.clone().rot(&Rot::NoAnchor)).expect_err("votes are not known");
    assert!(matches!(refused, OpenError::DatabaseWithoutAnchor { .. }), "{refused}");
    let refused = reopened(&image.clone().rot(&Rot::NoDatabase)).expect_err("entries are gone");
    assert!(matches!(refused, OpenError::AnchorWithoutDatabase { .. }), "{refused}");
    assert!(refused.to_string().contains("restore"), "the remedy is said");
}

#[test]
fn rule_06_old_copies_and_other_nodes_files_are_seen() {
    let (old, _) = settled();
    let mut new = voted(&old, 7, "node2");
    for term in 8..12 {
        new = voted(&new, term, "node0");
    }
    let refused = reopened(&new.clone().with_anchor_of(&old)).expect_err("an old anchor forgets votes");
    assert!(matches!(refused, OpenError::AnchorOld { .. }), "{refused}");
    let mut other = options();
    other.entropy = 0xbeef;
    let disk = SimDisk::new();
    drop(Store::open(Box::new(disk.clone()), other).expect("an empty disk opens"));
    let foreign = reopened(&new.with_anchor_of(&disk.crash(Crash::Lost))).expect_err("never together");
    assert!(matches!(foreign, OpenError::ForeignDatabase { .. }), "{foreign}");
}

#[test]
fn rule_06_an_old_database_beside_its_anchor_recovers() {
    let (old, _) = settled();
    let disk = SimDisk::from_image(old.clone());
    let (mut store, _) = open(&disk).expect("it opens");
    let last = held(&store, group()).expect("open").last();
    let hard_state = hard(2, Some("node1"));
    let new = entries(last, 2, 4, 10);
    let write = GroupWrite { group: group(), hard_state, truncate_from: None, entries: new.into() };
    store.write(vec![write]).expect("it writes");
    store.settle_anchor().expect("it settles");
    let (_, report) = reopened(&old.with_anchor_of(&disk.crash(Crash::Lost))).expect("it recovers");
    assert!(report.notices.iter().any(|notice| matches!(notice, OpenNotice::Lost { .. })));
    assert!(report.groups.iter().all(|group| group.recovering));
}

#[test]
fn rule_14_incarnation_and_boot_belong_to_the_directory() {
    let (image, _) = settled();
    let (store, report) = reopened(&image).expect("it opens");
    assert_eq!(store.identity().incarnation, Incarnation(0x5eed));
    assert_eq!(report.identity.boot.0, 2);
    let mut other = options();
    other.node = node("node7");
    let refused = Store::open(Box::new(SimDisk::from_image(image.clone())), other);
    assert!(matches!(refused, Err(OpenError::OtherNode { .. })));
    let no_cluster = StoreOptions { cluster: None, ..options() };
    let refused = Store::open(Box::new(SimDisk::new()), no_cluster.clone());
    assert!(matches!(refused, Err(OpenError::NoCluster { .. })));
    assert!(Store::open(Box::new(SimDisk::from_image(image)), no_cluster).is_ok(), "it is needed once");
}

#[test]
fn rule_14_a_torn_identity_never_repeats_a_boot() {
    let (image, _) = settled();
    let disk = SimDisk::from_image(image);
    let (_, second) = open(&disk).expect("it opens");
    let image = disk.crash(Crash::Lost);
    for sector in 0..2 {
        let (_, third) =
            reopened(&image.clone().rot(&Rot::Sector { sector, byte: 50 })).expect("one is whole");
        assert!(third.identity.boot > second.identity.boot, "sector {sector}");
    }
    let both = image.rot(&Rot::Sector { sector: 0, byte: 5 }).rot(&Rot::Sector { sector: 1, byte: 5 });
    assert!(matches!(reopened(&both), Err(OpenError::AnchorDamaged { .. })));
}

#[test]
fn rule_14_colliding_group_numbers_are_refused() {
    // No two short names collide in 64 bits, so the anchor's record is made to hold another name.
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk).expect("it opens");
    store.open_group("a", &founding()).expect("it opens");
    store.anchor.groups[0].record.name = "other".to_owned();
    let refused = store.open_group("a", &founding());
    assert!(matches!(refused, Err(GroupError::Collision { .. })));
}

#[test]
fn rule_06_a_future_format_is_refused() {
    let (image, _) = settled();
    let disk = SimDisk::from_image(image);
    let mut sector = *disk.crash(Crash::Lost).sector(0).expect("the identity");
    sector[9] = 2;
    let sum = blake3::hash(&sector[..4096 - 32]);
    sector[4096 - 32..].copy_from_slice(sum.as_bytes());
    let mut other: Box<dyn Disk> = Box::new(disk.clone());
    other.write_sector(0, &sector).expect("a sector is written");
    other.sync_anchor().expect("it syncs");
    let refused = open(&disk).expect_err("a newer build wrote it");
    assert!(matches!(refused, OpenError::Disk(DiskError::Future { .. })), "{refused}");
}

#[test]
fn rule_03_damage_within_the_lag_looks_like_a_torn_tail() {
    let (image, _) = settled();
    let disk = SimDisk::from_image(image);
    let (mut store, _) = open(&disk).expect("it opens");
    let last = held(&store, group()).expect("open").last();
    let hard_state = hard(2, Some("node1"));
    let new = entries(last, 2, 4, 10);
    store
        .write(vec![GroupWrite { group: group(), hard_state, truncate_from: None, entries: new.into() }])
        .expect("it writes");
    let lagging = disk.crash(Crash::Lost);
    let batch = lagging.batches() - 1;
    let (store_after, report) = reopened(&lagging.rot(&Rot::Suffix { batch })).expect("it opens");
    assert!(
        report.groups.iter().all(|group| !group.recovering),
        "the stated window: the loss cannot be detected"
    );
    assert_eq!(held(&store_after, group()).expect("open").last().index, Index(10));
    assert!(store.is_anchor_behind());
    store.settle_anchor().expect("it settles");
    let settled = disk.crash(Crash::Lost);
    let (_, report) = reopened(&settled.rot(&Rot::Suffix { batch })).expect("it recovers");
    assert!(report.groups.iter().all(|group| group.recovering), "once settled it is seen");
}

#[test]
fn rule_06_any_lost_suffix_hole_or_flip_is_seen_or_harmless() {
    let (image, world) = settled();
    let mut rots = Vec::new();
    for batch in 0..image.batches() {
        rots.extend([Rot::Suffix { batch }, Rot::Hole { batch }]);
        for keyspace in [Keyspace::Log, Keyspace::Hard] {
            rots.extend((0..250).step_by(7).map(|byte| Rot::Value { batch, byte, keyspace }));
        }
    }
    let (mut seen, mut harmless) = (0, 0);
    for rot in rots {
        match reopened(&image.clone().rot(&rot)) {
            Err(OpenError::ForeignDatabase { .. }) => seen += 1,
            Err(other) => panic!("{rot:?}: {other}"),
            Ok((_, report)) if report.groups.iter().all(|group| group.recovering) => seen += 1,
            Ok((store, report)) => {
                assert!(report.groups.iter().all(|group| !group.recovering), "{rot:?}");
                for (id, expected) in &world {
                    assert_eq!(held(&store, *id).as_ref(), Some(expected), "{rot:?} lost something silently");
                }
                harmless += 1;
            }
        }
    }
    assert!(seen > 100 && harmless > 0, "{seen} seen, {harmless} in rows that were replaced later");
}

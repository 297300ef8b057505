//! `safety.md` 14: a directory in which nothing ever happened is founded again, and no other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_core::{GroupId, Hash, Incarnation, Member, Membership};

use super::workload::{founding, hard, node, open};
use crate::{Crash, GroupWrite, SimDisk, Store, StoreError};

fn corrected() -> (Hash, Membership) {
    let member = |raft: &str| Member { raft: raft.into(), ..Member::default() };
    let members = [(node("node0"), member("h:1")), (node("node9"), member("h:2"))];
    (Hash::of(b"another cluster"), Membership::of_voters(members.into(), 7))
}

/// Two groups without an entry, and a peer that has admitted this node.
fn blank(disk: &SimDisk) -> Store {
    let (mut store, _) = open(disk).expect("an empty disk opens");
    for name in ["a", "b"] {
        store.open_group(name, &founding()).expect("a healthy disk writes");
    }
    store.record_admission(&node("node1"), Incarnation(11)).expect("a healthy disk writes");
    store
}

fn found_again(store: &mut Store) -> Result<(), StoreError> {
    let (cluster, members) = corrected();
    store.found_again(cluster, &members)
}

fn is_corrected(store: &Store) -> bool {
    let (cluster, members) = corrected();
    let founded = store.founded();
    assert!(founded.is_blank, "{founded:?}");
    store.identity().cluster == cluster
        && founded.founding.as_ref() == Some(&members)
        && ["a", "b"].iter().all(|name| {
            let loaded = store.load(GroupId::of_name(name), usize::MAX).expect("it loads");
            loaded.memberships.current() == &members && loaded.unmet.contains(&node("node9"))
        })
}

#[test]
fn rule_14_a_blank_directory_is_founded_again_whenever_the_machine_stops() {
    let disk = SimDisk::new();
    let mut store = blank(&disk);
    let before = disk.steps();
    found_again(&mut store).expect("a healthy disk writes");
    let steps = disk.steps();
    assert!(is_corrected(&store) && steps > before + 3);
    for stop_at in before + 1..=steps {
        let disk = SimDisk::new();
        disk.stop_at(stop_at);
        let stopped = found_again(&mut blank(&disk)).is_err();
        for crash in [Crash::Lost, Crash::Kept, Crash::Torn, Crash::Process] {
            let disk = SimDisk::from_image(disk.crash(crash));
            let (mut store, report) = open(&disk).expect("an ordinary stop is no damage");
            assert!(report.notices.is_empty() || stopped, "{:?}", report.notices);
            assert!(stopped || is_corrected(&store), "it was done");
            found_again(&mut store).expect("it can be done once more");
            assert!(is_corrected(&open(&SimDisk::from_image(disk.crash(Crash::Lost))).expect("it opens").0));
        }
    }
}

#[test]
fn rule_14_a_directory_that_has_voted_is_never_founded_again() {
    let disk = SimDisk::new();
    let mut store = blank(&disk);
    let hard_state = hard(1, Some("node1"));
    let group = GroupId::of_name("b");
    let write = GroupWrite { group, hard_state, truncate_from: None, entries: Vec::new().into() };
    store.write(vec![write]).expect("a healthy disk writes");
    drop(store);
    let (mut store, _) = open(&disk).expect("it opens");
    assert!(!store.founded().is_blank);
    assert!(catch_unwind(AssertUnwindSafe(|| found_again(&mut store))).is_err());
}

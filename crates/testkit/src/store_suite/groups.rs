//! Several groups, hard states, peers, snapshots.

use quorate::store::{GroupWrite, Install};
use quorate_core::{GroupId, Incarnation, Index, NodeId, Position, SnapshotBase};

use super::script::{Script, entries, founding, hard};
use super::storage::Storage;

pub(super) fn groups_share_a_batch(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let groups = ["a", "b", "c"].map(|name| script.group(name));
    let mut expected = Vec::new();
    let mut writes = Vec::new();
    for (at, group) in groups.into_iter().enumerate() {
        let entries = entries(Position::ORIGIN, at as u64 + 1, 5, 300);
        expected.push(entries.clone());
        writes.push(GroupWrite {
            group,
            hard_state: hard(9, Some("node1")),
            truncate_from: None,
            entries: entries.into(),
        });
    }
    script.store.write(writes).expect("a batch");
    for _ in 0..2 {
        for (group, expected) in groups.iter().zip(&expected) {
            assert_eq!(&script.log(*group), expected);
            assert_eq!(script.load(*group).hard_state, hard(9, Some("node1")));
        }
        script = script.reopen();
    }
    script.store.compact(groups[1], Index(4)).expect("a compaction");
    script.store.reclaim().expect("dead runs are freed");
    assert_eq!(script.log(groups[0]), expected[0], "one group's compaction leaves the others alone");
    assert_eq!(script.log(groups[2]), expected[2]);
}

pub(super) fn founding_is_read_once(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    assert_eq!(group, GroupId::of_name("orders"));
    let mut script = script.reopen();
    let again = script.store.open_group("orders", &founding(&["other"])).expect("it is here");
    assert_eq!(again, group);
    let members = script.load(group).memberships.current().clone();
    assert_eq!(members, founding(&["node0", "node1", "node2"]), "the founding members are read once");
    assert!(script.store.open_group("no spaces", &founding(&["node0"])).is_err());
}

pub(super) fn hard_states(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    for (term, vote) in [(1, None), (1, Some("node1")), (2, None), (7, Some("node2"))] {
        let write = GroupWrite {
            group,
            hard_state: hard(term, vote),
            truncate_from: None,
            entries: Vec::new().into(),
        };
        script.store.write(vec![write]).expect("a write");
        script = script.reopen();
        assert_eq!(script.load(group).hard_state, hard(term, vote));
    }
}

pub(super) fn peers(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let peer = |name: &str| NodeId::new(name).expect("a legal name");
    let record = |script: &mut Script<'_>, name: &str, incarnation, replace| {
        script.store.record_peer(&peer(name), Incarnation(incarnation), replace).expect("a write").0
    };
    assert_eq!(record(&mut script, "node1", 11, false), 11);
    assert_eq!(record(&mut script, "node2", 12, false), 12);
    let mut script = script.reopen();
    assert_eq!(record(&mut script, "node1", 99, false), 11, "the first one is kept");
    assert_eq!(record(&mut script, "node2", 22, true), 22, "unless it is replaced");
    let mut script = script.reopen();
    assert_eq!(record(&mut script, "node1", 99, false), 11);
    assert_eq!(record(&mut script, "node2", 99, false), 22);
}

pub(super) fn boots_count(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    assert!(script.report.first_start);
    let first = script.report.identity.clone();
    for boot in 2..6 {
        script = script.reopen();
        assert!(!script.report.first_start);
        assert_eq!(script.report.identity.boot.0, boot);
        assert_eq!(script.report.identity.incarnation, first.incarnation);
        assert!(script.report.notices.is_empty(), "{:?}", script.report.notices);
    }
}

pub(super) fn many_groups(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let groups: Vec<GroupId> = (0..70).map(|at| script.group(&format!("group-{at}"))).collect();
    for (at, group) in groups.iter().enumerate() {
        script.append(*group, at as u64 + 1, 2, 10);
    }
    script.store.settle_anchor().expect("the anchor settles");
    let mut script = script.reopen();
    assert_eq!(script.report.groups.len(), 70);
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(script.log(*group).len(), 2);
        assert_eq!(script.load(*group).hard_state, hard(at as u64 + 1, None));
        script.store.compact(*group, Index(1)).expect("a compaction");
    }
    script.store.reclaim().expect("dead runs are freed");
    let script = script.reopen();
    assert!(groups.iter().all(|group| script.log(*group).len() == 1));
}

pub(super) fn install_fresh(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    script.append(group, 1, 10, 100);
    script.append(group, 1, 10, 100);
    script.store.compact(group, Index(3)).expect("a compaction");
    script.store.settle_anchor().expect("the anchor settles");
    for index in [15, 40] {
        let other = entries(Position::ORIGIN, 2, index, 5);
        let at = other[index as usize - 1].position();
        let membership = founding(&["node0", "node9"]);
        let install = Install {
            base: SnapshotBase { at, time_ms: 7, membership: membership.clone() },
            hard_state: hard(3, None),
        };
        script.store.install(group, &install).expect("an install");
        for _ in 0..2 {
            let loaded = script.load(group);
            assert_eq!(loaded.start, at);
            assert_eq!(loaded.tail.last(), at);
            assert_eq!(loaded.memberships.current(), &membership);
            assert_eq!(loaded.hard_state, hard(3, None));
            script = script.reopen();
            assert!(script.report.notices.is_empty(), "{:?}", script.report.notices);
        }
        let more = script.append(group, 3, 2, 10);
        script = script.reopen();
        assert_eq!(script.log(group), more);
    }
}

pub(super) fn install_kept(storage: &mut dyn Storage) {
    let mut script = Script::open(storage);
    let group = script.group("orders");
    let all = script.append(group, 1, 10, 100);
    let membership = founding(&["node0", "node1", "node2"]);
    let install = Install {
        base: SnapshotBase { at: all[3].position(), time_ms: 7, membership: membership.clone() },
        hard_state: hard(2, None),
    };
    script.store.install(group, &install).expect("an install");
    for _ in 0..2 {
        assert_eq!(script.load(group).start, all[3].position());
        assert_eq!(script.log(group), all[4..], "what follows the snapshot stays");
        assert_eq!(script.load(group).hard_state, hard(2, None));
        script = script.reopen();
    }
    let old = Install {
        base: SnapshotBase { at: all[1].position(), time_ms: 7, membership },
        hard_state: hard(2, None),
    };
    script.store.install(group, &old).expect("an older snapshot changes nothing");
    assert_eq!(script.log(group), all[4..]);
}

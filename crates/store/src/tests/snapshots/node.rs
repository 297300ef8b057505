//! The snapshots of a node: they leave the disk's reserve free (`safety.md` 16), and none of another cluster is used.

use std::io::Write as _;

use quorate_core::{Hash, NodeId};

use super::{at, group, head, indexes, of_io, publish, read, state};
use crate::{CHUNK_BYTES_MAX, Disk as _, SimDisk, SnapshotError, SnapshotHead, Snapshots, StoreOptions};

const RESERVE: u64 = 1 << 20;

fn of_node(disk: &SimDisk, cluster: &[u8]) -> Snapshots {
    let node = NodeId::new("node0").expect("a legal name");
    let options = StoreOptions {
        reserve_bytes_min: Some(RESERVE),
        ..StoreOptions::new(node, Some(Hash::of(cluster)), 1)
    };
    Snapshots::of_node(disk.snapshots(), Hash::of(cluster), options)
}

fn has_no_room<T: std::fmt::Debug>(done: &Result<T, SnapshotError>) {
    assert!(matches!(done, Err(SnapshotError::NoRoom { reserve: RESERVE, .. })), "{done:?}");
}

/// What is written and what is received ends before the reserve, and leaves nothing: the log needs the room.
#[test]
fn rule_16_snapshots_leave_the_reserve_free() {
    let disk = SimDisk::new();
    let snapshots = of_node(&disk, b"cluster");
    publish(&snapshots, head(5), &state(40)).expect("published");
    let used = disk.total_bytes().expect("measured") - disk.free_bytes().expect("measured");
    let free = || disk.free_bytes().expect("measured");
    for room in [0, 100, CHUNK_BYTES_MAX as u64, 2 * CHUNK_BYTES_MAX as u64] {
        disk.set_capacity(used + RESERVE + room);
        has_no_room(&publish(&snapshots, head(9), &state(3 * CHUNK_BYTES_MAX)));
        assert_eq!((free(), indexes(&snapshots)), (RESERVE + room, vec![5]));
        // A length that a peer claims costs nothing.
        has_no_room(&snapshots.receive(group(), at(9), u64::MAX));
        has_no_room(&snapshots.receive(group(), at(9), room + 1));
        assert_eq!(free(), RESERVE + room);
    }
    let mut incoming = snapshots.receive(group(), at(9), CHUNK_BYTES_MAX as u64).expect("there is room");
    // As a file whose header is not there yet.
    let begun = [&b"QRSF\x01\0\0\xff\xff"[..], &[1; 91]].concat();
    incoming.append(0, &begun).expect("there is room");
    // Something else takes it meanwhile.
    disk.set_capacity(used + RESERVE + 100);
    has_no_room(&incoming.append(100, &[1; 100]));
    assert_eq!(free(), RESERVE + 100, "what was received is gone");
    disk.set_capacity(used + RESERVE + 4 * CHUNK_BYTES_MAX as u64);
    let mut writer = snapshots.begin(head(9)).expect("there is room for this");
    disk.set_capacity(used + RESERVE);
    has_no_room(&writer.write_all(&state(2 * CHUNK_BYTES_MAX)).map_err(of_io));
    drop(writer);
    assert_eq!(read(&snapshots, 5).expect("it reads"), state(40));
}

/// A directory that was copied from another cluster: its machines must not come back here.
#[test]
fn a_snapshot_of_another_cluster_is_none() {
    let disk = SimDisk::new();
    let (own, strange) = (of_node(&disk, b"cluster"), of_node(&disk, b"another"));
    publish(&own, head(5), &state(40)).expect("published");
    publish(&strange, SnapshotHead { cluster: Hash::of(b"another"), ..head(6) }, &state(40))
        .expect("published");
    let list = own.list(group()).expect("listed");
    assert_eq!(list.found.iter().map(|info| info.head.at).collect::<Vec<_>>(), [at(5)]);
    assert!(matches!(list.damaged[..], [ref other] if other.index == at(6).index && other.error.is_damage()));
    assert!(matches!(own.open(group(), at(6)), Err(SnapshotError::Other { .. })));
    let sent = strange.read_raw(group(), at(6), 0, 1 << 20).expect("it reads");
    let mut incoming = own.receive(group(), at(6), sent.len() as u64).expect("it begins");
    let received = incoming.append(0, &sent);
    assert!(matches!(received, Err(SnapshotError::Other { .. })), "{received:?}");
    assert!(own.list(group()).expect("listed").found.len() == 1);
}

/// What cannot be read is out of the way, and one of a group is kept to be looked at.
#[test]
fn what_is_set_aside_counts_no_more() {
    let disk = SimDisk::new();
    let snapshots = of_node(&disk, b"cluster");
    (1..=3).for_each(|index| drop(publish(&snapshots, head(index), b"state").expect("published")));
    snapshots.set_aside(group(), at(3).index).expect("renamed");
    assert_eq!(indexes(&snapshots), [2, 1]);
    snapshots.set_aside(group(), at(2).index).expect("renamed");
    assert_eq!(indexes(&snapshots), [1]);
    let aside = disk.snapshots().list().expect("listed");
    assert_eq!(aside.iter().filter(|name| name.ends_with(".damaged")).count(), 1, "{aside:?}");
    assert!(matches!(snapshots.set_aside(group(), at(2).index), Err(SnapshotError::Gone { .. })));
    publish(&snapshots, head(3), b"state").expect("one of that place may be made again");
    assert_eq!(indexes(&snapshots), [3, 1]);
}

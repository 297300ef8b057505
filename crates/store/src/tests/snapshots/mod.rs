//! Snapshot files: one suite for both disks, then damage of every byte, a crash at every step, and the real directory.

mod crash;
mod damage;
mod directory;
mod node;
mod suite;

use std::io::{Read, Write};
use std::sync::Arc;

use quorate_core::{GroupId, Hash, Index, Member, Membership, NodeId, Position, Term};

use crate::{SnapshotDisk, SnapshotError, SnapshotHead, SnapshotInfo, Snapshots};

const GROUP: &str = "orders";

fn group() -> GroupId {
    GroupId::of_name(GROUP)
}

fn at(index: u64) -> Position {
    Position { index: Index(index), term: Term(3), chain: Hash::of(&index.to_be_bytes()) }
}

pub(super) fn head(index: u64) -> SnapshotHead {
    let node = NodeId::new("node0").expect("a legal name");
    let member = Member { raft: "10.0.0.1:7000".to_owned(), ..Member::default() };
    SnapshotHead {
        cluster: Hash::of(b"cluster"),
        group: group(),
        name: GROUP.to_owned(),
        at: at(index),
        time_ms: 1_600_000_000_000,
        membership: Membership::of_voters([(node, member)].into_iter().collect(), 42),
        machine: 7,
        made_ms: 1_700_000_000_000,
    }
}

/// Bytes that are alike nowhere.
pub(super) fn state(bytes: usize) -> Vec<u8> {
    let mut state = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut state);
    state
}

pub(super) fn publish(
    snapshots: &Snapshots,
    head: SnapshotHead,
    state: &[u8],
) -> Result<SnapshotInfo, SnapshotError> {
    let mut writer = snapshots.begin(head)?;
    writer.write_all(state).map_err(of_io)?;
    writer.finish()?.publish()
}

/// The error inside.
fn of_io(error: std::io::Error) -> SnapshotError {
    error.downcast().expect("a reader and a writer fail with errors of snapshots")
}

fn read(snapshots: &Snapshots, index: u64) -> Result<Vec<u8>, SnapshotError> {
    let (mut reader, mut state) = (snapshots.open(group(), at(index))?.reader(), Vec::new());
    reader.read_to_end(&mut state).map_err(of_io)?;
    assert_eq!(reader.len(), state.len() as u64, "the length was known beforehand");
    Ok(state)
}

/// The indexes of the whole ones, the newest first; none is damaged.
fn indexes(snapshots: &Snapshots) -> Vec<u64> {
    let list = snapshots.list(group()).expect("it lists");
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    list.found.iter().map(|info| info.head.at.index.0).collect()
}

/// All bytes of a file.
pub(super) fn bytes(disk: &Arc<dyn SnapshotDisk>, name: &str) -> Vec<u8> {
    let length = disk.length(name).expect("it is looked at").expect("it is there");
    let mut bytes = vec![0; usize::try_from(length).expect("small")];
    assert_eq!(disk.read_at(name, 0, &mut bytes).expect("it reads"), Some(bytes.len()));
    bytes
}

/// A file with these bytes.
fn put(disk: &Arc<dyn SnapshotDisk>, name: &str, bytes: &[u8]) {
    disk.write_at(name, 0, bytes).expect("written");
    disk.truncate(name, bytes.len() as u64).expect("cut");
}

fn file(index: u64) -> String {
    format!("{:016x}-{index:016x}.snap", group().0)
}

//! The worker's script for snapshot files: each is written, published, read, received, set aside and removed, and each call of that fails
//! once. A failure costs one attempt, is told as the disk's, and is never taken for damage.

use std::io::{Read, Write};
use std::sync::Arc;

use quorate_core::{GroupId, Hash, Index, Membership, Position, Term};
use quorate_store::{
    CHUNK_BYTES_MAX, Disk, SimDisk, SnapshotDisk, SnapshotError, SnapshotHead, SnapshotList, Snapshots,
};

/// More than a chunk.
const STATE_BYTES: usize = CHUNK_BYTES_MAX + 40_000;

pub(crate) fn head(group: &str, index: u64) -> SnapshotHead {
    SnapshotHead {
        cluster: Hash::of(b"cluster"),
        group: GroupId::of_name(group),
        name: group.to_owned(),
        at: Position { index: Index(index), term: Term(8), chain: Hash::of(b"chain") },
        membership: Membership::default(),
        machine: 1,
        time_ms: 1,
        made_ms: 0,
    }
}

fn state(index: u64) -> Vec<u8> {
    let mut state = vec![0; STATE_BYTES];
    blake3::Hasher::new().update(&index.to_be_bytes()).finalize_xof().fill(&mut state);
    state
}

fn of_io(error: std::io::Error) -> SnapshotError {
    error.downcast().expect("a reader and a writer fail with these")
}

pub(crate) fn publish(snapshots: &Snapshots, head: SnapshotHead) -> Result<(), SnapshotError> {
    let state = state(head.at.index.0);
    let mut writer = snapshots.begin(head)?;
    writer.write_all(&state).map_err(of_io)?;
    writer.finish()?.publish().map(drop)
}

/// All of it, and whether its state is the one that was written.
fn reads(snapshots: &Snapshots, head: &SnapshotHead) -> Result<(), SnapshotError> {
    let file = snapshots.open(head.group, head.at)?;
    file.verify()?;
    let mut found = Vec::new();
    file.reader().read_to_end(&mut found).map_err(of_io)?;
    assert!(found == state(head.at.index.0), "it reads otherwise than written");
    Ok(())
}

fn receive(snapshots: &Snapshots, head: &SnapshotHead, sent: &[u8]) -> Result<(), SnapshotError> {
    let mut incoming = snapshots.receive(head.group, head.at, sent.len() as u64)?;
    while !incoming.is_complete() {
        let from = usize::try_from(incoming.offset()).expect("small");
        let end = sent.len().min(from + 200_000);
        incoming.append(from as u64, &sent[from..end])?;
    }
    incoming.finish().map(drop)
}

/// The snapshots of a group, none of which is damaged: the disk may have failed to read one.
fn listed(snapshots: &Snapshots, group: &str) -> Result<Vec<u64>, SnapshotError> {
    let SnapshotList { found, damaged } = snapshots.list(GroupId::of_name(group))?;
    if let Some(damaged) = damaged.into_iter().next() {
        return Err(damaged.error);
    }
    Ok(found.iter().map(|info| info.head.at.index.0).collect())
}

/// One step, tried twice: one call fails, so the second time all is well. Whether the first time was.
fn step(
    what: &str,
    mut attempt: impl FnMut() -> Result<(), SnapshotError>,
    is_done: impl Fn(&SnapshotError) -> bool,
) -> Result<(), String> {
    let Err(first) = attempt() else { return Ok(()) };
    if !matches!(first, SnapshotError::Disk(_)) {
        return Err(format!("{what}: a disk that failed is told as {first}"));
    }
    match attempt() {
        Err(second) if !is_done(&second) => Err(format!("{what}: after {first} again {second}")),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Everything that is done with snapshot files.
pub(crate) fn script(snapshots: &Snapshots) -> Result<(), String> {
    let (one, two, three) = (head("a", 50), head("a", 52), head("b", 54));
    let of_another: Arc<dyn SnapshotDisk> = SimDisk::new().snapshots();
    let other = Snapshots::new(of_another);
    publish(&other, three.clone()).expect("nothing fails there");
    let sent = other.read_raw(three.group, three.at, 0, usize::MAX).expect("nothing fails there");
    let never = |_: &SnapshotError| false;
    let lists = |group: &str, wanted: &[u64]| {
        let look = || listed(snapshots, group).map(|found| assert_eq!(found, wanted, "of group {group}"));
        step("list", look, never)
    };
    step("write", || publish(snapshots, one.clone()), never)?;
    step("read", || reads(snapshots, &one), never)?;
    step("write another", || publish(snapshots, two.clone()), never)?;
    lists("a", &[52, 50])?;
    step("receive", || receive(snapshots, &three, &sent), never)?;
    step("read what was received", || reads(snapshots, &three), never)?;
    // What the disk does not give is not counted, and so one more stays until the next time.
    for _ in 0..2 {
        step("retain", || snapshots.retain(one.group, 1, &[]).map(drop), never)?;
    }
    lists("a", &[52])?;
    // The second time it may have been renamed the first time.
    let is_gone = |error: &SnapshotError| matches!(error, SnapshotError::Gone { .. });
    step("set aside", || snapshots.set_aside(three.group, three.at.index), is_gone)?;
    lists("b", &[])?;
    step("remove parts", || snapshots.remove_parts(one.group), never)?;
    step("read the newest", || reads(snapshots, &two), never)
}

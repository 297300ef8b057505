//! What a snapshotter does with files, as jobs for a thread that may block. None of them touches the actor's state.

use bytes::Bytes;
use quorate_core::{GroupId, Position, SnapshotBase};
use quorate_store::{SnapshotError, SnapshotHead, SnapshotInfo, Snapshots, Written};

use crate::messages::snapshotter::{Capture, Kept, PartWanted};
use crate::protocol::Response;

/// The newest is for starts, the one before it for the case that the newest cannot be read.
const KEPT: usize = 2;

/// Bytes of a file in one answer to a peer.
pub(super) const PART_BYTES: usize = 512 << 10;

pub(super) fn base_of(head: &SnapshotHead) -> SnapshotBase {
    SnapshotBase { at: head.at, time_ms: head.time_ms, membership: head.membership.clone() }
}

/// Removes what an earlier process began, and looks through the rest.
pub(super) fn look(files: &Snapshots, group: GroupId) -> Result<Kept, SnapshotError> {
    files.remove_parts(group)?;
    kept(files, group)
}

fn kept(files: &Snapshots, group: GroupId) -> Result<Kept, SnapshotError> {
    let list = files.list(group)?;
    for damaged in &list.damaged {
        tracing::error!(%group, index = %damaged.index, error = %damaged.error, "a snapshot cannot be used");
    }
    let newest = list.found.first();
    Ok(Kept {
        newest: newest.map(|info| base_of(&info.head)),
        bytes: newest.map_or(0, |info| info.bytes),
        older: list.found.get(1).map(|info| info.head.at.index),
    })
}

/// Writes a captured machine and syncs it, still under a temporary name. `Err` has what the machine or the disk said.
pub(super) fn write(files: &Snapshots, head: SnapshotHead, capture: Capture) -> Result<Box<Written>, String> {
    let mut writer = files.begin(head).map_err(|error| error.to_string())?;
    capture.state.write_to(&mut writer).map_err(|error| error.to_string())?;
    writer.finish().map(Box::new).map_err(|error| error.to_string())
}

/// Reads the newest back, and removes what is older than the two newest, but not what peers are fetching.
pub(super) fn verify(
    files: &Snapshots,
    group: GroupId,
    at: Position,
    fetched: &[Position],
) -> Result<Kept, SnapshotError> {
    files.open(group, at)?.verify()?;
    files.retain(group, KEPT, fetched)?;
    kept(files, group)
}

/// A part of the snapshot that a peer has begun to fetch, or of the newest if that is gone and this one helps, too.
pub(super) fn part(files: &Snapshots, group: GroupId, wanted: PartWanted) -> (Option<Position>, Response) {
    let found = match wanted.at.map(|at| files.open(group, at)) {
        Some(Ok(file)) => Some((file.info(), wanted.offset)),
        Some(Err(_)) | None => newest(files, group, wanted).map(|info| (info, 0)),
    };
    let read = |(info, offset): (SnapshotInfo, u64)| {
        let at = info.head.at;
        let bytes: Bytes = files.read_raw(group, at, offset, PART_BYTES).ok()?;
        let (index, term, chain) = (at.index.0, at.term.0, Bytes::copy_from_slice(&at.chain.0));
        Some((at, Response::SnapshotPart { index, term, chain, file_bytes: info.bytes, offset, bytes }))
    };
    match found.and_then(read) {
        Some((at, part)) => (Some(at), part),
        None => (None, Response::NoSnapshot),
    }
}

fn newest(files: &Snapshots, group: GroupId, wanted: PartWanted) -> Option<SnapshotInfo> {
    let newest = files.list(group).ok()?.found.into_iter().next()?;
    (newest.head.at.index >= wanted.least).then_some(newest)
}

#[cfg(test)]
mod tests {
    use quorate_core::{Hash, Index, Membership, Term};
    use quorate_store::{Disk, SimDisk};

    use super::*;
    use crate::machine::Snapshot;

    const GROUP: GroupId = GroupId(7);

    fn at(index: u64) -> Position {
        Position { index: Index(index), term: Term(1), chain: Hash::of(&index.to_be_bytes()) }
    }

    fn publish(files: &Snapshots, index: u64, bytes: usize) {
        let base = SnapshotBase { at: at(index), time_ms: 3, membership: Membership::default() };
        let head = SnapshotHead {
            cluster: Hash::of(b"cluster"),
            group: GROUP,
            name: "orders".to_owned(),
            at: base.at,
            time_ms: base.time_ms,
            membership: base.membership.clone(),
            machine: 0,
            made_ms: 4,
        };
        let state = Snapshot::from_bytes(vec![index as u8; bytes]);
        let written = write(files, head, Capture { base, state }).expect("it is written");
        written.publish().expect("it is published");
    }

    fn answer(files: &Snapshots, wanted: PartWanted) -> Option<(u64, u64, usize)> {
        match part(files, GROUP, wanted).1 {
            Response::SnapshotPart { index, offset, bytes, .. } => Some((index, offset, bytes.len())),
            _ => None,
        }
    }

    /// What a peer has begun to fetch is removed meanwhile: it gets the newest from the beginning, if that helps it.
    #[test]
    fn bug_67_a_snapshot_that_goes_while_it_is_fetched_gives_way_to_the_newest() {
        let files = Snapshots::new(SimDisk::new().snapshots());
        publish(&files, 3, 2 * PART_BYTES);
        publish(&files, 9, PART_BYTES);
        let offset = PART_BYTES as u64;
        let begun = PartWanted { at: Some(at(3)), least: Index(3), offset };
        assert_eq!(answer(&files, begun), Some((3, offset, PART_BYTES)));
        assert_eq!(files.retain(GROUP, 1, &[at(3)]).expect("it is pinned"), []);
        assert_eq!(files.retain(GROUP, 1, &[]).expect("it goes"), [at(3)]);
        assert_eq!(answer(&files, begun), Some((9, 0, PART_BYTES)));
        assert_eq!(
            answer(&files, PartWanted { least: Index(10), ..begun }),
            None,
            "it does not reach so far"
        );
        assert_eq!(
            answer(&files, PartWanted { at: None, least: Index(9), offset: 0 }),
            Some((9, 0, PART_BYTES))
        );
    }

    #[test]
    fn the_newest_is_read_back_before_an_older_one_goes() {
        let files = Snapshots::new(SimDisk::new().snapshots());
        for index in [1, 2, 3] {
            publish(&files, index, 100);
        }
        let kept = verify(&files, GROUP, at(3), &[]).expect("it is whole");
        assert_eq!((kept.newest.map(|base| base.at), kept.older), (Some(at(3)), Some(Index(2))));
        assert!(matches!(verify(&files, GROUP, at(4), &[]), Err(SnapshotError::Gone { .. })));
    }
}

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

//! What a snapshotter does with files, as jobs for a thread that may block. None of them touches the actor's state.

use quorate_core::{GroupId, Index, Position, SnapshotBase};
use quorate_store::{SnapshotError, SnapshotHead, SnapshotInfo, Snapshots, Written};

use crate::messages::snapshotter::{Capture, Kept, KeptFile, Part, PartWanted};

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
        set_aside(files, group, damaged.index, &damaged.error);
    }
    let mut found = list.found.iter().map(|info| KeptFile { base: base_of(&info.head), bytes: info.bytes });
    Ok(Kept { newest: found.next(), older: found.next() })
}

/// Takes a snapshot that cannot be read out of the way, and says so. One that only a newer build reads, and one that the disk does not
/// give now, stay where they are.
pub(super) fn set_aside(files: &Snapshots, group: GroupId, index: Index, why: &SnapshotError) {
    let is_strange = matches!(why, SnapshotError::Damaged { .. } | SnapshotError::Other { .. });
    tracing::error!(%group, %index, error = %why, "a snapshot cannot be used");
    if is_strange && let Err(error) = files.set_aside(group, index) {
        tracing::error!(%group, %index, %error, "and cannot be set aside");
    }
}

/// What there is, if a whole snapshot of exactly this place is among it: a second one would say the same, and who reads the first would
/// lose it.
pub(super) fn present(files: &Snapshots, group: GroupId, at: Position) -> Option<Kept> {
    let there = files.open(group, at).and_then(|file| file.verify());
    there.is_ok().then(|| kept(files, group).ok()).flatten()
}

/// Writes a captured machine and syncs it, still under a temporary name. `Err` has what the machine or the disk said.
pub(super) fn write(files: &Snapshots, head: SnapshotHead, capture: Capture) -> Result<Box<Written>, String> {
    let mut writer = files.begin(head).map_err(|error| error.to_string())?;
    capture.state.write_to(&mut writer).map_err(|error| error.to_string())?;
    writer.finish().map(Box::new).map_err(|error| error.to_string())
}

/// Publishes what was written and reads it back. Only then does it count, and what is older than the two newest goes, but not what
/// peers are fetching. One that cannot be read back is set aside.
pub(super) fn publish(
    files: &Snapshots,
    group: GroupId,
    written: Written,
    fetched: &[Position],
) -> Result<Kept, String> {
    let at = written.publish().map_err(|error| error.to_string())?.head.at;
    let read_back = files.open(group, at).and_then(|file| file.verify());
    if let Err(damage) = read_back {
        // Whatever it was: a file that was not read back must not become the one for which the log is forgotten.
        if let Err(error) = files.set_aside(group, at.index) {
            tracing::error!(%group, index = %at.index, %error, "a snapshot that cannot be read back cannot be set aside");
        }
        return Err(format!("it could not be read back: {damage}"));
    }
    retained(files, group, fetched).map_err(|error| error.to_string())
}

/// Removes what is older than the two newest, but not what peers are fetching.
pub(super) fn retained(
    files: &Snapshots,
    group: GroupId,
    fetched: &[Position],
) -> Result<Kept, SnapshotError> {
    if let Err(error) = files.retain(group, KEPT, fetched) {
        tracing::warn!(%group, %error, "older snapshots stay");
    }
    kept(files, group)
}

/// Whether a snapshot that was there is there no more: removed from outside, or damaged, and then set aside. What the disk does not give
/// now may be there.
pub(super) fn is_gone(files: &Snapshots, group: GroupId, at: Position) -> bool {
    match files.open(group, at) {
        Err(SnapshotError::Gone { .. }) => true,
        Err(error) if error.is_damage() => {
            set_aside(files, group, at.index, &error);
            true
        }
        Ok(_) | Err(_) => false,
    }
}

/// A part of the snapshot that someone has begun to read, or of the newest if that is gone and this one helps, too. All of it is of the
/// file whose mark it has.
pub(super) fn part(files: &Snapshots, group: GroupId, wanted: PartWanted) -> Option<Part> {
    let (file, offset) = match wanted.at.map(|at| files.open(group, at)) {
        Some(Ok(file)) => (file, wanted.offset),
        Some(Err(_)) | None => (files.open(group, newest(files, group, wanted)?.head.at).ok()?, 0),
    };
    let (at, file_bytes) = (file.info().head.at, file.info().bytes);
    let bytes = file.read_raw(offset, PART_BYTES).ok()?;
    // Read by its name, which another file of this place may have taken in between.
    let still = files.open(group, at).ok()?;
    (still.mark() == file.mark()).then(|| Part { at, file: file.mark(), file_bytes, offset, bytes })
}

fn newest(files: &Snapshots, group: GroupId, wanted: PartWanted) -> Option<SnapshotInfo> {
    let newest = files.list(group).ok()?.found.into_iter().next()?;
    (newest.head.at.index >= wanted.least).then_some(newest)
}

/// What the snapshot of group `orders` at this place says of itself, for tests.
#[cfg(test)]
pub(super) fn head_of(group: GroupId, base: &SnapshotBase, made_ms: u64) -> SnapshotHead {
    SnapshotHead {
        cluster: quorate_core::Hash::of(b"cluster"),
        group,
        name: "orders".to_owned(),
        at: base.at,
        time_ms: base.time_ms,
        membership: base.membership.clone(),
        machine: 0,
        made_ms,
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{Hash, Membership, Term};
    use quorate_store::{Disk, SimDisk};

    use super::*;
    use crate::machine::Snapshot;

    const GROUP: GroupId = GroupId(7);

    fn at(index: u64) -> Position {
        Position { index: Index(index), term: Term(1), chain: Hash::of(&index.to_be_bytes()) }
    }

    fn publish(files: &Snapshots, index: u64, bytes: usize) {
        publish_made(files, index, bytes, 4);
    }

    fn publish_made(files: &Snapshots, index: u64, bytes: usize, made_ms: u64) {
        let base = SnapshotBase { at: at(index), time_ms: 3, membership: Membership::default() };
        let head = head_of(GROUP, &base, made_ms);
        let state = Snapshot::from_bytes(vec![index as u8; bytes]);
        let written = write(files, head, Capture { base, state }).expect("it is written");
        super::publish(files, GROUP, *written, &[]).expect("it is published");
    }

    fn indexes(kept: &Kept) -> (Option<u64>, Option<u64>) {
        let index = |file: &Option<KeptFile>| file.as_ref().map(|file| file.base.at.index.0);
        (index(&kept.newest), index(&kept.older))
    }

    fn answer(files: &Snapshots, wanted: PartWanted) -> Option<(u64, u64, usize)> {
        let Part { at, offset, bytes, .. } = part(files, GROUP, wanted)?;
        Some((at.index.0, offset, bytes.len()))
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

    /// What a second snapshot of one place is answered with: nothing is written, and who reads the first keeps it.
    #[test]
    fn what_is_whole_is_there_for_its_own_place_alone() {
        let disk = SimDisk::new();
        let files = Snapshots::new(disk.snapshots());
        publish(&files, 3, 2 * PART_BYTES);
        assert_eq!(indexes(&present(&files, GROUP, at(3)).expect("it is whole")), (Some(3), None));
        assert_eq!(present(&files, GROUP, at(4)), None);
        let name = disk.snapshots().list().expect("listed").pop().expect("there is one");
        disk.snapshots().write_at(&name, 400_000, b"damage").expect("written");
        assert_eq!(present(&files, GROUP, at(3)), None, "a damaged one is written again");
    }

    #[test]
    fn a_part_has_the_mark_of_its_file() {
        let files = Snapshots::new(SimDisk::new().snapshots());
        let wanted = PartWanted { at: Some(at(3)), least: Index(3), offset: PART_BYTES as u64 };
        let mark = |files: &Snapshots| part(files, GROUP, wanted).expect("it is there").file;
        publish_made(&files, 3, 2 * PART_BYTES, 4);
        let first = mark(&files);
        files.set_aside(GROUP, Index(3)).expect("it is set aside");
        publish_made(&files, 3, 2 * PART_BYTES, 5);
        assert_ne!(mark(&files), first);
    }

    /// Its disk took it, and does not give it back: it must not be the one for which the log is forgotten.
    #[test]
    fn a_snapshot_that_cannot_be_read_back_does_not_count() {
        let disk = SimDisk::new();
        let files = Snapshots::new(disk.snapshots());
        publish(&files, 1, 100);
        let base = SnapshotBase { at: at(2), time_ms: 3, membership: Membership::default() };
        let head = SnapshotHead { at: at(2), ..files.list(GROUP).expect("listed").found[0].head.clone() };
        let state = Snapshot::from_bytes(vec![2; 600_000]);
        let written = write(&files, head, Capture { base, state }).expect("it is written");
        let part = disk.snapshots().list().expect("listed").into_iter().find(|name| name.contains(".part"));
        disk.snapshots().write_at(&part.expect("it is a part"), 400_000, b"damage").expect("written");
        let reason = super::publish(&files, GROUP, *written, &[]).expect_err("it is damaged");
        assert!(!reason.is_empty());
        assert_eq!(indexes(&look(&files, GROUP).expect("it looks")), (Some(1), None));
    }

    #[test]
    fn what_is_damaged_counts_no_more_and_is_out_of_the_way() {
        let disk = SimDisk::new();
        let files = Snapshots::new(disk.snapshots());
        for index in [1, 2, 3] {
            publish(&files, index, 100);
        }
        let kept = look(&files, GROUP).expect("it looks");
        assert_eq!(indexes(&kept), (Some(3), Some(2)), "the oldest went");
        let name = disk.snapshots().list().expect("listed").pop().expect("the newest is the last");
        disk.snapshots().write_at(&name, 20, b"damage").expect("written");
        let mut kept = look(&files, GROUP).expect("it looks");
        assert_eq!(indexes(&kept), (Some(2), None));
        assert!(disk.snapshots().list().expect("listed").contains(&name.replace(".snap", ".damaged")));
        publish(&files, 3, 100);
        assert!(!kept.forget(&[Index(9)]) && kept.forget(&[Index(2)]) && kept == Kept::default());
        let mut kept = look(&files, GROUP).expect("it looks");
        assert!(kept.forget(&[Index(3)]));
        assert_eq!(indexes(&kept), (Some(2), None));
    }
}

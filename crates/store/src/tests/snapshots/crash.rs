//! The machine stops at every step of writing, publishing, removing and receiving, with what was not synced lost, kept or torn.

use std::io::Write;
use std::sync::Arc;

use super::{at, bytes, file, group, head, indexes, of_io, publish, read, state};
use crate::{
    Batch, CHUNK_BYTES_MAX, Crash, Disk, DiskError, Keyspace, SimDisk, SimImage, SnapshotDisk, SnapshotError,
    Snapshots,
};

const CRASHES: [Crash; 4] = [Crash::Lost, Crash::Kept, Crash::Torn, Crash::Process];

/// Every combination of fates of the unsynced writes.
fn mixed(disk: &SimDisk) -> impl Iterator<Item = Crash> + use<> {
    let writes = u32::try_from(disk.unsynced()).expect("few");
    (0..3_u64.pow(writes.min(7))).map(move |mut which| {
        let bits = (0..writes).fold(0, |bits, write| {
            let fate = which % 3;
            which /= 3;
            bits | fate << (2 * write)
        });
        Crash::Mixed(bits)
    })
}

fn on(image: SimImage) -> (SimDisk, Snapshots) {
    let disk = SimDisk::from_image(image);
    (disk.clone(), Snapshots::new(Arc::new(disk)))
}

/// What was acknowledged.
#[derive(Debug, Default)]
struct Promised {
    there: Vec<u64>,
}

/// Two snapshots of a group, of which the older one is removed then.
fn write(disk: &SimDisk, state_bytes: usize, promised: &mut Promised) -> Result<(), SnapshotError> {
    let snapshots = Snapshots::new(Arc::new(disk.clone()));
    for index in [5, 9] {
        publish(&snapshots, head(index), &state(state_bytes))?;
        promised.there.push(index);
    }
    promised.there.remove(0);
    snapshots.retain(group(), 1, &[])?;
    drop(snapshots.begin(head(12))?);
    Ok(())
}

/// What is published is whole, and what was promised is there.
fn check(image: SimImage, promised: &Promised, state_bytes: usize, what: &str) {
    let (disk, snapshots) = on(image);
    let found = indexes(&snapshots);
    for index in &found {
        assert!(read(&snapshots, *index).expect(what) == state(state_bytes), "{what}");
    }
    assert!(promised.there.iter().all(|index| found.contains(index)), "{what}: only {found:?}");
    // What is found stays, whatever happens next.
    let (_, again) = on(disk.crash(Crash::Lost));
    assert_eq!(indexes(&again), found, "{what}");
    snapshots.remove_parts(group()).expect(what);
    publish(&snapshots, head(20), b"state").expect(what);
    snapshots.retain(group(), 1, &[]).expect(what);
    assert_eq!(SnapshotDisk::list(&disk).expect(what), [file(20)], "{what}: nothing is left");
}

#[test]
fn rule_07_a_published_snapshot_is_whole_after_a_crash_at_any_step() {
    let mut images = 0;
    for state_bytes in [40, CHUNK_BYTES_MAX + 1] {
        for stop_at in 1.. {
            let (disk, mut promised) = (SimDisk::new(), Promised::default());
            disk.stop_at(stop_at);
            let done = write(&disk, state_bytes, &mut promised);
            let all = (state_bytes == 40).then(|| mixed(&disk)).into_iter().flatten();
            for crash in CRASHES.into_iter().chain(all) {
                let what = format!("stopped at {stop_at}, {crash:?}, {promised:?}");
                check(disk.crash(crash), &promised, state_bytes, &what);
                images += 1;
            }
            // A part that is dropped is removed as far as that works: the last steps fail without an error.
            if !disk.has_stopped() {
                done.expect("nothing stopped it");
                break;
            }
        }
    }
    assert!(images > 300, "{images} images");
}

/// After a failed sync nothing that was not promised looks as if it were, and nothing promised is lost.
#[test]
fn a_sync_that_fails_publishes_nothing_that_is_not_whole() {
    let mut failures = 0;
    for sync in 0.. {
        let (disk, mut promised) = (SimDisk::new(), Promised::default());
        disk.fail_sync_in(sync);
        let done = write(&disk, 40, &mut promised);
        if !disk.sync_failed() {
            break;
        }
        failures += 1;
        for crash in CRASHES.into_iter().chain(mixed(&disk)) {
            check(
                disk.crash(crash),
                &promised,
                40,
                &format!("sync {sync}, {crash:?}, {promised:?}, {done:?}"),
            );
        }
    }
    assert!(failures > 5, "{failures} syncs");
}

/// Receives what was sent, from where it was, in pieces.
fn receive(snapshots: &Snapshots, sent: &[u8], piece: usize) -> Result<u64, SnapshotError> {
    let mut incoming = snapshots.receive(group(), at(9), sent.len() as u64)?;
    let begun = incoming.offset();
    while !incoming.is_complete() {
        let offset = usize::try_from(incoming.offset()).expect("small");
        let end = sent.len().min(offset + piece);
        incoming.append(incoming.offset(), &sent[offset..end])?;
    }
    incoming.finish()?;
    Ok(begun)
}

#[test]
fn rule_07_a_snapshot_that_is_received_goes_on_after_a_crash_at_any_step() {
    let source: Arc<dyn SnapshotDisk> = Arc::new(SimDisk::new());
    let mut continued = 0;
    for (state_bytes, pieces) in [(40, 4), (CHUNK_BYTES_MAX + 1, 6)] {
        publish(&Snapshots::new(source.clone()), head(9), &state(state_bytes)).expect("published");
        let sent = bytes(&source, &file(9));
        let piece = sent.len().div_ceil(pieces);
        for stop_at in 1.. {
            let disk = SimDisk::new();
            let snapshots = Snapshots::new(Arc::new(disk.clone()));
            publish(&snapshots, head(5), b"an older state").expect("published");
            disk.stop_at(disk.steps() + stop_at);
            let done = receive(&snapshots, &sent, piece);
            let all = (state_bytes == 40).then(|| mixed(&disk)).into_iter().flatten();
            for crash in CRASHES.into_iter().chain(all) {
                let what = format!("stopped at {stop_at}, {crash:?}");
                let (after, snapshots) = on(disk.crash(crash));
                let found = indexes(&snapshots);
                assert!(found.contains(&5), "{what}");
                if done.is_ok() || found.contains(&9) {
                    assert!(read(&snapshots, 9).expect(&what) == state(state_bytes), "{what}");
                }
                continued += u64::from(receive(&snapshots, &sent, piece).expect(&what) > 0);
                assert!(read(&snapshots, 9).expect(&what) == state(state_bytes), "{what}");
                assert_eq!(SnapshotDisk::list(&after).expect(&what), [file(5), file(9)], "{what}");
            }
            if !disk.has_stopped() {
                done.expect("nothing stopped it");
                break;
            }
        }
    }
    assert!(continued > 20, "{continued} continued");
}

/// A full disk ends the snapshot, leaves what was there, and poisons nothing. What was received goes: it took the room.
#[test]
fn a_full_disk_takes_no_snapshot_and_loses_none() {
    let mut disk = SimDisk::new();
    disk.create_database().expect("made");
    let snapshots = Snapshots::new(disk.snapshots());
    publish(&snapshots, head(5), &state(40)).expect("published");
    let free = disk.free_bytes().expect("measured");
    let is_full = |done: Result<(), SnapshotError>| {
        assert!(matches!(done, Err(SnapshotError::Disk(DiskError::Full { .. }))), "{done:?}");
    };
    let used = (1 << 40) - free;
    for room in [0, 200, 500, CHUNK_BYTES_MAX as u64 + 200] {
        disk.set_capacity(used + room);
        is_full(publish(&snapshots, head(9), &state(CHUNK_BYTES_MAX + 40)).map(drop));
        assert_eq!((indexes(&snapshots), disk.free_bytes().expect("measured")), (vec![5], room));
    }
    let mut writer = snapshots.begin(head(9)).expect("there is room for this");
    is_full(writer.write_all(&state(3 * CHUNK_BYTES_MAX)).map_err(of_io));
    assert!(matches!(writer.finish(), Err(SnapshotError::Unfinished { .. })), "a writer that failed");
    let mut incoming = snapshots.receive(group(), at(9), 1 << 30).expect("it begins");
    incoming.append(0, b"QRSF").expect("there is room for this");
    is_full(incoming.append(4, &state(2 * CHUNK_BYTES_MAX)));
    assert!(matches!(incoming.append(4, &[1]), Err(SnapshotError::Gone { .. })), "it is begun again");
    assert_eq!(disk.free_bytes().expect("measured"), CHUNK_BYTES_MAX as u64 + 200);
    let mut batch = Batch::new();
    batch.put(Keyspace::Hard, b"key".to_vec(), vec![1; 8].into());
    disk.commit(&batch).expect("the database has not noticed");
    // No stall of the I/O thread's disk holds a snapshot.
    disk.stall(true);
    publish(&snapshots, head(7), &state(40)).expect("published");
    assert_eq!(read(&snapshots, 7).expect("it reads"), state(40));
}

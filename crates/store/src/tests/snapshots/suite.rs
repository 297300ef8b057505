//! What holds on every disk.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;

use quorate_core::{GroupId, Position, Term};

use super::{at, bytes, file, group, head, indexes, of_io, publish, put, read, state};
use crate::{CHUNK_BYTES_MAX, SimDisk, SnapshotDisk, SnapshotError, SnapshotHead, Snapshots};

type Case = fn(&Arc<dyn SnapshotDisk>);

/// Each on an empty disk.
pub(super) const CASES: &[(&str, Case)] = &[
    ("the disk", the_disk),
    ("round trips", round_trips),
    ("newest first", newest_first),
    ("retain", retain),
    ("unpublished", unpublished),
    ("strangers", strangers),
    ("resume", resume),
    ("announced", announced),
    ("damaged on its way", damaged_on_its_way),
    ("a beginning decides", a_beginning_decides),
    ("gone", gone),
];

#[test]
fn the_suite_holds_on_the_simulated_disk() {
    for (name, case) in CASES {
        println!("{name}");
        let disk: Arc<dyn SnapshotDisk> = Arc::new(SimDisk::new());
        case(&disk);
    }
}

/// What the seam promises.
fn the_disk(disk: &Arc<dyn SnapshotDisk>) {
    assert_eq!(disk.list().expect("no directory is an empty one"), Vec::<String>::new());
    disk.sync_names().expect("there is nothing to sync");
    disk.remove("a").expect("it is missing already");
    assert!(disk.length("a").expect("looked at").is_none());
    assert!(disk.read_at("a", 0, &mut [0; 4]).expect("looked at").is_none());
    assert!(disk.write_at("a", 1, b"x").is_err(), "a hole");
    assert!(disk.truncate("a", 0).is_err() && disk.sync("a").is_err() && disk.publish("a", "b").is_err());
    disk.write_at("a", 0, b"first").expect("written");
    disk.write_at("a", 3, b"other").expect("written");
    disk.sync("a").expect("synced");
    let mut found = [0; 6];
    assert_eq!(disk.read_at("a", 4, &mut found).expect("it reads"), Some(4));
    assert_eq!(&found[..4], b"ther");
    assert_eq!(disk.read_at("a", 99, &mut found).expect("it reads"), Some(0));
    disk.truncate("a", 2).expect("cut");
    assert_eq!(bytes(disk, "a"), b"fi");
    disk.write_at("b", 0, b"old and long").expect("written");
    disk.publish("a", "b").expect("renamed over it");
    assert_eq!((disk.list().expect("listed"), bytes(disk, "b")), (vec!["b".to_owned()], b"fi".to_vec()));
    disk.remove("b").expect("removed");
    assert!(disk.list().expect("listed").is_empty());
}

fn round_trips(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    let sizes =
        [0, 1, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 2 * CHUNK_BYTES_MAX, 700_001];
    for (index, size) in (1..).zip(sizes) {
        let written = state(size);
        let mut writer = snapshots.begin(head(index)).expect("it begins");
        for piece in written.chunks(65_537) {
            writer.write_all(piece).expect("it writes");
        }
        assert_eq!(writer.payload_bytes(), size as u64);
        let info = writer.finish().expect("it ends").publish().expect("it is published");
        assert_eq!((&info.head, info.payload_bytes), (&head(index), size as u64));
        assert_eq!(snapshots.file_bytes(group(), at(index)).expect("it is there"), info.bytes);
        let opened = snapshots.open(group(), at(index)).expect("it opens");
        assert_eq!((opened.info(), opened.verify().expect("it is whole")), (info.clone(), info));
        assert!(read(&snapshots, index).expect("it reads") == written, "{size} bytes");
        // A reader that knows the length does not look for the end.
        let mut exact = vec![0; size];
        opened.reader().read_exact(&mut exact).expect("it reads");
        assert!(exact == written);
    }
}

fn newest_first(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    for index in [0x10, 3, u64::MAX, 0x9] {
        publish(&snapshots, head(index), b"state").expect("published");
    }
    let other = SnapshotHead { group: GroupId(group().0 ^ 1), ..head(5) };
    publish(&snapshots, other, b"state").expect("published");
    assert_eq!(indexes(&snapshots), [u64::MAX, 0x10, 9, 3]);
    let again = publish(&snapshots, head(9), b"a later state").expect("published in its place");
    assert_eq!(indexes(&snapshots), [u64::MAX, 0x10, 9, 3]);
    assert_eq!(snapshots.list(group()).expect("listed").found[2], again);
}

fn retain(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    (1..=5).for_each(|index| drop(publish(&snapshots, head(index), b"state").expect("published")));
    let other = SnapshotHead { group: GroupId(group().0 ^ 1), ..head(1) };
    publish(&snapshots, other.clone(), b"state").expect("published");
    put(disk, &file(6), b"no snapshot");
    let removed = snapshots.retain(group(), 2, &[at(2)]).expect("removed");
    assert_eq!(removed, [at(1), at(3)], "a damaged one does not count");
    let list = snapshots.list(group()).expect("listed");
    assert_eq!(list.found.iter().map(|info| info.head.at).collect::<Vec<_>>(), [at(5), at(4), at(2)]);
    assert_eq!(list.damaged.iter().map(|damaged| damaged.index).collect::<Vec<_>>(), [at(6).index]);
    assert!(disk.list().expect("listed").contains(&file(6)), "damaged ones are left where they are");
    assert!(snapshots.open(other.group, at(1)).is_ok(), "another group's");
}

fn unpublished(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    let mut writer = snapshots.begin(head(1)).expect("it begins");
    writer.write_all(&state(300_000)).expect("it writes");
    let second = snapshots.begin(head(1)).expect("two of one index");
    assert_eq!((disk.list().expect("listed").len(), indexes(&snapshots)), (2, vec![]));
    drop(writer);
    let written = second.finish().expect("it ends");
    assert_eq!(indexes(&snapshots), [0; 0]);
    drop(written);
    assert!(disk.list().expect("listed").is_empty(), "nothing is left");
    std::mem::forget(snapshots.begin(head(2)).expect("as a process leaves it that ends"));
    let other = SnapshotHead { group: GroupId(group().0 ^ 1), ..head(2) };
    std::mem::forget(snapshots.begin(other).expect("it begins"));
    snapshots.receive(group(), at(2), 99).expect("it begins").append(0, b"QR").expect("received");
    snapshots.remove_parts(group()).expect("removed");
    assert_eq!(disk.list().expect("listed").len(), 2, "what is received and what is another group's stays");
    let mut lost = snapshots.begin(head(3)).expect("it begins");
    snapshots.remove_parts(group()).expect("removed");
    let lost = lost.write_all(&state(600_000)).map_err(of_io).and_then(|()| lost.finish().map(drop));
    assert!(matches!(lost, Err(SnapshotError::Gone { .. })), "{lost:?}");
    assert_eq!(indexes(&snapshots), [0; 0]);
}

fn strangers(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    publish(&snapshots, head(1), b"state").expect("published");
    let names = ["README", "backup.snap", ".part", "00-01.snap", "notes.part"];
    let strange: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let upper = file(1).to_uppercase();
    strange.iter().chain([&upper]).for_each(|name| put(disk, name, b"a note of an operator"));
    assert_eq!(indexes(&snapshots), [1]);
    snapshots.remove_parts(group()).expect("removed");
    snapshots.receive(group(), at(9), 1).expect("it begins");
    snapshots.retain(group(), 0, &[]).expect("removed");
    let left: BTreeSet<String> = disk.list().expect("listed").into_iter().collect();
    assert_eq!(left, strange.into_iter().chain([upper]).collect());
}

/// The bytes of a published file, read in pieces, and its disk's other snapshots.
fn sent(snapshots: &Snapshots, index: u64) -> Vec<u8> {
    let mut sent = Vec::new();
    loop {
        let piece = snapshots.read_raw(group(), at(index), sent.len() as u64, 10_007).expect("it reads");
        if piece.is_empty() {
            return sent;
        }
        sent.extend(piece);
    }
}

fn resume(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    let info = publish(&snapshots, head(1), &state(600_000)).expect("published");
    let sent = sent(&snapshots, 1);
    assert_eq!((sent.len() as u64, &sent), (info.bytes, &bytes(disk, &file(1))));
    snapshots.retain(group(), 0, &[]).expect("removed");
    let length = sent.len() as u64;
    let mut incoming = snapshots.receive(group(), at(1), length).expect("it begins");
    assert_eq!((incoming.offset(), incoming.file_bytes(), incoming.is_complete()), (0, length, false));
    incoming.append(0, &sent[..400_000]).expect("received");
    for (offset, piece) in
        [(0, &sent[..10]), (399_999, &sent[..10]), (400_001, &sent[..10]), (400_000, &sent[..])]
    {
        let refused = incoming.append(offset, piece);
        let is_order = matches!(refused, Err(SnapshotError::Order { expected: 400_000, .. }));
        assert!(is_order, "at {offset}: {refused:?}");
    }
    assert!(matches!(incoming.finish(), Err(SnapshotError::Unfinished { .. })));
    // What is not whole is fetched again: the part ends with a whole chunk.
    let mut incoming = snapshots.receive(group(), at(1), length).expect("it continues");
    let offset = usize::try_from(incoming.offset()).expect("small");
    assert!((CHUNK_BYTES_MAX..400_000).contains(&offset), "{offset}");
    incoming.append(incoming.offset(), &sent[offset..]).expect("received");
    drop(incoming);
    let incoming = snapshots.receive(group(), at(1), length).expect("it continues");
    assert!(incoming.is_complete());
    assert_eq!(indexes(&snapshots), [0; 0], "it is not verified yet");
    assert_eq!(incoming.finish().expect("it is whole"), info);
    assert_eq!((disk.list().expect("listed"), bytes(disk, &file(1))), (vec![file(1)], sent));
}

fn announced(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    publish(&snapshots, head(1), b"state").expect("published");
    let sent = sent(&snapshots, 1);
    snapshots.retain(group(), 0, &[]).expect("removed");
    let length = sent.len() as u64;
    let begin = |group, at: Position, length| {
        let mut incoming = snapshots.receive(group, at, length).expect("it begins");
        assert_eq!(incoming.offset(), 0, "another snapshot is not continued");
        incoming.append(0, &sent[..40]).expect("received");
        assert_eq!(disk.list().expect("listed").len(), 1, "the one before it is removed");
        incoming
    };
    let other_term = Position { term: Term(4), ..at(1) };
    let other_chain = Position { chain: at(2).chain, ..at(1) };
    for at in [other_term, other_chain, at(2), at(1)] {
        drop(begin(group(), at, length + 1));
        let mut incoming = begin(group(), at, length);
        let done = incoming.append(40, &sent[40..]).and_then(|()| incoming.finish());
        if at != self::at(1) {
            assert!(matches!(done, Err(SnapshotError::Other { .. })), "{done:?}");
            assert!(disk.list().expect("listed").is_empty(), "it is removed");
        }
    }
    assert_eq!(indexes(&snapshots), [1]);
    let other = GroupId(group().0 ^ 1);
    let mut incoming = snapshots.receive(other, at(1), length).expect("it begins");
    assert!(matches!(incoming.append(0, &sent), Err(SnapshotError::Other { .. })), "of another group");
    let mut incoming = snapshots.receive(other, at(1), length).expect("it begins");
    incoming.append(0, &sent[..9]).expect("received");
    incoming.abandon();
    assert_eq!(disk.list().expect("listed"), [file(1)]);
}

fn damaged_on_its_way(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    publish(&snapshots, head(1), b"state").expect("published");
    let sent = sent(&snapshots, 1);
    for at_byte in [0, 20, sent.len() - 70, sent.len() - 1] {
        let mut flipped = sent.clone();
        flipped[at_byte] ^= 4;
        let mut incoming = snapshots.receive(group(), at(1), sent.len() as u64).expect("it begins");
        assert_eq!(incoming.offset(), 0, "a damaged part is not continued");
        let done = incoming.append(0, &flipped).and_then(|()| incoming.finish());
        assert!(matches!(done, Err(SnapshotError::Damaged { .. })), "byte {at_byte}: {done:?}");
        assert_eq!(disk.list().expect("listed"), [file(1)], "the one that is whole stays");
    }
    assert_eq!(read(&snapshots, 1).expect("it reads"), b"state");
}

/// Whether an error is the one that was meant.
type IsIt = fn(&SnapshotError) -> bool;

/// A file that this build cannot read, or that is another one, is not received to its end; it says so with the first piece that shows it.
fn a_beginning_decides(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    publish(&snapshots, head(1), &state(600_000)).expect("published");
    let sent = sent(&snapshots, 1);
    let header = 9 + u32::from_be_bytes(sent[5..9].try_into().expect("four bytes")) as usize + 8;
    let mut newer = sent.clone();
    newer[4] = 2;
    let sum = blake3::hash(&newer[..header - 8]);
    newer[header - 8..header].copy_from_slice(&sum.as_bytes()[..8]);
    let mut damaged = sent.clone();
    damaged[header - 9] ^= 1;
    let mut long = sent.clone();
    long[5] = 1;
    let is_future: IsIt = |error| matches!(error, SnapshotError::Future { found: 2, known: 1, .. });
    let is_damaged: IsIt = |error| matches!(error, SnapshotError::Damaged { .. });
    let is_other: IsIt = |error| matches!(error, SnapshotError::Other { .. });
    let cases: [(&str, &[u8], Position, IsIt); 4] = [
        ("of a newer build", &newer, at(1), is_future),
        ("damaged", &damaged, at(1), is_damaged),
        ("a header without an end", &long, at(1), is_damaged),
        ("of another place", &sent, Position { term: Term(4), ..at(1) }, is_other),
    ];
    for (what, bytes, at, is_it) in cases {
        for piece in [header, 1, 512 << 10] {
            let mut incoming = snapshots.receive(group(), at, bytes.len() as u64).expect("it begins");
            let ended = bytes.chunks(piece).find_map(|piece| {
                let offset = incoming.offset();
                incoming.append(offset, piece).err().map(|error| (offset + piece.len() as u64, error))
            });
            let (received, error) = ended.unwrap_or_else(|| panic!("{what} is received to its end"));
            assert!(is_it(&error) && received <= header.max(piece) as u64, "{what}: {received}, {error}");
            assert_eq!((incoming.offset(), disk.list().expect("listed")), (0, vec![file(1)]), "{what}");
        }
    }
    // What was received of a file is looked at again when it is continued.
    let mut incoming = snapshots.receive(group(), at(1), sent.len() as u64).expect("it begins");
    incoming.append(0, &sent[..header]).expect("received");
    drop(incoming);
    let mut incoming = snapshots.receive(group(), at(1), sent.len() as u64).expect("it continues");
    assert_eq!(incoming.offset(), header as u64);
    incoming.append(header as u64, &sent[header..]).expect("received");
    assert_eq!(incoming.finish().expect("it is whole").head, head(1));
}

fn gone(disk: &Arc<dyn SnapshotDisk>) {
    let snapshots = Snapshots::new(disk.clone());
    let is_gone = |done: Result<(), SnapshotError>| {
        assert!(matches!(done, Err(SnapshotError::Gone { .. })), "{done:?}");
    };
    is_gone(snapshots.open(group(), at(1)).map(drop));
    publish(&snapshots, head(1), &state(600_000)).expect("published");
    is_gone(snapshots.open(group(), Position { term: Term(4), ..at(1) }).map(drop));
    let opened = snapshots.open(group(), at(1)).expect("it opens");
    let mut reader = opened.reader();
    reader.read_exact(&mut [0; 10]).expect("it reads");
    snapshots.retain(group(), 0, &[]).expect("removed");
    is_gone(snapshots.file_bytes(group(), at(1)).map(drop));
    is_gone(snapshots.read_raw(group(), at(1), 0, 10).map(drop));
    is_gone(opened.read_raw(0, 10).map(drop));
    is_gone(reader.read_to_end(&mut Vec::new()).map(drop).map_err(of_io));
    let mut incoming = snapshots.receive(group(), at(2), 100).expect("it begins");
    incoming.append(0, b"QRSF").expect("received");
    snapshots.receive(group(), at(3), 100).expect("it takes its place");
    is_gone(incoming.append(4, b"more"));
    put(disk, &file(1), &[]);
    assert!(matches!(snapshots.open(group(), at(1)), Err(SnapshotError::Damaged { offset: 0, .. })));
}

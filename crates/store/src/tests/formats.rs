//! Every byte the store writes, against golden files: `docs/formats-store.md` explains them. To accept a change of
//! format (with a new version number, and a way to read the old one): `REWRITE=1 cargo test -p quorate-store formats`.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{
    Entry, EntryKind, HardState, Hash, Incarnation, Index, Member, Membership, NodeId, Position, Term,
};

use super::snapshots;
use crate::{
    Crash, Disk, GroupWrite, Keyspace, SimDisk, SimImage, SnapshotDisk, Snapshots, Store, StoreOptions,
};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::new(node("node0"), Some(Hash::of(b"cluster")), 0x0102_0304_0506_0708);
    options.ballast_bytes = 0;
    options.reserve_bytes_min = Some(0);
    options
}

fn open(disk: &SimDisk) -> Store {
    let boxed: Box<dyn Disk> = Box::new(disk.clone());
    Store::open(boxed, options()).expect("it opens").0
}

/// An image with an example of each record.
fn image() -> SimImage {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let member = |raft: &str| Member { raft: raft.to_owned(), ..Member::default() };
    let members = [(node("node0"), member("10.0.0.1:7000")), (node("node1"), member("10.0.0.2:7000"))];
    let founding = Membership::of_voters(members.into_iter().collect(), 42);
    let group = store.open_group("orders", &founding).expect("a group");
    let mut last = Position::ORIGIN;
    let mut entry = |term, payload: &'static [u8], kind| {
        let bytes = Bytes::from_static(payload);
        let entry = Entry::follow(last, Term(term), 1_700_000_000_000, kind, bytes, Hash::of(payload));
        last = entry.position();
        entry
    };
    let first = vec![entry(1, b"", EntryKind::Noop), entry(1, b"one", EntryKind::Command)];
    let second = vec![entry(1, b"two", EntryKind::Command), entry(2, b"three", EntryKind::Command)];
    for (term, vote, entries) in [(1, Some("node0"), first), (2, None, second)] {
        let hard_state = HardState { term: Term(term), voted_for: vote.map(node), recovering: false }.into();
        store
            .write(vec![GroupWrite { group, hard_state, truncate_from: None, entries: entries.into() }])
            .expect("a write");
    }
    store.compact(group, Index(1)).expect("a compaction");
    store.record_peer(&node("node1"), Incarnation(0x1112_1314_1516_1718), false).expect("a write");
    store.settle_anchor().expect("it settles");
    disk.crash(Crash::Lost)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

/// The bytes in lines of 32; lines of zeros are left out.
fn dump(title: &str, bytes: &[u8], out: &mut String) {
    writeln!(out, "{title} ({} bytes)", bytes.len()).expect("a string takes it");
    for (line, chunk) in bytes.chunks(32).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            writeln!(out, "  {:04x} {}", line * 32, hex(chunk)).expect("a string takes it");
        }
    }
}

fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(name);
    if std::env::var("REWRITE").is_ok() {
        std::fs::write(&path, found).expect("a golden file is written");
    }
    let golden = std::fs::read_to_string(&path).expect("a golden file is checked in");
    assert_eq!(found, golden, "the bytes of {name} have changed: that is a new format version");
}

#[test]
fn golden_anchor() {
    let image = image();
    let mut out = String::new();
    for sector in image.sectors() {
        if let Some(bytes) = image.sector(sector).filter(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            dump(&format!("sector {sector}"), bytes, &mut out);
        }
    }
    compare("store-anchor-v1.txt", &out);
}

#[test]
fn golden_rows() {
    let mut disk = SimDisk::from_image(image());
    disk.open_database().expect("it opens");
    let mut out = String::new();
    for keyspace in [Keyspace::Hard, Keyspace::Log] {
        let scanned = disk.scan(keyspace, &[], &mut |key, value| {
            dump(&format!("{keyspace:?} {}", hex(key)), &value, &mut out);
            ControlFlow::Continue(())
        });
        scanned.expect("it scans");
    }
    compare("store-rows-v1.txt", &out);
}

#[test]
fn golden_snapshot() {
    let disk: Arc<dyn SnapshotDisk> = Arc::new(SimDisk::new());
    let head = snapshots::head(0x1f);
    let info =
        snapshots::publish(&Snapshots::new(disk.clone()), head, b"a machine's state").expect("published");
    let name = disk.list().expect("listed").remove(0);
    let mut out = String::new();
    dump(&name, &snapshots::bytes(&disk, &name), &mut out);
    compare("store-snapshot-v1.txt", &out);
    assert_eq!(info.payload_bytes, 17);
}

/// This build reads what the build that made the golden files wrote.
#[test]
fn golden_is_readable() {
    let mut store = open(&SimDisk::from_image(image()));
    let group = quorate_core::GroupId::of_name("orders");
    let loaded = store.load(group, usize::MAX).expect("it loads");
    assert_eq!((loaded.start.index, loaded.tail.last().index), (Index(1), Index(4)));
    let known = store.record_peer(&node("node1"), Incarnation(1), false).expect("it is known");
    assert_eq!(known, Incarnation(0x1112_1314_1516_1718));
}

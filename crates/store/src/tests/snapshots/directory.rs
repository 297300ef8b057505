//! Snapshot files in a real data directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::{Hash, NodeId};

use super::suite::CASES;
use super::{file, head, indexes, publish, state};
use crate::disk::SnapshotDirectory;
use crate::{
    Disk, FjallDisk, FjallOptions, OpenReport, SnapshotError, Store, StoreOptions, StoreThread,
    inspect_snapshot,
};

fn open(path: &Path) -> (Store, OpenReport) {
    let disk: Box<dyn Disk> =
        Box::new(FjallDisk::lock(path, FjallOptions::default()).expect("a free directory"));
    let node = NodeId::new("node0").expect("a legal name");
    let mut options = StoreOptions::new(node, Some(Hash::of(b"cluster")), 1);
    options.ballast_bytes = 0;
    Store::open(disk, options).expect("it opens")
}

#[test]
fn the_suite_holds_on_a_real_directory() {
    for (name, case) in CASES {
        println!("{name}");
        let owner = tempfile::tempdir().expect("a directory");
        let disk: Arc<dyn crate::SnapshotDisk> =
            Arc::new(SnapshotDirectory::new(owner.path().join("data/snapshots")));
        case(&disk);
    }
}

#[test]
fn a_node_has_its_snapshots_beside_its_database() {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("data");
    let directory = path.join("snapshots");
    let (store, _) = open(&path);
    let snapshots = store.snapshots();
    assert!(indexes(&snapshots).is_empty() && !directory.exists(), "it is made for the first file");
    let info = publish(&snapshots, head(1), &state(300_000)).expect("published");
    // What an operator may put there: no name of ours, or no file.
    fs::write(directory.join("README"), b"a note").expect("written");
    fs::create_dir(directory.join(file(2))).expect("made");
    std::os::unix::fs::symlink(directory.join(file(1)), directory.join(file(3))).expect("linked");
    let inline = StoreThread::inline(store, Duration::from_secs(60), Arc::new(|fatal| panic!("{fatal}")));
    let snapshots = inline.snapshots();
    assert_eq!(indexes(&snapshots), [1], "from the handle, as before the store moved");
    inline.stop();
    let (store, report) = open(&path);
    assert!(report.notices.is_empty(), "{:?}", report.notices);
    assert_eq!(indexes(&store.snapshots()), [1]);
    let copied = owner.path().join("copy of a snapshot");
    fs::copy(directory.join(file(1)), &copied).expect("copied");
    assert_eq!(inspect_snapshot(&copied).expect("it is whole"), info);
    let mut bytes = fs::read(&copied).expect("it reads");
    bytes[200_000] ^= 1;
    fs::write(&copied, &bytes).expect("written");
    let said = inspect_snapshot(&copied);
    let is_named =
        matches!(&said, Err(SnapshotError::Damaged { place, .. }) if *place == copied.display().to_string());
    assert!(is_named, "{said:?}");
    assert!(matches!(inspect_snapshot(&owner.path().join("none")), Err(SnapshotError::Gone { .. })));
}

//! Of which file a machine is made, for everything that may be wrong with the files.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{Hash, Membership, Position};
use quorate_store::{CHUNK_BYTES_MAX, Disk, SimDisk, SnapshotDisk, SnapshotHead};

use super::*;
use crate::host::machine::factory_of;
use crate::machine::testing::Log;
use crate::machine::{Kv, KvCommand};
use crate::messages::snapshotter::Capture;
use crate::snapshotter::files::{look, write};

const GROUP: GroupId = GroupId(7);

/// A node's snapshots, the newest of them large enough for three chunks, and the states that they hold.
struct Node {
    machine: Box<dyn MachineFactory>,
    disk: SimDisk,
    files: Snapshots,
    /// Where they end, the older one first.
    at: [Position; 2],
    states: [Bytes; 2],
}

fn state_of(executor: &Executor<Box<dyn MachineHost>>) -> Bytes {
    let (_, state) = executor.snapshot_with(|host| host.snapshot()).expect("it captures");
    state.into_bytes().expect("it writes")
}

impl Node {
    fn new() -> Self {
        let (disk, machine) = (SimDisk::new(), factory_of(Kv::default()).expect("it captures"));
        let mut executor = Executor::new(Kv::default()).expect("it captures");
        let (files, mut log) = (Snapshots::new(disk.snapshots()), Log::default());
        let mut taken = Vec::new();
        for key in ["one", "two"] {
            let set = KvCommand::set(key, vec![key.as_bytes()[0]; CHUNK_BYTES_MAX + 1_000]);
            let _ = executor.apply(&log.command(&set, None)).expect("it applies");
            let (at, state) = executor.snapshot().expect("it captures");
            let (_, same) = executor.snapshot().expect("it captures");
            let bytes = same.into_bytes().expect("it writes");
            let base = SnapshotBase { at, time_ms: 3, membership: Membership::default() };
            let head = SnapshotHead {
                cluster: Hash::of(b"cluster"),
                group: GROUP,
                name: "kv".to_owned(),
                at,
                time_ms: base.time_ms,
                membership: base.membership.clone(),
                machine: 0,
                made_ms: 4,
            };
            let written = write(&files, head, Capture { base, state }).expect("it is written");
            written.publish().expect("it is published");
            taken.push((at, bytes));
        }
        let (at, states): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let (at, states) = (at.try_into().expect("two"), states.try_into().expect("two"));
        Self { machine: Box::new(machine), disk, files, at, states }
    }

    fn restore(&self) -> Restored {
        restore(&*self.machine, &self.files, GROUP)
    }

    /// The machine is made of this one, or of none.
    fn is_of(&self, restored: Restored, of: Option<usize>, what: &str) {
        let made = restored.machine.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(made.base.map(|base| base.at), of.map(|of| self.at[of]), "{what}");
        match of {
            Some(of) => assert!(state_of(&made.executor) == self.states[of], "{what}: another state"),
            None => assert_eq!(made.executor.applied(), Position::ORIGIN, "{what}"),
        }
    }

    fn names(&self) -> Vec<String> {
        self.disk.snapshots().list().expect("it lists")
    }
}

fn bytes(disk: &Arc<dyn SnapshotDisk>, name: &str) -> Vec<u8> {
    let length = disk.length(name).expect("it is looked at").expect("it is there");
    let mut bytes = vec![0; usize::try_from(length).expect("small")];
    let _ = disk.read_at(name, 0, &mut bytes).expect("it reads");
    bytes
}

/// The places of the parts of a file: header, three chunks and end, each with its lengths and checksums.
fn places(file: &[u8]) -> Vec<usize> {
    let header = 9 + u32::from_be_bytes(file[5..9].try_into().expect("four bytes")) as usize + 8;
    let mut places = vec![0, 4, 5, 8, 9, header / 2, header - 8, header - 1];
    let end = file.len() - 60;
    let mut chunk = header;
    while chunk < end {
        let length = u32::from_be_bytes(file[chunk..chunk + 4].try_into().expect("four bytes")) as usize;
        places.extend([chunk, chunk + 3, chunk + 4, chunk + 11, chunk + 12]);
        places.extend([chunk + 12 + length / 2, chunk + 12 + length - 1]);
        chunk += 12 + length;
    }
    assert_eq!(chunk, end, "the chunks fill it");
    places.extend([end, end + 4, end + 12, end + 20, end + 28, file.len() - 1]);
    places
}

/// Whatever part of the newest file is damaged: the machine is that of the older one, to the byte, and the file is out of the way.
#[test]
fn a_machine_is_never_made_of_a_damaged_file_wherever_it_is_damaged() {
    let node = Node::new();
    node.is_of(node.restore(), Some(1), "unharmed");
    let (disk, names) = (node.disk.snapshots(), node.names());
    let (newest, aside) = (&names[1], names[1].replace(".snap", ".damaged"));
    let whole = bytes(&disk, newest);
    let places = places(&whole);
    assert!(places.len() > 30, "{places:?}");
    let flipped = places.iter().map(|at| {
        let mut flipped = whole.clone();
        flipped[*at] ^= 0x10;
        (format!("flipped at {at}"), flipped)
    });
    let cut = places.iter().map(|at| (format!("cut at {at}"), whole[..*at].to_vec()));
    let blank = places.iter().map(|at| {
        let (mut blank, end) = (whole.clone(), (at + 512).min(whole.len()));
        blank[*at..end].fill(0);
        (format!("blank at {at}"), blank)
    });
    let grown = [("grown".to_owned(), [&whole[..], &[0xa5; 700]].concat())];
    let older = [("an older one under its name".to_owned(), bytes(&disk, &names[0]))];
    for (what, damaged) in flipped.chain(cut).chain(blank).chain(grown).chain(older) {
        disk.remove(newest).and_then(|()| disk.write_at(newest, 0, &damaged)).expect("written");
        let restored = node.restore();
        assert_eq!(restored.passed_over, [node.at[1].index], "{what}");
        node.is_of(restored, Some(0), &what);
        assert_eq!(node.names(), [names[0].clone(), aside.clone()], "{what}");
        assert!(bytes(&disk, &aside) == damaged, "it is kept for who looks at it: {what}");
    }
    // Neither can be read.
    disk.write_at(newest, 0, &whole).and_then(|()| disk.write_at(newest, 9, b"damage")).expect("written");
    disk.write_at(&names[0], whole.len() as u64 / 4, b"damage").expect("written");
    let restored = node.restore();
    assert_eq!(restored.passed_over, [node.at[1].index, node.at[0].index]);
    node.is_of(restored, None, "both are damaged");
}

/// A disk that does not give it now may give it later, and it may be the only one that has what the log has forgotten.
#[test]
fn a_snapshot_that_the_disk_does_not_give_now_is_waited_for() {
    let node = Node::new();
    let (names, length) = (node.names(), bytes(&node.disk.snapshots(), &node.names()[1]).len() as u64);
    // The header, which is read when files are listed; a chunk in the middle; the end. The older file has none of the last two.
    for unread in [0..1, length * 3 / 4..length * 3 / 4 + 1, length - 1..length] {
        node.disk.set_snapshots_unread(unread.clone());
        let restored = node.restore();
        let said = restored.machine.map(|made| made.base).expect_err("nothing is made of less");
        // Not the kind of what is damaged or gone.
        let is_said =
            matches!(&said, RestoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::Other);
        assert!(is_said, "{unread:?}: {said:?}");
        assert_eq!(restored.passed_over, [], "{unread:?}");
        let _ = look(&node.files, GROUP).expect("it looks");
        assert_eq!(node.names(), names, "nothing is taken out of the way: {unread:?}");
        node.disk.set_snapshots_unread(0..0);
        node.is_of(node.restore(), Some(1), "the disk gives it again");
    }
}

//! A scripted workload with a model beside it: what was promised after each action.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::{
    Entry, EntryKind, GroupId, HardRecord, HardState, Hash, Incarnation, Index, Member, Membership, NodeId,
    Position, SnapshotBase, Term,
};

use crate::{
    Disk, GroupError, GroupWrite, Install, OpenError, OpenReport, SimDisk, Store, StoreError, StoreOptions,
};

pub(super) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

pub(super) fn options() -> StoreOptions {
    let mut options = StoreOptions::new(node("node0"), Some(Hash::of(b"cluster")), 0x5eed);
    options.ballast_bytes = 0;
    options.reserve_bytes_min = Some(1 << 10);
    options.run_bytes_max = 1 << 10;
    options
}

pub(super) fn founding() -> Membership {
    let members = ["node0", "node1", "node2"].map(|name| (node(name), Member::default()));
    Membership::of_voters(members.into_iter().collect(), 7)
}

pub(super) fn entries(before: Position, term: u64, count: u64, bytes: usize) -> Vec<Entry> {
    let mut last = before;
    let make = |_| {
        let payload = Bytes::from(vec![(term as u8) ^ (last.index.0 as u8); bytes]);
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(last, Term(term), 1_000, EntryKind::Command, payload, leaf);
        last = entry.position();
        entry
    };
    (0..count).map(make).collect()
}

pub(super) fn hard(term: u64, vote: Option<&str>) -> HardRecord {
    HardState { term: Term(term), voted_for: vote.map(node), recovering: false }.into()
}

pub(super) fn open(disk: &SimDisk) -> Result<(Store, OpenReport), OpenError> {
    let disk: Box<dyn Disk> = Box::new(disk.clone());
    Store::open(disk, options())
}

/// What one group holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub(super) start: Position,
    pub(super) entries: Vec<Entry>,
    pub(super) hard: HardRecord,
}

impl Held {
    pub(super) fn last(&self) -> Position {
        self.entries.last().map_or(self.start, Entry::position)
    }

    fn place(&self, index: Index) -> Position {
        let found = self.entries.iter().find(|entry| entry.index == index);
        found.map_or(self.start, Entry::position)
    }
}

pub(super) type World = BTreeMap<GroupId, Held>;

/// Group, term, vote, truncate from, entries to append, their size.
pub(super) type Part = (&'static str, u64, Option<&'static str>, Option<u64>, u64, usize);

/// One action of the node.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Group(&'static str),
    Write(Vec<Part>),
    /// Group, term, entries in the other log, index of the snapshot.
    Install(&'static str, u64, u64),
    Compact(&'static str, u64),
    Settle,
    Reclaim,
    Peer(&'static str, u64),
}

/// Elections, appends, conflicts, compaction, snapshots, several groups, and the lazy writes between them.
pub(super) fn script() -> Vec<Action> {
    use Action::{Compact, Group, Install, Peer, Reclaim, Settle, Write};
    vec![
        Group("a"),
        Write(vec![("a", 1, Some("node0"), None, 0, 0)]),
        Write(vec![("a", 1, Some("node0"), None, 6, 100)]),
        Settle,
        Group("b"),
        Write(vec![("a", 1, Some("node0"), None, 3, 10), ("b", 1, Some("node1"), None, 4, 600)]),
        // An ordinary change of leader: entries that the new leader never had are replaced.
        Write(vec![("a", 2, None, Some(5), 2, 30)]),
        Settle,
        Write(vec![("a", 3, Some("node2"), Some(4), 0, 0), ("b", 2, None, Some(1), 5, 20)]),
        Write(vec![("a", 3, Some("node2"), None, 12, 200)]),
        Peer("node1", 77),
        Settle,
        Compact("a", 6),
        Reclaim,
        Write(vec![("a", 4, None, Some(8), 1, 10), ("b", 3, None, None, 2, 10)]),
        Settle,
        Install("b", 4, 3),
        Write(vec![("b", 4, None, None, 3, 10)]),
        Settle,
        Install("a", 5, 40),
        Write(vec![("a", 6, Some("node0"), None, 2, 10), ("b", 4, Some("node0"), None, 1, 10)]),
        Settle,
        Write(vec![("a", 7, None, Some(41), 1, 10)]),
    ]
}

/// The world after an action.
pub(super) fn after(world: &World, action: &Action) -> World {
    let mut world = world.clone();
    match action {
        Action::Group(name) => {
            world.insert(GroupId::of_name(name), Held::default());
        }
        Action::Write(parts) => {
            for (name, term, vote, from, count, bytes) in parts {
                let held = world.get_mut(&GroupId::of_name(name)).expect("opened before");
                held.hard = hard(*term, *vote);
                if let Some(from) = from {
                    held.entries.retain(|entry| entry.index.0 < *from);
                }
                let new = entries(held.last(), *term, *count, *bytes);
                held.entries.extend(new);
            }
        }
        Action::Install(name, term, index) => {
            let held = world.get_mut(&GroupId::of_name(name)).expect("opened before");
            held.hard = hard(*term, None);
            held.start = snapshot(*term, *index);
            held.entries.clear();
        }
        Action::Compact(name, through) => {
            let held = world.get_mut(&GroupId::of_name(name)).expect("opened before");
            held.start = held.place(Index(*through));
            held.entries.retain(|entry| entry.index.0 > *through);
        }
        Action::Settle | Action::Reclaim | Action::Peer(..) => {}
    }
    world
}

/// The last entry of a log that was never on this node.
fn snapshot(term: u64, index: u64) -> Position {
    entries(Position::ORIGIN, term, index, 1).last().expect("an index above zero").position()
}

/// Carries out an action.
pub(super) fn act(store: &mut Store, world: &World, action: &Action) -> Result<(), StoreError> {
    match action {
        Action::Group(name) => match store.open_group(name, &founding()) {
            Ok(_) => Ok(()),
            Err(GroupError::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
        },
        Action::Write(parts) => {
            let next = after(world, action);
            let write = |(name, _, _, from, count, _): &Part| {
                let group = GroupId::of_name(name);
                let held = &next[&group];
                let new = held.entries.len() - usize::try_from(*count).expect("few");
                GroupWrite {
                    group,
                    hard_state: held.hard.clone(),
                    truncate_from: from.map(Index),
                    entries: held.entries[new..].to_vec().into(),
                }
            };
            store.write(parts.iter().map(write).collect())
        }
        Action::Install(name, term, index) => {
            let at = snapshot(*term, *index);
            let install = Install {
                base: SnapshotBase { at, time_ms: 7, membership: founding() },
                hard_state: hard(*term, None),
            };
            store.install(GroupId::of_name(name), &install)
        }
        Action::Compact(name, through) => store.compact(GroupId::of_name(name), Index(*through)).map(|_| ()),
        Action::Settle => store.settle_anchor(),
        Action::Reclaim => store.reclaim(),
        Action::Peer(name, incarnation) => {
            store.record_peer(&node(name), Incarnation(*incarnation), false).map(|_| ())
        }
    }
}

/// What a store holds of a group; `None` if it does not know it.
pub(super) fn held(store: &Store, group: GroupId) -> Option<Held> {
    match read(store, group) {
        Ok(held) => Some(held),
        Err(StoreError::NotOpen { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// The same, on a disk that may fail.
pub(super) fn read(store: &Store, group: GroupId) -> Result<Held, StoreError> {
    let loaded = store.load(group, usize::MAX)?;
    let (from, through) = (loaded.start.index.next(), loaded.tail.last().index);
    let entries = if from > through {
        Vec::new()
    } else {
        loaded.tail.slice(from, through, usize::MAX, usize::MAX).expect("all was loaded")
    };
    Ok(Held { start: loaded.start, entries, hard: loaded.hard_state })
}

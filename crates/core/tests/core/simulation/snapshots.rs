//! What snapshotters do, in time: a machine is captured now and then, its snapshot is written, published and read back, and nodes
//! fetch from each other what their logs cannot give them any more.
//!
//! A snapshotter outlives roles and machines, and ends with its process; what it has published stays. Bound: one that is written
//! and one that is fetched at a time.

use quorate_core::{EntryKind, Index, Membership, Position, RoleEvent, SnapshotBase, SnapshotWanted};

use super::cluster::{Cluster, Event};
use crate::world::{Snapshot, place_of};

/// What one node's snapshotter is at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshotter {
    /// Counts processes: events of an earlier one are void.
    life: u64,
    /// The index of the newest one that was captured.
    captured: Index,
    /// Being written, or written and waiting to be published.
    unpublished: Option<Snapshot>,
    is_written: bool,
    /// What is fetched, and what the sender had of it when it began.
    fetches: Option<(SnapshotWanted, Option<Snapshot>)>,
    /// What was sent lately, and until when it counts: the log after it is kept, so that it is of use where it arrives.
    sent: Vec<(Index, u64)>,
}

impl Snapshotter {
    /// The process ended.
    pub(crate) fn end(&mut self) {
        *self = Self { life: self.life + 1, ..Self::default() };
    }
}

impl Cluster {
    /// Captures the machine if it has applied enough since.
    pub(crate) fn capture(&mut self, at: usize) {
        let (every, node) = (self.options.snapshot_every, &self.nodes[at]);
        let (applied, snapshotter) = (node.applier.applied, &node.snapshotter);
        let is_due = every > 0 && applied.0 >= snapshotter.captured.0 + every;
        if !is_due || snapshotter.unpublished.is_some() || !node.is_up() {
            return;
        }
        let covers: Option<Vec<_>> = (1..=applied.0).map(|index| node.entry(Index(index)).cloned()).collect();
        // A machine that is ahead of its log, whose role was loaded again, is captured later.
        let Some(covers) = covers else { return };
        let last = covers.last().expect("it has applied one");
        let memberships = covers.iter().rev().find(|entry| entry.kind == EntryKind::Membership);
        let membership = memberships.map_or_else(
            || self.founding_of(at),
            |entry| Membership::decode(&entry.payload).expect("what a leader appended is read"),
        );
        if membership.members.is_empty() {
            // It joins, and no log could begin there.
            return;
        }
        let base = SnapshotBase { at: last.position(), time_ms: last.time_ms, membership };
        let digests = node.applier.digests.clone().into();
        let snapshot = Snapshot { base, covers: covers.into(), digests };
        let life = node.snapshotter.life;
        let snapshotter = &mut self.nodes[at].snapshotter;
        (snapshotter.captured, snapshotter.is_written) = (applied, false);
        snapshotter.unpublished = Some(snapshot);
        let takes = self.rng.range(1, self.options.election());
        self.schedule(takes, Event::SnapshotWritten { at, life });
    }

    pub(crate) fn snapshot_written(&mut self, at: usize, life: u64) {
        if self.nodes[at].snapshotter.life == life {
            self.nodes[at].snapshotter.is_written = true;
            self.tell_written(at);
        }
    }

    /// A role that starts is told what an earlier one may not have heard.
    pub(crate) fn tell_written(&mut self, at: usize) {
        let snapshotter = &self.nodes[at].snapshotter;
        if let Some(snapshot) = snapshotter.unpublished.as_ref().filter(|_| snapshotter.is_written) {
            let index = snapshot.index();
            self.say(at, RoleEvent::SnapshotWritten(index));
        }
        if self.nodes[at].disk.snapshots.newest().is_some() {
            self.tell_ready_soon(at);
        }
    }

    pub(crate) fn publish(&mut self, at: usize, index: Index) {
        let node = &mut self.nodes[at];
        let Some(snapshot) = node.snapshotter.unpublished.take_if(|known| known.index() == index) else {
            return;
        };
        assert!(snapshot.index() <= node.disk.last(), "snapshot <= durable: {} publishes {index}", node.id);
        node.disk.snapshots.publish(snapshot);
        self.coverage.note("snapshot published");
        self.tell_ready_soon(at);
    }

    fn tell_ready_soon(&mut self, at: usize) {
        let life = self.nodes[at].snapshotter.life;
        let soon = self.rng.range(1, 1_000);
        self.schedule(soon, Event::SnapshotReady { at, life });
    }

    pub(crate) fn snapshot_ready(&mut self, at: usize, life: u64) {
        if self.nodes[at].snapshotter.life != life {
            return;
        }
        if let Some(newest) = self.nodes[at].disk.snapshots.newest() {
            let base = newest.base.clone();
            self.say(at, RoleEvent::SnapshotReady(base));
        }
        let now = self.now;
        let snapshotter = &mut self.nodes[at].snapshotter;
        snapshotter.sent.retain(|(_, until)| *until > now);
        let sent = snapshotter.sent.iter().map(|(index, _)| *index).min().unwrap_or(Index(u64::MAX));
        if let Some(through) = self.nodes[at].disk.snapshots.covered_twice() {
            self.say(at, RoleEvent::Compact(through.min(sent)));
        }
    }

    /// Looks whether the node has what it wants, and otherwise asks for it. Roles say again what they want.
    pub(crate) fn fetch_snapshot(&mut self, at: usize, wanted: SnapshotWanted) {
        if has(self.nodes[at].disk.snapshots.newest(), &wanted) {
            self.tell_ready_soon(at);
            return;
        }
        if self.nodes[at].snapshotter.fetches.is_some() {
            return;
        }
        let from = match &wanted {
            SnapshotWanted::Offered { from, .. } => place_of(from),
            SnapshotWanted::Reaching(_) => self.rng.place(self.nodes.len()),
        };
        if matches!(wanted, SnapshotWanted::Reaching(_)) {
            self.coverage.note("snapshot wanted of anyone");
        }
        let life = self.nodes[at].snapshotter.life;
        let arrives =
            self.network.arrivals(self.now, (from, at), &self.options, &mut self.rng).first().copied();
        // It breaks off, and is begun again, where the link is cut.
        let is_cut = arrives.is_none() || from == at;
        let takes = arrives.unwrap_or(0) + self.rng.range(1, 2 * self.options.election());
        let newest = self.nodes[from].disk.snapshots.newest();
        let found = newest.filter(|newest| self.nodes[from].is_up() && has(Some(newest), &wanted)).cloned();
        if let Some(found) = &found {
            let until = self.now + takes + 20 * self.options.election();
            self.nodes[from].snapshotter.sent.push((found.index(), until));
        }
        self.nodes[at].snapshotter.fetches = Some((wanted, found));
        self.schedule(takes, Event::SnapshotFetched { at, from: (!is_cut).then_some(from), life });
    }

    pub(crate) fn snapshot_fetched(&mut self, at: usize, from: Option<usize>, life: u64) {
        if self.nodes[at].snapshotter.life != life {
            return;
        }
        let Some((wanted, found)) = self.nodes[at].snapshotter.fetches.take() else { return };
        let arrives = from.is_some_and(|from| self.nodes[from].is_up());
        if let Some(found) = found.filter(|_| arrives) {
            self.coverage.note("snapshot fetched");
            self.nodes[at].disk.snapshots.publish(found);
            self.tell_ready_soon(at);
        } else if matches!(wanted, SnapshotWanted::Reaching(_)) {
            self.coverage.note("snapshot looked for elsewhere");
            self.fetch_snapshot(at, wanted);
        }
    }

    pub(crate) fn restore_machine(&mut self, at: usize) {
        self.coverage.note("machine made of a snapshot");
        self.restore(at, Index::ZERO);
    }

    /// A process that runs no more has a snapshot that cannot be read, while another node has one that helps.
    pub(crate) fn damage_snapshot(&mut self, at: usize) {
        let start = Index(self.nodes[at].disk.compacted);
        let helps = |other: usize| {
            other != at && has(self.nodes[other].disk.snapshots.newest(), &SnapshotWanted::Reaching(start))
        };
        if self.nodes[at].disk.snapshots.newest().is_some() && (0..self.nodes.len()).any(helps) {
            self.coverage.note("snapshot damaged");
            let both = self.rng.chance(500);
            self.nodes[at].disk.snapshots.lose_newest();
            if both {
                self.nodes[at].disk.snapshots.lose_newest();
            }
            // It may be noticed at once, or by the next one who reads it.
            if self.rng.chance(500) && self.nodes[at].is_up() {
                self.coverage.note("snapshot set aside");
                self.say(at, RoleEvent::NoSnapshot);
                self.tell_ready_soon(at);
            }
        }
    }
}

fn has(newest: Option<&Snapshot>, wanted: &SnapshotWanted) -> bool {
    let at = newest.map_or(Position::ORIGIN, Snapshot::at);
    match wanted {
        SnapshotWanted::Offered { at: offered, .. } => at.index >= offered.index,
        SnapshotWanted::Reaching(start) => at.index >= *start,
    }
}

//! One simulated process: a replica, its disk, its applier, its clock, and the callers that wait on it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use quorate_core::{Entry, Index, LogId, Membership, ReplicaState, SplitMix64, Term, Time};

use super::applier::Applier;
use super::healing::Frozen;
use super::options::Options;
use super::snapshots::Snapshotter;
use super::storage::Syncs;
use crate::world::{Node, Start};

/// Every process's clock starts here, so that numbers taken from the clock of an earlier boot repeat.
const CLOCK_ORIGIN: u64 = 1_000;

/// A node with all that the simulation needs around it.
#[derive(Debug)]
pub(crate) struct Process {
    node: Node,
    /// Counts the starts of a role from disk: events scheduled for an earlier one are void.
    pub(crate) life: u64,
    pub(crate) applier: Applier,
    pub(crate) snapshotter: Snapshotter,
    /// The clock: at this moment it showed that, and it runs at `rate` quarters of true time.
    clock_set_at: u64,
    clock_showed: u64,
    rate: u64,
    pub(crate) paused_until: u64,
    pub(crate) disk_stalled: bool,
    /// The next sync fails, and the process ends with it.
    pub(crate) sync_fails: bool,
    /// It is outside the majority that must make progress: nothing repairs it any more.
    pub(crate) frozen: Option<Frozen>,
    pub(crate) disk_due: u64,
    pub(crate) syncs: Syncs,
    /// The store is behind with its own work: until then nothing is written, and its node takes no commands.
    pub(crate) store_busy_until: u64,
    pub(crate) store_away: bool,
    /// How often its process has begun or ended.
    pub(crate) turns: u64,
    /// When the leader that it followed last closed its connection.
    pub(crate) leader_closed_at: Option<u64>,
    pub(crate) tick_at: Option<u64>,
    /// The number of the tick that is armed.
    pub(crate) ticks: u64,
    /// Index and term of proposals whose callers wait here for them to be applied.
    pub(crate) waiting: BTreeMap<Index, (Term, u64)>,
    /// Reads whose index is known: they wait for the applier.
    pub(crate) ready: Vec<(Index, u64)>,
}

impl Deref for Process {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

impl Process {
    pub(crate) fn new(at: usize) -> Self {
        Self {
            node: Node::new(at),
            life: 0,
            applier: Applier::default(),
            snapshotter: Snapshotter::default(),
            clock_set_at: 0,
            clock_showed: CLOCK_ORIGIN,
            rate: 4,
            paused_until: 0,
            disk_stalled: false,
            sync_fails: false,
            frozen: None,
            disk_due: 0,
            syncs: Syncs::default(),
            store_busy_until: 0,
            store_away: false,
            turns: 0,
            leader_closed_at: None,
            tick_at: None,
            ticks: 0,
            waiting: BTreeMap::new(),
            ready: Vec::new(),
        }
    }

    pub(crate) fn local(&self, now: u64) -> Time {
        Time(self.clock_showed + (now - self.clock_set_at) * self.rate / 4)
    }

    /// When the clock will have reached `local`.
    pub(crate) fn global(&self, local: Time) -> u64 {
        self.clock_set_at + (local.0.saturating_sub(self.clock_showed) * 4).div_ceil(self.rate)
    }

    /// From now on the clock runs at true time.
    pub(crate) fn mend_clock(&mut self, now: u64) {
        (self.clock_showed, self.clock_set_at, self.rate) = (self.local(now).0, now, 4);
    }

    /// The process ends: memory is lost, and its callers get no answer. True if a write was torn.
    pub(crate) fn crash(&mut self, options: &Options, rng: &mut SplitMix64) -> bool {
        let durable = self.state().map_or(Index::ZERO, ReplicaState::durable);
        let kept = if options.durable_machine {
            Index(rng.below(self.applier.applied.min(durable).0 + 1))
        } else {
            Index::ZERO
        };
        self.replica = None;
        self.life += 1;
        let torn = self.disk.crash(rng);
        self.sync_fails = false;
        self.applier.restart(kept, self.node.disk.snapshots.newest());
        self.snapshotter.end();
        self.store_away = false;
        self.waiting.clear();
        self.ready.clear();
        self.tick_at = None;
        torn
    }

    /// The process starts again.
    pub(crate) fn boot(&mut self, now: u64, rate: u64) {
        assert!(self.replica.is_none(), "only what is down is started");
        self.boot = self.boot.next();
        (self.clock_showed, self.clock_set_at, self.rate) = (CLOCK_ORIGIN, now, rate);
        self.paused_until = 0;
    }

    /// What the applier has applied. What it has of a snapshot need not be in the log.
    fn applied(&self) -> LogId {
        let index = self.applier.applied;
        let covered = self.disk.snapshots.covered(index).and_then(|covers| covers.last().map(Entry::log_id));
        let in_log = || self.disk.position(index).map(quorate_core::Position::log_id);
        covered.or_else(in_log).unwrap_or(LogId { term: Term::ZERO, index })
    }

    /// What a role starts with: the state on disk, and what the applier, which may have lived on, has applied.
    pub(crate) fn load(
        &mut self,
        founding: &Membership,
        options: &Options,
        rng: &mut SplitMix64,
    ) -> ReplicaState {
        self.life += 1;
        (self.disk_due, self.syncs) = (0, Syncs::default());
        let length = self.disk.log.len() as u64;
        // The newest entry is always loaded.
        let base = if options.loads_all { 0 } else { rng.below(length.max(1)) };
        let base = base.max(self.disk.compacted);
        let applied = self.applied();
        let start = Start {
            founding,
            config: &options.config,
            base: base as usize,
            commit: applied.index,
            applied,
            entropy: rng.number(),
        };
        self.node.load(&start)
    }
}

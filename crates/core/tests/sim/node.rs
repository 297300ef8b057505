//! One simulated process: a replica, its disk, its applier, its clock, and the callers that wait on it.

use std::collections::BTreeMap;

use quorate_core::{
    Boot, Entry, Epoch, Index, Loaded, Membership, NodeId, Position, Replica, ReplicaState, Role, Term, Time,
};

use super::applier::Applier;
use super::disk::Disk;
use super::healing::Frozen;
use super::options::Options;
use super::rng::Rng;

/// Every process's clock starts here, so that what was numbered by the clock of an earlier boot comes again.
const CLOCK_ORIGIN: u64 = 1_000;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) id: NodeId,
    pub(crate) boot: Boot,
    pub(crate) epoch: Epoch,
    /// Counts the starts of a role from disk: what was scheduled for an earlier one is void.
    pub(crate) life: u64,
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Disk,
    pub(crate) applier: Applier,
    /// The clock: at this moment it showed that, and it runs at `rate` quarters of true time.
    clock_set_at: u64,
    clock_showed: u64,
    rate: u64,
    pub(crate) paused_until: u64,
    pub(crate) disk_stalled: bool,
    /// The next sync fails, and the process ends with it.
    pub(crate) sync_fails: bool,
    /// Out of the majority that must make progress: nothing mends it any more.
    pub(crate) frozen: Option<Frozen>,
    pub(crate) disk_due: u64,
    pub(crate) store_away: bool,
    pub(crate) tick_at: Option<u64>,
    /// Index and term of proposals whose callers wait here for them to be applied.
    pub(crate) waiting: BTreeMap<Index, (Term, u64)>,
    /// Reads whose index is known: they wait for the applier.
    pub(crate) ready: Vec<(Index, u64)>,
}

impl Node {
    pub(crate) fn new(at: usize) -> Self {
        Self {
            at,
            id: name(at),
            boot: Boot::ZERO,
            epoch: Epoch::ZERO,
            life: 0,
            replica: None,
            disk: Disk::default(),
            applier: Applier::default(),
            clock_set_at: 0,
            clock_showed: CLOCK_ORIGIN,
            rate: 4,
            paused_until: 0,
            disk_stalled: false,
            sync_fails: false,
            frozen: None,
            disk_due: 0,
            store_away: false,
            tick_at: None,
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

    /// From now on the clock runs as it should.
    pub(crate) fn mend_clock(&mut self, now: u64) {
        (self.clock_showed, self.clock_set_at, self.rate) = (self.local(now).0, now, 4);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    pub(crate) fn leads(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| matches!(replica.role(), Role::Leader(_)))
    }

    pub(crate) fn state(&self) -> Option<&ReplicaState> {
        self.replica.as_ref().map(Replica::state)
    }

    /// The entry at `index` of this replica's log, in memory or on disk.
    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        let tail = self.state()?.tail();
        tail.get(index).or_else(|| self.disk.entry(index).filter(|e| Some(e.term) == tail.term_at(index)))
    }

    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO { Some(Position::ORIGIN) } else { self.entry(index).map(Entry::position) }
    }

    /// The process ends; memory is gone, callers hear nothing more. True if a write was torn.
    pub(crate) fn crash(&mut self, options: &Options, rng: &mut Rng) -> bool {
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
        self.applier.restart(kept);
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
        self.epoch = Epoch::ZERO;
        (self.clock_showed, self.clock_set_at, self.rate) = (CLOCK_ORIGIN, now, rate);
        self.paused_until = 0;
    }

    /// What a role starts with: read from disk, with what the applier (which may have lived on) has applied.
    pub(crate) fn load(&mut self, founding: &Membership, options: &Options, rng: &mut Rng) -> ReplicaState {
        self.epoch = self.epoch.next();
        self.life += 1;
        self.disk_due = 0;
        let length = self.disk.log.len() as u64;
        // The newest entry is always loaded.
        let base = if options.loads_all { 0 } else { rng.below(length.max(1)) };
        let loaded = Loaded {
            me: self.id.clone(),
            boot: self.boot,
            hard_state: self.disk.hard_state.clone(),
            tail: self.disk.load(base as usize),
            memberships: self.disk.memberships(founding),
            commit: self.applier.applied,
            applied: self.applier.applied,
            entropy: rng.draw(),
        };
        ReplicaState::new(loaded, options.config.clone())
    }
}

pub(crate) fn name(at: usize) -> NodeId {
    NodeId::new(&format!("n{at}")).expect("a legal name")
}

pub(crate) fn place_of(id: &NodeId) -> usize {
    id.as_str()[1..].parse().expect("the simulator names its nodes by number")
}

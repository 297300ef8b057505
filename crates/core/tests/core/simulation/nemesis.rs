//! Attacks on a cluster, one at a time or several at once. Each is undone later by an event of its own.

use quorate_core::{Incarnation, Index, PeerLink, RoleEvent};

use super::cluster::{Cluster, Event};
use super::healing::Frozen;
use crate::world::{Node, ReplicaEvent, name, shuffled};

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attack {
    Crash,
    CrashLeader,
    CrashAll,
    ReloadRole,
    Pause,
    Split,
    Bridge,
    IsolateLeader,
    HalfIsolate,
    OneWay,
    StallDisk,
    StallLeaderDisk,
    FullDisk,
    StoreAway,
    RestartApplier,
    LoseSuffix,
    Transfer,
    Incarnation,
    FlapLink,
    TransferAndIsolate,
    MajoritiesRing,
    Clog,
    Swizzle,
    SyncError,
    FullDisks,
    FlapSpace,
    StoreBusy,
    StoresBusy,
    DamageSnapshot,
}

impl Attack {
    /// Those that are drawn with what strains a run.
    pub(crate) const STRAINS: [Self; 4] =
        [Self::FullDisks, Self::FlapSpace, Self::StoreBusy, Self::StoresBusy];

    /// Those of runs with snapshots.
    pub(crate) const OF_SNAPSHOTS: [Self; 1] = [Self::DamageSnapshot];

    pub(crate) const ALL: [Self; 24] = [
        Self::Crash,
        Self::CrashLeader,
        Self::CrashAll,
        Self::ReloadRole,
        Self::Pause,
        Self::Split,
        Self::Bridge,
        Self::IsolateLeader,
        Self::HalfIsolate,
        Self::OneWay,
        Self::StallDisk,
        Self::StallLeaderDisk,
        Self::FullDisk,
        Self::StoreAway,
        Self::RestartApplier,
        Self::LoseSuffix,
        Self::Transfer,
        Self::Incarnation,
        Self::FlapLink,
        Self::TransferAndIsolate,
        Self::MajoritiesRing,
        Self::Clog,
        Self::Swizzle,
        Self::SyncError,
    ];
}

/// How an attack ends.
#[derive(Debug, Clone)]
pub(crate) enum Undo {
    Boot(usize),
    HealNetwork,
    /// An attack in two steps: this is its second.
    Isolate(usize),
    /// An attack in many steps: this is one of them.
    Clog {
        node: usize,
        until: u64,
    },
    Unstall(usize),
    Space(usize),
    Fill(usize),
    /// The disk is full, or not any more, and so on until this moment.
    FlapSpace {
        at: usize,
        until: u64,
    },
    StoreBack(usize),
    LinkUp(usize, usize),
}

impl Cluster {
    pub(crate) fn attack(&mut self) {
        if self.options.attacks.is_empty() {
            return;
        }
        let attack = self.rng.pick(&self.options.attacks);
        let nodes = self.nodes.len();
        let any = self.rng.place(nodes);
        let leader = (0..nodes)
            .filter(|at| self.nodes[*at].leads())
            .max_by_key(|at| self.nodes[*at].state().map(quorate_core::ReplicaState::term));
        let target = leader.unwrap_or(any);
        let length = self.rng.range(self.options.attack_length / 4, self.options.attack_length);
        self.coverage.hit(attack);
        self.trace(|| format!("attack {attack:?} any=n{any} leader={leader:?}"));
        match attack {
            Attack::Crash => self.crash_for(any, length),
            Attack::CrashLeader => self.crash_for(target, length),
            Attack::CrashAll => (0..nodes).for_each(|at| self.crash_for(at, length)),
            Attack::ReloadRole => self.reload(any),
            Attack::Pause => self.nodes[any].paused_until = self.now + length,
            Attack::Split => {
                let side: Vec<bool> = (0..nodes).map(|_| self.rng.chance(500)).collect();
                self.network.split(&side, None);
                self.undo_after(length, Undo::HealNetwork);
            }
            Attack::Bridge => {
                let side: Vec<bool> = (0..nodes).map(|_| self.rng.chance(500)).collect();
                self.network.split(&side, Some(any));
                self.undo_after(length, Undo::HealNetwork);
            }
            Attack::IsolateLeader => {
                self.network.isolate(target, nodes);
                self.undo_after(length, Undo::HealNetwork);
            }
            Attack::HalfIsolate => {
                let deaf = self.rng.chance(500);
                self.network.half_isolate(target, nodes, deaf);
                self.undo_after(length, Undo::HealNetwork);
            }
            Attack::OneWay => {
                let to = self.rng.place(nodes);
                self.network.cut_one_way(any, to);
                self.undo_after(length, Undo::HealNetwork);
            }
            Attack::StallDisk => self.stall(any, length),
            Attack::StallLeaderDisk => self.stall(target, length),
            Attack::FullDisk => self.fill(any, length),
            Attack::FullDisks => (0..nodes).for_each(|at| self.fill(at, length)),
            Attack::FlapSpace => self.undo(&Undo::FlapSpace { at: any, until: self.now + length }),
            Attack::StoreBusy => self.nodes[any].store_busy_until = self.now + length,
            Attack::StoresBusy => {
                for node in &mut self.nodes {
                    node.store_busy_until = self.now + length;
                }
            }
            Attack::StoreAway => self.store_away(any, length),
            Attack::RestartApplier => self.restart_applier(any),
            Attack::LoseSuffix => self.lose_suffix(any, length),
            Attack::Transfer => {
                let to = self.rng.chance(500).then(|| name(any));
                self.step(target, ReplicaEvent::Transfer(to));
            }
            Attack::Incarnation => {
                let incarnation = Incarnation(self.rng.range(1, 3));
                let (peer, wall_ms) = (name(any), self.wall_ms());
                self.step(target, ReplicaEvent::Incarnation { peer, incarnation, wall_ms });
            }
            Attack::FlapLink => {
                let peer = name(any);
                self.step(target, ReplicaEvent::Role(RoleEvent::Link { peer, link: PeerLink::Down }));
                self.undo_after(length, Undo::LinkUp(target, any));
                self.break_links(target, any, length);
            }
            // The target is told to campaign, and the old leader does not hear of it.
            Attack::TransferAndIsolate => {
                self.step(target, ReplicaEvent::Transfer(None));
                let soon = self.rng.range(self.options.delay_min, self.options.delay_max * 3);
                self.undo_after(soon, Undo::Isolate(target));
                self.undo_after(soon + length, Undo::HealNetwork);
            }
            Attack::MajoritiesRing => {
                let order = shuffled(&mut self.rng, nodes);
                let both_ways = nodes > 3 && self.rng.chance(500);
                self.network.majorities_ring(&order, both_ways);
                self.undo_after(length, Undo::HealNetwork);
            }
            Attack::Clog => {
                let to = self.rng.place(nodes);
                self.network.clog(any, to, self.now + length);
            }
            Attack::Swizzle => self.swizzle(length),
            Attack::DamageSnapshot => {
                self.crash_for(any, length);
                self.damage_snapshot(any);
            }
            Attack::SyncError => self.nodes[any].sync_fails = true,
        }
    }

    /// Some nodes are clogged one after the other, all links of each, and are freed in another order.
    fn swizzle(&mut self, length: u64) {
        let order = shuffled(&mut self.rng, self.nodes.len());
        let count = self.rng.range(1, order.len() as u64) as usize;
        for node in order.into_iter().take(count) {
            let from = self.rng.below(length / 2);
            let until = self.now + self.rng.range(length / 2, length);
            self.undo_after(from, Undo::Clog { node, until });
        }
    }

    /// The outcome of the batch is unknown, and nothing tries again on the same file (`safety.md` 16): the node stops.
    pub(crate) fn fail_sync(&mut self, at: usize) {
        self.coverage.note("sync failed");
        self.crash(at);
        let length = self.rng.below(self.options.attack_length);
        self.undo_after(length, Undo::Boot(at));
    }

    /// It does not run, and its machine is not being restored for it.
    pub(crate) fn may_boot(&self, at: usize) -> bool {
        !self.nodes[at].is_up() && !self.nodes[at].applier.is_away
    }

    pub(super) fn undo_after(&mut self, length: u64, undo: Undo) {
        self.schedule(length, Event::Undo(undo));
    }

    fn crash_for(&mut self, at: usize, length: u64) {
        if self.nodes[at].is_up() {
            if self.nodes[at].state().is_some_and(|s| !s.durable().ge(&s.tail().last().index)) {
                self.coverage.note("crash with unsynced entries");
            }
            self.crash(at);
            self.undo_after(length, Undo::Boot(at));
        }
    }

    pub(crate) fn set_full(&mut self, at: usize, is_full: bool) {
        self.nodes[at].disk.full = is_full;
        self.say(at, RoleEvent::DiskFull(is_full));
        if is_full && self.nodes.iter().all(|node| node.disk.full) {
            self.coverage.note("all disks full");
        }
    }

    fn fill(&mut self, at: usize, length: u64) {
        self.set_full(at, true);
        self.undo_after(length, Undo::Space(at));
    }

    fn stall(&mut self, at: usize, length: u64) {
        self.nodes[at].disk_stalled = true;
        self.undo_after(length, Undo::Unstall(at));
    }

    fn store_away(&mut self, at: usize, length: u64) {
        if self.nodes[at].is_up() && !self.nodes[at].store_away {
            self.nodes[at].store_away = true;
            self.nodes[at].disk.detach(&mut self.rng);
            self.say(at, RoleEvent::StoreAway);
            self.undo_after(length, Undo::StoreBack(at));
        }
    }

    fn restart_applier(&mut self, at: usize) {
        if self.nodes[at].is_up() {
            let keep = self.rng.below(self.nodes[at].applier.applied.0 + 1);
            let keep = if self.options.durable_machine { Index(keep) } else { Index::ZERO };
            self.restore(at, keep);
        }
    }

    /// Only while a majority of the voters has not lost anything: beyond that a group stays unavailable by design.
    fn lose_suffix(&mut self, at: usize, length: u64) {
        let damaged = |node: &Node| node.at == at || node.disk.hard_state.recovering;
        if !self.nodes[at].is_up() || !self.are_majority(|other| !damaged(&self.nodes[other])) {
            return;
        }
        self.crash(at);
        let keep = self.rng.place(self.nodes[at].disk.log.len() + 1);
        self.nodes[at].disk.lose_suffix(keep);
        let left = self.nodes[at].applier.applied.min(Index(keep as u64));
        let newest = self.nodes[at].disk.snapshots.newest().cloned();
        self.nodes[at].applier.restart(left, newest.as_ref());
        self.coverage.note("suffix lost");
        // Soon enough that acknowledgements of the earlier boot may still be in flight.
        let length = if self.rng.chance(500) { self.rng.below(self.options.delay_max + 1) } else { length };
        self.undo_after(length, Undo::Boot(at));
    }

    pub(crate) fn undo(&mut self, undo: &Undo) {
        self.trace(|| format!("undo {undo:?}"));
        match *undo {
            Undo::Boot(at) => {
                if self.may_boot(at) && self.nodes[at].frozen != Some(Frozen::Down) {
                    self.boot(at);
                }
            }
            Undo::HealNetwork => self.network.heal(),
            Undo::Isolate(at) => self.network.isolate(at, self.nodes.len()),
            Undo::Clog { node, until } => {
                for other in (0..self.nodes.len()).filter(|other| *other != node) {
                    self.network.clog(node, other, until);
                    self.network.clog(other, node, until);
                }
            }
            Undo::Unstall(at) => self.unstall(at),
            Undo::Fill(at) => self.set_full(at, true),
            Undo::Space(at) => self.set_full(at, false),
            Undo::FlapSpace { at, until } => {
                let is_full = self.now < until && !self.nodes[at].disk.full;
                self.set_full(at, is_full);
                if self.now < until {
                    self.coverage.note("space at the mark");
                    let soon = self.rng.range(1, self.options.election() * 2);
                    self.undo_after(soon, Undo::FlapSpace { at, until });
                }
            }
            Undo::StoreBack(at) => self.store_back(at),
            Undo::LinkUp(at, to) => {
                self.tell_link(at, to, PeerLink::Up);
            }
        }
    }

    pub(crate) fn unstall(&mut self, at: usize) {
        if self.nodes[at].frozen == Some(Frozen::Stalled) {
            return;
        }
        if std::mem::take(&mut self.nodes[at].disk_stalled) && self.nodes[at].is_up() {
            for _ in 0..self.nodes[at].disk.pending.len() {
                self.schedule_disk(at);
            }
        }
    }

    pub(crate) fn store_back(&mut self, at: usize) {
        if self.nodes[at].is_up() && std::mem::take(&mut self.nodes[at].store_away) {
            self.say(at, RoleEvent::StoreBack);
            if self.nodes[at].is_up() {
                let applied = self.nodes[at].disk.applied();
                self.say(at, RoleEvent::Persisted(applied));
            }
        }
    }

    fn reload(&mut self, at: usize) {
        let leads = self.nodes[at].leads();
        if self.nodes[at].is_up() && !self.nodes[at].store_away {
            if leads {
                self.coverage.note("leader role reloaded");
            }
            self.nodes[at].replica = None;
            let _torn = self.nodes[at].disk.crash(&mut self.rng);
            self.nodes[at].ready.clear();
            self.clients.lost(at);
            self.start_role(at);
        }
    }
}

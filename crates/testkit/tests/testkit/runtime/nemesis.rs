//! What is done to a cluster: one attack after the other, each undone by itself after a while, several at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use quorate::store::{Crash, Disk as _};
use quorate::{Injury, Node, NodeFailure};
use quorate_testkit::sim::{Draw, MonotonicClock, NodeState};

use super::attack::{Attack, Cause, Harm};
use super::clients::Load;
use super::coverage::Coverage;
use super::groups::{Groups, KV, Kvs, Opens};
use super::harm_members::restore_votes;
use super::options::Options;

/// A process is paused no longer than this, a clock jumps no further.
const PAUSE_MS_MAX: u64 = 8_000;

pub(crate) struct Nemesis {
    pub(super) cluster: Kvs,
    pub(super) draw: Draw,
    pub(super) options: Options,
    pub(super) coverage: Coverage,
    pub(super) opens: Opens,
    pub(super) harm: Rc<Harm>,
    /// What clients were answered so far.
    pub(super) acknowledged: Rc<Cell<u64>>,
}

impl Nemesis {
    pub(crate) fn new(load: &Load, seed: u64, opens: Opens, harm: Rc<Harm>) -> Self {
        let Load { cluster, options, coverage, acknowledged, .. } = load.clone();
        Self { cluster, draw: Draw::new(seed ^ 0x00a7_7ac4), options, coverage, opens, harm, acknowledged }
    }

    /// Attacks until `end`, then leaves what it did undone.
    pub(crate) async fn rage(mut self, end: Duration) {
        while self.cluster.now() < end {
            let wait = self.draw.range(self.options.attack_every / 4, self.options.attack_every);
            self.cluster.pause(Duration::from_millis(wait)).await;
            self.mend_ended().await;
            if !self.options.attacks.is_empty() {
                let attack = self.draw.pick(&self.options.attacks);
                self.attack(attack).await;
            }
        }
    }

    /// What an operator does about a node that ended by itself.
    async fn mend_ended(&mut self) {
        let crash = self.draw_crash();
        mend_ended(&self.cluster, crash, &self.coverage, &self.harm).await;
    }

    fn draw_crash(&mut self) -> Crash {
        let mixed = Crash::Mixed(self.draw.range(0, u64::MAX));
        // A process that ends is what happens most, and the one that leaves its page cache to the next.
        self.draw.pick(&[Crash::Lost, Crash::Kept, Crash::Torn, mixed, Crash::Process, Crash::Process])
    }

    pub(super) fn length(&mut self) -> Duration {
        Duration::from_millis(self.draw.range(self.options.attack_length / 4, self.options.attack_length))
    }

    pub(super) async fn wait(&mut self) {
        let length = self.length();
        self.cluster.pause(length).await;
    }

    /// A node that may have ended before by itself, and by order only, crashes.
    pub(super) async fn crash(&mut self, at: usize) {
        if let NodeState::Ended { reason } = self.cluster.state(at) {
            self.harm.was_ordered(at, &reason);
        }
        let crash = self.draw_crash();
        note_unsynced(&self.cluster, at, crash, &self.coverage);
        self.cluster.crash(at, crash).await;
        self.harm.restarted(at);
    }

    async fn attack(&mut self, attack: Attack) {
        let any = self.draw.place(self.options.nodes);
        let leader = self.cluster.leader(KV).await;
        let target = leader.unwrap_or(any);
        self.cluster.note(format_args!("attack {attack:?} any={any} leader={leader:?}"));
        self.coverage.note(format!("attack {attack:?}"));
        match attack {
            Attack::Crash => self.crash_for(&[any]).await,
            Attack::CrashLeader => self.crash_for(&[target]).await,
            Attack::CrashAll => {
                let all: Vec<usize> = (0..self.options.nodes).collect();
                self.crash_for(&all).await;
            }
            Attack::CrashInWrite => {
                let disk = self.cluster.disk(any);
                self.harm.may_end(any, Cause::StoppedInWrite);
                disk.stop_at(disk.steps() + self.draw.range(1, 12));
                self.wait().await;
                if disk.has_stopped() {
                    self.coverage.note("stopped inside a write");
                }
                self.crash_for(&[any]).await;
            }
            Attack::PowerCut => {
                self.cluster.isolate(any);
                self.crash_for(&[any]).await;
                self.cluster.heal();
            }
            Attack::Stop => {
                self.cluster.stop(any).await;
                self.wait().await;
                self.cluster.restart(any).await;
            }
            Attack::FailSync => {
                self.harm.may_end(any, Cause::FailedSync);
                self.cluster.disk(any).fail_sync_in(self.draw.range(0, 5));
            }
            Attack::StallDisk => self.stall(any).await,
            Attack::StallLeaderDisk => self.stall(target).await,
            Attack::FullDisk => self.fill_for(&[any]).await,
            Attack::AllDisksFull => self.fill_for(&(0..self.options.nodes).collect::<Vec<_>>()).await,
            Attack::SpaceFlaps => self.space_flaps(any).await,
            Attack::DiskBehind => self.disk_behind(target).await,
            Attack::Damage => self.damage(any).await,
            Attack::LoseDisk => self.lose_disk(any).await,
            Attack::Demote => self.demote(any).await,
            Attack::Bandwidth => self.narrow(any).await,
            Attack::Crowd => self.crowd(any).await,
            Attack::ManyClients => self.many_clients().await,
            Attack::Pause => self.pause(any).await,
            Attack::PauseLeader => self.pause(target).await,
            Attack::JumpClock => {
                let span = self.draw.range(100, PAUSE_MS_MAX);
                self.cluster.jump_clock(any, Duration::from_millis(span));
            }
            Attack::SlowMachine => self.slow_machine(any).await,
            Attack::ChokingMachine => self.machine_down(any, false).await,
            Attack::UnrestorableMachine => self.machine_down(any, true).await,
            Attack::Split
            | Attack::IsolateLeader
            | Attack::Majorities
            | Attack::OneWay
            | Attack::HalfIsolateLeader
            | Attack::Hold
            | Attack::CutClients => {
                self.cut(attack, any, target);
                self.wait().await;
                self.cluster.heal();
            }
            Attack::Injure => self.injure(any).await,
            Attack::InjureLeader => self.injure(target).await,
            Attack::InjureMany => {
                for _ in 0..self.draw.range(2, 5) {
                    let at = self.draw.place(self.options.nodes);
                    self.injure(at).await;
                    let soon = Duration::from_millis(self.draw.range(0, 30));
                    self.cluster.pause(soon).await;
                }
            }
            Attack::Transfer => {
                let hand_over = |_: Node, groups: Groups| async move {
                    groups.kv.transfer(None, Duration::from_secs(1)).await
                };
                if self.cluster.on(target, hand_over).await.is_ok_and(|moved| moved.is_ok()) {
                    self.coverage.note("leadership handed over");
                }
            }
            Attack::WallClock => {
                let wrong = self.draw.range(0, 20_000).cast_signed() - 10_000;
                self.cluster.shift_wall_clock(any, wrong);
            }
        }
    }

    fn cut(&mut self, attack: Attack, any: usize, target: usize) {
        let nodes = self.options.nodes;
        let others: Vec<usize> = (0..nodes).filter(|at| *at != target).collect();
        match attack {
            Attack::Split => {
                let (one, other): (Vec<usize>, Vec<usize>) = (0..nodes).partition(|_| self.draw.chance(500));
                self.cluster.partition(&one, &other);
            }
            Attack::Majorities => {
                // Each node sees a majority, and no two the same one; three nodes have no such ring, but a bridge.
                for at in (0..nodes).take(if nodes == 3 { 1 } else { nodes }) {
                    let opposite = (at + nodes / 2) % nodes;
                    self.cluster.partition(&[at], &[opposite]);
                }
            }
            Attack::OneWay => {
                let to = self.draw.place(nodes);
                self.cluster.partition_one_way(&[any], &[to]);
            }
            Attack::HalfIsolateLeader => {
                if self.draw.chance(500) {
                    self.cluster.partition_one_way(&[target], &others);
                } else {
                    self.cluster.partition_one_way(&others, &[target]);
                }
            }
            Attack::CutClients => {
                let cut: Vec<usize> = (0..nodes).filter(|_| self.draw.chance(600)).collect();
                self.cluster.partition_clients(&cut);
            }
            Attack::Hold => self.cluster.hold(&[any], &(0..nodes).collect::<Vec<_>>()),
            _ => self.cluster.isolate(target),
        }
    }

    async fn crash_for(&mut self, at: &[usize]) {
        for at in at {
            self.crash(*at).await;
        }
        self.wait().await;
        for at in at {
            self.cluster.restart(*at).await;
        }
    }

    async fn pause(&mut self, at: usize) {
        self.cluster.pause_process(at);
        let length = self.draw.range(50, PAUSE_MS_MAX);
        self.cluster.pause(Duration::from_millis(length)).await;
        if self.cluster.is_paused(at) {
            self.coverage.note("process paused");
        }
        let clock =
            self.draw.pick(&[MonotonicClock::WentOn, MonotonicClock::WentOn, MonotonicClock::StoodStill]);
        self.cluster.continue_process(at, clock);
    }

    async fn narrow(&mut self, any: usize) {
        let nodes: Vec<usize> =
            if self.draw.chance(400) { vec![any] } else { (0..self.options.nodes).collect() };
        let bytes = self.draw.pick(&[30_000, 200_000, 1_000_000]);
        for at in &nodes {
            self.cluster.set_bandwidth(*at, bytes);
        }
        self.wait().await;
        for at in &nodes {
            self.cluster.set_bandwidth(*at, 0);
        }
    }

    /// Hurts the actor of this kind of a group.
    pub(super) async fn injure_kind(&mut self, at: usize, kind: &str, group: &str, injury: Injury) {
        let actors = self.cluster.actors(at).await;
        let part = format!("group/{group}/");
        if let Some(actor) = actors.iter().find(|actor| actor.kind == kind && actor.name.contains(&part))
            && self.cluster.injure(at, &actor.name, injury).await
        {
            self.coverage.note(format!("{injury:?} {kind}"));
        }
    }

    async fn injure(&mut self, at: usize) {
        let actors = self.cluster.actors(at).await;
        if actors.is_empty() {
            return;
        }
        // One in six or so is of a role: they are worth more.
        let role = actors
            .iter()
            .position(|actor| matches!(actor.kind.as_str(), "leader" | "follower" | "candidate"));
        // And there is one root supervisor among dozens.
        let node = actors.iter().position(|actor| actor.kind == "node");
        let any = self.draw.place(actors.len());
        // A candidate is one for a few milliseconds: one that is there is the one.
        let candidate = actors.iter().position(|actor| actor.kind == "candidate");
        let role = role.filter(|_| self.draw.chance(250));
        let rare = if self.draw.chance(60) { node } else { candidate.or(role) };
        let actor = &actors[rare.unwrap_or(any)];
        let injury = self.draw.pick(&[Injury::Panic, Injury::Stop, Injury::Kill]);
        if self.cluster.injure(at, &actor.name, injury).await {
            self.coverage.note(format!("{injury:?} {}", actor.kind));
        }
    }
}

/// The fate of unsynced writes counts where there were any.
fn note_unsynced(cluster: &Kvs, at: usize, crash: Crash, coverage: &Coverage) {
    if cluster.disk(at).unsynced() > 0 {
        let kind = format!("{crash:?}");
        coverage.note(format!("unsynced {}", kind.split('(').next().unwrap_or_default()));
    }
}

async fn mend_ended(cluster: &Kvs, crash: Crash, coverage: &Coverage, harm: &Harm) {
    for at in 0..cluster.nodes() {
        if let NodeState::Ended { reason } = cluster.state(at) {
            harm.was_ordered(at, &reason);
            if let Some(NodeFailure::Store { .. }) = cluster.failure(at) {
                coverage.note("node stopped by its disk");
            }
            note_unsynced(cluster, at, crash, coverage);
            cluster.crash(at, crash).await;
            harm.restarted(at);
            cluster.restart(at).await;
        }
    }
}

/// An operator who stays after the mending: a disk that was made to fail at its next sync may be idle until then, and a machine
/// that was given up may still be so.
pub(crate) async fn attend(load: Load, opens: Opens, harm: Rc<Harm>, over: Rc<Cell<bool>>) {
    let Load { cluster, coverage, .. } = load;
    while !over.get() {
        mend_ended(&cluster, Crash::Process, &coverage, &harm).await;
        restore_votes(&cluster, &opens, &harm, &coverage).await;
        for at in 0..cluster.nodes() {
            let down = |node: Node, _: Groups| async move {
                node.groups().await.iter().any(|status| status.fault_here.is_some())
            };
            if cluster.on(at, down).await == Ok(true) {
                coverage.note("restarted for its machine");
                cluster.restart(at).await;
            }
        }
        cluster.pause(Duration::from_millis(100)).await;
    }
}

/// The end of all attacks: everything runs, nothing is lost any more.
pub(crate) async fn mend_all(cluster: &Kvs, opens: &Opens, harm: &Harm) {
    cluster.heal();
    cluster.lose(0).await;
    for at in 0..cluster.nodes() {
        cluster.set_bandwidth(at, 0);
        cluster.continue_process(at, MonotonicClock::WentOn);
        let disk = cluster.disk(at);
        disk.stall(false);
        disk.set_foreign_bytes(0);
        disk.backlog().set_waiting(false);
        opens.names().iter().for_each(|group| cluster.machine(at, group).mend());
    }
    for at in 0..cluster.nodes() {
        match cluster.state(at) {
            NodeState::Up | NodeState::Starting => {}
            NodeState::Ended { reason } => {
                harm.was_ordered(at, &reason);
                cluster.restart(at).await;
            }
            _ => cluster.restart(at).await,
        }
    }
    // The old build is replaced.
    if let Some(old) = opens.old.take().filter(|_| opens.mixed) {
        cluster.restart(old).await;
    }
}

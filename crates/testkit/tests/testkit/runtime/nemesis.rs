//! What is done to a cluster: one attack after the other, each undone by itself after a while, several at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use quorate::store::{Crash, Disk};
use quorate::{Injury, Node, NodeFailure};
use quorate_testkit::sim::{Draw, NodeState};

use super::coverage::Coverage;
use super::options::Options;
use super::{Groups, KV, Kvs};

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attack {
    /// A process is killed.
    Crash,
    CrashLeader,
    CrashAll,
    /// The machine dies inside a write.
    CrashInWrite,
    /// The power fails: its peers hear nothing of it.
    PowerCut,
    /// Stopped in order, and started again.
    Stop,
    FailSync,
    StallDisk,
    StallLeaderDisk,
    FullDisk,
    Split,
    IsolateLeader,
    /// Everyone sees a majority, no two the same.
    Majorities,
    OneWay,
    /// The leader hears no other node, or no other node hears it.
    HalfIsolateLeader,
    /// Nothing is lost, and nothing arrives.
    Hold,
    /// Clients outside reach some nodes only.
    CutClients,
    /// Any one actor of any node.
    Injure,
    /// Any one actor of the leader's node.
    InjureLeader,
    /// Several actors, one soon after the other.
    InjureMany,
    Transfer,
    WallClock,
}

impl Attack {
    pub(crate) const ALL: [Self; 22] = [
        Self::Crash,
        Self::CrashLeader,
        Self::CrashAll,
        Self::CrashInWrite,
        Self::PowerCut,
        Self::Stop,
        Self::FailSync,
        Self::StallDisk,
        Self::StallLeaderDisk,
        Self::FullDisk,
        Self::Split,
        Self::IsolateLeader,
        Self::Majorities,
        Self::OneWay,
        Self::HalfIsolateLeader,
        Self::Hold,
        Self::CutClients,
        Self::Injure,
        Self::InjureLeader,
        Self::InjureMany,
        Self::Transfer,
        Self::WallClock,
    ];
}

/// Bytes of a disk that is never full.
const ROOMY_BYTES: u64 = 1 << 40;
/// Less than a node keeps in reserve, more than it writes in a run.
const SCARCE_BYTES: u64 = 100 << 20;

/// Why a node may end: it was told to, or its disk was made to.
const ORDERED: [&str; 5] = [
    "it was told to",
    "the disk has not answered",
    "the simulated disk failed a sync",
    "the simulated machine has stopped",
    "no space left for the simulated disk",
];

pub(crate) struct Nemesis {
    cluster: Kvs,
    draw: Draw,
    options: Options,
    coverage: Coverage,
}

impl Nemesis {
    pub(crate) fn new(cluster: Kvs, seed: u64, options: Options, coverage: Coverage) -> Self {
        Self { cluster, draw: Draw::new(seed ^ 0x00a7_7ac4), options, coverage }
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
        let crash = self.crash();
        mend_ended(&self.cluster, crash, &self.coverage).await;
    }

    fn crash(&mut self) -> Crash {
        let mixed = Crash::Mixed(self.draw.range(0, u64::MAX));
        // A process that ends is what happens most, and the one that leaves its page cache to the next.
        self.draw.pick(&[Crash::Lost, Crash::Kept, Crash::Torn, mixed, Crash::Process, Crash::Process])
    }

    fn length(&mut self) -> Duration {
        Duration::from_millis(self.draw.range(self.options.attack_length / 4, self.options.attack_length))
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
                disk.stop_at(disk.steps() + self.draw.range(1, 12));
                let length = self.length();
                self.cluster.pause(length).await;
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
                let length = self.length();
                self.cluster.pause(length).await;
                self.cluster.restart(any).await;
            }
            Attack::FailSync => self.cluster.disk(any).fail_sync_in(self.draw.range(0, 5)),
            Attack::StallDisk => self.stall(any).await,
            Attack::StallLeaderDisk => self.stall(target).await,
            Attack::FullDisk => {
                let disk = self.cluster.disk(any);
                let used = ROOMY_BYTES.saturating_sub(disk.free_bytes().unwrap_or(0));
                // With notice, or from one write to the next.
                disk.set_capacity(if self.draw.chance(700) { used + SCARCE_BYTES } else { used });
                let length = self.length();
                self.cluster.pause(length).await;
                self.cluster.disk(any).set_capacity(ROOMY_BYTES);
            }
            Attack::Split
            | Attack::IsolateLeader
            | Attack::Majorities
            | Attack::OneWay
            | Attack::HalfIsolateLeader
            | Attack::Hold
            | Attack::CutClients => {
                self.cut(attack, any, target);
                let length = self.length();
                self.cluster.pause(length).await;
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
                let hand_over =
                    |_: Node, (kv, _): Groups| async move { kv.transfer(None, Duration::from_secs(1)).await };
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
            if let NodeState::Ended { reason } = self.cluster.state(*at) {
                was_ordered(*at, &reason);
            }
            let crash = self.crash();
            note_unsynced(&self.cluster, *at, crash, &self.coverage);
            self.cluster.crash(*at, crash).await;
        }
        let length = self.length();
        self.cluster.pause(length).await;
        for at in at {
            self.cluster.restart(*at).await;
        }
    }

    async fn stall(&mut self, at: usize) {
        let disk = self.cluster.disk(at);
        disk.stall(true);
        let length = self.length();
        self.cluster.pause(length).await;
        disk.stall(false);
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
        let any = self.draw.place(actors.len());
        let actor = &actors[role.filter(|_| self.draw.chance(250)).unwrap_or(any)];
        let injury = self.draw.pick(&[Injury::Panic, Injury::Stop, Injury::Kill]);
        if self.cluster.injure(at, &actor.name, injury).await {
            self.coverage.note(format!("{injury:?} {}", actor.kind));
        }
    }
}

fn was_ordered(at: usize, reason: &str) {
    let ordered = ORDERED.iter().any(|words| reason.contains(words));
    assert!(ordered, "node{at} ended, and no attack was to end it: {reason}");
}

/// The fate of unsynced writes counts where there were any.
fn note_unsynced(cluster: &Kvs, at: usize, crash: Crash, coverage: &Coverage) {
    if cluster.disk(at).unsynced() > 0 {
        let kind = format!("{crash:?}");
        coverage.note(format!("unsynced {}", kind.split('(').next().unwrap_or_default()));
    }
}

async fn mend_ended(cluster: &Kvs, crash: Crash, coverage: &Coverage) {
    for at in 0..cluster.nodes() {
        if let NodeState::Ended { reason } = cluster.state(at) {
            was_ordered(at, &reason);
            if let Some(NodeFailure::Store { .. }) = cluster.failure(at) {
                coverage.note("node stopped by its disk");
            }
            note_unsynced(cluster, at, crash, coverage);
            cluster.crash(at, crash).await;
            cluster.restart(at).await;
        }
    }
}

/// An operator who stays after the mending: a disk that was made to fail at its next sync may be idle until then.
pub(crate) async fn attend(cluster: Kvs, coverage: Coverage, over: Rc<Cell<bool>>) {
    while !over.get() {
        mend_ended(&cluster, Crash::Process, &coverage).await;
        cluster.pause(Duration::from_millis(100)).await;
    }
}

/// The end of all attacks: everything runs, nothing is lost any more.
pub(crate) async fn mend_all(cluster: &Kvs) {
    cluster.heal();
    cluster.lose(0).await;
    for at in 0..cluster.nodes() {
        let disk = cluster.disk(at);
        disk.stall(false);
        disk.set_capacity(ROOMY_BYTES);
    }
    for at in 0..cluster.nodes() {
        match cluster.state(at) {
            NodeState::Up | NodeState::Starting => {}
            NodeState::Ended { reason } => {
                was_ordered(at, &reason);
                cluster.restart(at).await;
            }
            _ => cluster.restart(at).await,
        }
    }
}

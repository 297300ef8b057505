//! A cluster in simulated time: one queue of events and one source of chance decide everything.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use quorate_core::{
    Body, Effect, Effects, Index, Membership, Message, Reader, RoleEvent, SnapshotWanted, SplitMix64,
};

use super::callers::Callers;
use super::clients::Clients;
use super::closing::LinkChange;
use super::coverage::Coverage;
use super::invariants::{Invariants, order};
use super::link::wire_bytes;
use super::members::refusal_kind;
use super::nemesis::Undo;
use super::network::Network;
use super::options::Options;
use super::process::Process;
use crate::world::{self, Behind, ReplicaEvent, place_of};

/// Something that happens at a moment.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Deliver(Box<Message>),
    Tick {
        at: usize,
        life: u64,
        /// Which tick of its node: one that was armed for an earlier moment has taken the place of this.
        number: u64,
    },
    DiskDone {
        at: usize,
        life: u64,
    },
    ReadDone {
        at: usize,
        life: u64,
        read: LogRead,
    },
    JobDone {
        at: usize,
        life: u64,
        job: u64,
    },
    /// A machine is restored.
    Restored {
        at: usize,
        life: u64,
    },
    /// A piece of a message has left by a narrow link.
    PieceSent {
        link: (usize, usize),
        life: u64,
    },
    SnapshotWritten {
        at: usize,
        life: u64,
    },
    SnapshotReady {
        at: usize,
        life: u64,
    },
    SnapshotFetched {
        at: usize,
        /// `None` if the transfer broke off.
        from: Option<usize>,
        life: u64,
    },
    /// A node learns how its connection changed to a peer.
    LinkChanged(LinkChange),
    Propose,
    Read,
    /// This caller of a quiet phase asks.
    Caller(usize),
    /// A read that waited for a paused process.
    ReadAt {
        at: usize,
        life: u64,
        id: u64,
    },
    Attack,
    /// Someone asks for a change of the members.
    Change,
    Undo(Undo),
    /// Someone waits for this moment.
    Nothing,
}

/// A read of the log that was ordered.
#[derive(Debug, Clone)]
pub(crate) struct LogRead {
    pub(crate) reader: Reader,
    pub(crate) from: Index,
    pub(crate) through: Index,
    pub(crate) bytes_max: usize,
    /// The applier that asked, if one did: its successor does not get the answer.
    pub(crate) applier_life: u64,
}

#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The whole world of one run.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) options: Options,
    pub(crate) rng: SplitMix64,
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Process>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) callers: Callers,
    pub(crate) invariants: Invariants,
    pub(crate) coverage: Coverage,
    pub(crate) founding: Membership,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    digest: DefaultHasher,
    verbose: bool,
}

impl Cluster {
    pub(crate) fn new(seed: u64, options: Options, verbose: bool) -> Self {
        let founding = world::founding(options.voters, options.learners);
        let nodes: Vec<Process> = (0..options.nodes()).map(Process::new).collect();
        let mut cluster = Self {
            rng: SplitMix64::new(seed),
            now: 0,
            network: Network::default(),
            clients: Clients::default(),
            callers: Callers::default(),
            invariants: Invariants::new(&options, founding.clone()),
            coverage: Coverage::default(),
            founding,
            queue: BinaryHeap::new(),
            order: 0,
            digest: DefaultHasher::new(),
            verbose,
            nodes,
            options,
        };
        for at in 0..cluster.nodes.len() {
            cluster.boot(at);
        }
        cluster.schedule(cluster.options.propose_every, Event::Propose);
        cluster.schedule(cluster.options.read_every, Event::Read);
        cluster.schedule(cluster.options.attack_every, Event::Attack);
        if cluster.options.change_every > 0 {
            cluster.schedule(cluster.options.change_every, Event::Change);
        }
        cluster
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>9} {}", self.now, line());
        }
    }

    pub(crate) fn wall_ms(&mut self) -> u64 {
        // Wall clocks of nodes disagree by far more than they should.
        1_000_000 + self.now / 1_000 + self.rng.below(5_000)
    }

    /// A digest of the run: two runs of one seed have the same.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(crate) fn schedule(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + delay, order: self.order, event }));
    }

    /// Carries out the next event; false if there is none.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(Reverse(next)) = self.queue.pop() else { return false };
        self.now = self.now.max(next.at);
        (self.now, self.order).hash(&mut self.digest);
        match next.event {
            Event::Deliver(message) => self.deliver(message),
            Event::Tick { at, life, number } => self.tick(at, life, number),
            Event::DiskDone { at, life } => self.disk_done(at, life),
            Event::ReadDone { at, life, read } => self.read_done(at, life, &read),
            Event::JobDone { at, life, job } => self.job_done(at, life, job),
            Event::Caller(number) => self.caller(number),
            Event::Restored { at, life } => self.restored(at, life),
            Event::PieceSent { link, life } => self.piece_sent(link, life),
            Event::SnapshotWritten { at, life } => self.snapshot_written(at, life),
            Event::SnapshotReady { at, life } => self.snapshot_ready(at, life),
            Event::SnapshotFetched { at, from, life } => self.snapshot_fetched(at, from, life),
            Event::LinkChanged(change) => self.link_changed(change),
            Event::Propose => self.propose(),
            Event::Read => self.read(),
            Event::ReadAt { at, life, id } => self.read_at(at, life, id),
            Event::Attack => {
                self.attack();
                let next = self.options.attack_every;
                self.schedule(self.options.attack_every / 2 + self.rng.clone().below(next), Event::Attack);
                self.rng.number();
            }
            Event::Change => self.change(),
            Event::Undo(undo) => self.undo(&undo),
            Event::Nothing => {}
        }
        true
    }

    /// Events for a paused process wait until it goes on.
    pub(crate) fn paused(&mut self, at: usize, event: impl FnOnce() -> Event) -> bool {
        let until = self.nodes[at].paused_until;
        if until > self.now {
            // When the process goes on, it gets the waiting events in no particular order.
            let spread = self.rng.below(1_000);
            self.schedule(until - self.now + spread, event());
            return true;
        }
        false
    }

    fn deliver(&mut self, message: Box<Message>) {
        let at = place_of(&message.to);
        if self.nodes[at].is_up()
            && !self.paused(at, || Event::Deliver(message.clone()))
            && self.can_read(at, &message)
        {
            // By its length and newest hash: payloads are large.
            let newest = match &message.body {
                Body::AppendEntries(append) => append.entries.last().map(|entry| entry.chain),
                _ => None,
            };
            (message.term, message.body.name(), wire_bytes(&message), newest).hash(&mut self.digest);
            self.trace(|| format!("deliver {message}"));
            self.say(at, RoleEvent::Message(*message));
        }
    }

    fn tick(&mut self, at: usize, life: u64, number: u64) {
        let is_void = self.nodes[at].life != life || self.nodes[at].ticks != number;
        if is_void || self.paused(at, || Event::Tick { at, life, number }) {
            return;
        }
        self.nodes[at].tick_at = None;
        let due = self.nodes[at].deadline();
        if due.is_some_and(|due| due <= self.nodes[at].local(self.now)) {
            self.say(at, RoleEvent::Tick);
        }
        self.arm(at);
    }

    pub(crate) fn boot(&mut self, at: usize) {
        let rate = self.rng.pick(&self.options.clock_rates);
        self.nodes[at].boot(self.now, rate);
        self.trace(|| format!("n{at} boots"));
        self.connections_made(at);
        let applied = self.nodes[at].applier.applied;
        self.restore(at, applied);
    }

    pub(crate) fn start_role(&mut self, at: usize) {
        let founding = self.founding_of(at);
        let state = self.nodes[at].load(&founding, &self.options, &mut self.rng);
        let local = self.nodes[at].local(self.now);
        self.invariants.started(&self.nodes[at], &state);
        let effects = self.nodes[at].start(state, local);
        self.nodes[at].tick_at = None;
        self.carry_out(at, effects, &Behind::default());
        if self.nodes[at].disk.full {
            self.say(at, RoleEvent::DiskFull(true));
        }
        self.tell_written(at);
    }

    pub(crate) fn crash(&mut self, at: usize) {
        self.trace(|| format!("n{at} crashes"));
        self.callers_lose(at);
        let (options, rng) = (&self.options, &mut self.rng);
        if self.nodes[at].crash(options, rng) {
            self.coverage.note("torn write");
        }
        self.network.reset(at);
        self.connections_closed(at);
        self.clients.lost(at);
    }

    pub(crate) fn say(&mut self, at: usize, common: RoleEvent) {
        self.step(at, ReplicaEvent::Role(common));
    }

    /// Steps a replica that is up and carries out what it asks for.
    pub(crate) fn step(&mut self, at: usize, event: ReplicaEvent) {
        let local = self.nodes[at].local(self.now);
        if let Some((effects, behind)) = self.nodes[at].step_in_lanes(local, event) {
            self.carry_out(at, effects, &behind);
        }
    }

    fn carry_out(&mut self, at: usize, effects: Effects, behind: &Behind) {
        self.invariants.stepped(&self.nodes, at, &mut self.coverage);
        for effect in effects {
            if self.options.torn_step > 0 && self.rng.chance(self.options.torn_step) && self.nodes[at].is_up()
            {
                self.coverage.note("crash inside a step");
                self.crash(at);
                let delay = self.rng.below(self.options.attack_length);
                self.schedule(delay, Event::Undo(Undo::Boot(at)));
                return;
            }
            self.carry_out_one(at, effect, behind);
        }
        self.arm(at);
    }

    fn carry_out_one(&mut self, at: usize, effect: Effect, behind: &Behind) {
        match effect {
            Effect::Persist(persist) => self.persist(at, persist),
            Effect::Send(message) => self.send(at, &message, behind.lane(&message)),
            Effect::Apply { entries } => {
                order::handed(&self.nodes[at], &entries);
                self.hand_to_applier(at, entries);
            }
            read @ Effect::ReadLog { .. } => self.order_read(at, read),
            Effect::PublishSnapshot(index) => self.publish(at, index),
            Effect::Compact { through } => {
                self.coverage.note("log forgotten");
                self.nodes[at].disk.compact(through);
            }
            Effect::FetchSnapshot(wanted) => {
                if matches!(wanted, SnapshotWanted::Offered { .. }) {
                    self.coverage.note("snapshot offered");
                }
                self.fetch_snapshot(at, wanted);
            }
            Effect::RestoreMachine => self.restore_machine(at),
            Effect::Accepted { first, term, count } => self.accepted(at, first, term, count),
            Effect::Refused { count, reason } => self.refused(count, reason),
            Effect::ReadReady { reads, index } => self.read_ready(at, &reads, index),
            Effect::ReadRefused { reads } => self.clients.read_refused(&reads),
            Effect::LeaderChanged { leader, term } => {
                self.trace(|| format!("n{at} leader {leader:?} term {term}"));
                self.coverage.note("leader changed");
                self.note_election(at, leader.as_ref());
            }
            Effect::Notice(notice) => {
                self.trace(|| format!("n{at} notice {notice:?}"));
                super::invariants::notice(&notice, &mut self.coverage);
            }
            Effect::TransferBegun { .. } => {}
            Effect::TransferRefused(_) => self.coverage.note("transfer refused"),
            Effect::ChangeBegun { .. } => self.coverage.note("change begun"),
            Effect::ChangeRefused(refusal) => {
                self.coverage.note("change refused");
                self.coverage.note(&format!("change refused {}", refusal_kind(&refusal)));
            }
            Effect::MembershipChanged(membership) => {
                self.coverage.note("membership changed");
                let ends = self.nodes[at].leads()
                    && !membership.is_joint()
                    && membership.voters != self.founding.voters;
                if ends {
                    self.coverage.note("change ended");
                }
            }
            Effect::StartReplicator { .. }
            | Effect::StopReplicator { .. }
            | Effect::ToReplicator { .. }
            | Effect::Become(_) => panic!("a replica keeps {effect:?} to itself"),
        }
    }

    fn arm(&mut self, at: usize) {
        let Some(due) = self.nodes[at].deadline() else { return };
        let due = self.nodes[at].global(due).max(self.now + 1);
        if self.nodes[at].tick_at.is_none_or(|armed| due < armed) {
            self.nodes[at].tick_at = Some(due);
            self.nodes[at].ticks += 1;
            let (life, number) = (self.nodes[at].life, self.nodes[at].ticks);
            self.schedule(due - self.now, Event::Tick { at, life, number });
        }
    }
}

//! A cluster of replicas driven by hand: nothing moves except what the test moves. Messages wait on the wire, writes
//! wait at the disk, time stands still. The golden transcripts ([`transcripts`]) and the tests of rules and known bugs use it.

mod messages;
mod print;
pub(crate) mod scenarios;
mod transcripts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{
    Change, ChangeRefusal, Config, Effect, Effects, Entry, EntryKind, Hash, Incarnation, Index, Membership,
    Message, Notice, Position, Proposal, ReadId, Reader, Refusal, ReplicaState, RoleEvent, SnapshotWanted,
    Term, Time,
};

pub(crate) use messages::Link;

use crate::world::{self, Node, Replica, ReplicaEvent, Role, Start, name};

/// A node in the lab, with what its applier and its callers were told.
pub(crate) struct LabNode {
    node: Node,
    pub(crate) applied: Vec<Entry>,
    /// Answers to callers, and notices, in order.
    pub(crate) accepted: Vec<(Index, Term, usize)>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) reads: BTreeMap<u64, Option<Index>>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) wanted: Vec<SnapshotWanted>,
    /// The memberships it was told of.
    pub(crate) memberships: Vec<Membership>,
    /// Answers to changes of the members.
    pub(crate) changes: Vec<Result<Index, ChangeRefusal>>,
    away: bool,
    printed: String,
}

impl Deref for LabNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for LabNode {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

/// Far more turns than any script takes.
const TURNS_MAX: usize = 10_000;

impl LabNode {
    fn new(at: usize) -> Self {
        Self {
            node: Node::new(at),
            applied: Vec::new(),
            accepted: Vec::new(),
            refused: Vec::new(),
            reads: BTreeMap::new(),
            notices: Vec::new(),
            wanted: Vec::new(),
            memberships: Vec::new(),
            changes: Vec::new(),
            away: false,
            printed: String::new(),
        }
    }
}

/// The cluster.
pub(crate) struct Lab {
    pub(crate) nodes: Vec<LabNode>,
    /// Messages in flight, oldest first.
    pub(crate) wire: VecDeque<Message>,
    /// Messages set aside by [`Self::stash`].
    pub(crate) late: Vec<Message>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) now: Time,
    pub(crate) wall_ms: u64,
    pub(crate) config: Config,
    /// How much of the log a start loads into memory; all if `None`.
    pub(crate) load_newest: Option<usize>,
    founding: Membership,
    /// Where a node begins with another one.
    founding_of: BTreeMap<usize, Membership>,
    transcript: String,
}

impl Lab {
    /// `voters` voters, then `learners` learners; none is started.
    pub(crate) fn new(voters: usize, learners: usize) -> Self {
        Self {
            nodes: (0..voters + learners).map(LabNode::new).collect(),
            wire: VecDeque::new(),
            late: Vec::new(),
            cut: BTreeSet::new(),
            now: Time(1_000_000),
            wall_ms: 1_000,
            config: Config::default(),
            load_newest: None,
            founding: world::founding(voters, learners),
            founding_of: BTreeMap::new(),
            transcript: String::new(),
        }
    }

    /// All started, node 0 elected, its no-op committed everywhere.
    pub(crate) fn elected(voters: usize) -> Self {
        let mut lab = Self::new(voters, 0);
        lab.start_all();
        lab.elect(0);
        lab
    }

    /// A node that founded nothing starts, and waits to be taken in; its place.
    pub(crate) fn join(&mut self) -> usize {
        let at = self.nodes.len();
        self.nodes.push(LabNode::new(at));
        self.start(at);
        at
    }

    /// A process ends, and its disk is lost: what starts in its place remembers nothing and founds nothing.
    pub(crate) fn wipe(&mut self, at: usize) {
        self.crash(at);
        self.nodes[at] = LabNode::new(at);
        self.founding_of.insert(at, Membership::default());
        self.start(at);
    }

    pub(crate) fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.start(at));
    }

    /// Starts a process from its disk.
    pub(crate) fn start(&mut self, at: usize) {
        let compacted = self.nodes[at].disk.compacted;
        self.start_restored(at, Index::ZERO, self.nodes[at].disk.log[..compacted as usize].to_vec());
    }

    /// Starts a process whose machine was made of a snapshot of these entries.
    pub(crate) fn start_restored(&mut self, at: usize, commit: Index, applied: Vec<Entry>) {
        self.nodes[at].boot = self.nodes[at].boot.next();
        let length = self.nodes[at].disk.log.len();
        let base = self.load_newest.map_or(0, |keep| length.saturating_sub(keep.max(1)));
        let founded = self.founding_of.get(&at).cloned();
        let is_founder = self.founding.members.contains_key(&name(at));
        let founding =
            founded.unwrap_or_else(|| if is_founder { self.founding.clone() } else { Membership::default() });
        let node = &mut self.nodes[at];
        let start = Start {
            founding: &founding,
            config: &self.config,
            base,
            commit,
            applied: applied.last().map(Entry::log_id).unwrap_or_default(),
            entropy: 7 * at as u64 + node.boot.0,
        };
        let state = node.load(&start);
        let effects = node.start(state, self.now);
        self.nodes[at].applied = applied;
        self.nodes[at].away = false;
        self.carry_out(at, effects);
    }

    /// Ends a process; what was not persisted is lost.
    pub(crate) fn crash(&mut self, at: usize) {
        self.nodes[at].replica = None;
        self.nodes[at].disk.pending.clear();
        self.nodes[at].disk.restart();
        self.nodes[at].applied.clear();
        self.say(&format!("n{at}: crashed"));
    }

    pub(crate) fn restart(&mut self, at: usize) {
        self.crash(at);
        self.start(at);
    }

    /// Gives a node that is down a log with these terms, and a hard state of the last of them or a later one.
    pub(crate) fn preset(&mut self, at: usize, terms: &[u64], term: u64) {
        let mut before = Position::ORIGIN;
        let mut log = Vec::new();
        for t in terms {
            let payload = Bytes::from(format!("{}@{t}", before.index.next()));
            let leaf = Hash::of(&payload);
            let entry = Entry::follow(before, Term(*t), 1_000, EntryKind::Command, payload, leaf);
            before = entry.position();
            log.push(entry);
        }
        self.nodes[at].disk.log = log;
        self.nodes[at].disk.hard_state.term = Term(term);
    }

    pub(crate) fn step(&mut self, at: usize, event: ReplicaEvent) {
        let now = self.now;
        if let Some(effects) = self.nodes[at].step(now, event) {
            self.carry_out(at, effects);
        }
    }

    pub(crate) fn common(&mut self, at: usize, common: RoleEvent) {
        self.step(at, ReplicaEvent::Role(common));
    }

    fn carry_out(&mut self, at: usize, effects: Effects) {
        let mut then: Vec<ReplicaEvent> = Vec::new();
        for effect in effects {
            self.print_effect(at, &effect);
            let node = &mut self.nodes[at];
            match effect {
                Effect::Persist(persist) if !node.away => node.disk.submit(persist),
                Effect::Send(message) => self.put_on_wire(message),
                Effect::Apply { entries } => {
                    let next = node.applied.len() as u64 + 1;
                    node.applied.extend(entries.into_iter().filter(|entry| entry.index.0 >= next));
                    then.push(ReplicaEvent::Role(RoleEvent::Applied(Index(node.applied.len() as u64))));
                }
                Effect::ReadLog { reader, from, through, bytes_max } => {
                    let entries = node.disk.read(from, through, bytes_max);
                    match reader {
                        Reader::Role => {
                            let place = node.disk.position(from).expect("a role asks for what it has");
                            then.push(ReplicaEvent::Role(RoleEvent::Located(place)));
                        }
                        Reader::Applier => {
                            node.applied.extend(entries);
                            let applied = Index(node.applied.len() as u64);
                            then.push(ReplicaEvent::Role(RoleEvent::Applied(applied)));
                        }
                        Reader::Replicator { peer, session } => {
                            let prev = node.disk.position(from.prev()).expect("before what it has").log_id();
                            then.push(ReplicaEvent::Fetched { peer, session, prev, entries });
                        }
                    }
                }
                Effect::Accepted { first, term, count } => node.accepted.push((first, term, count)),
                Effect::Refused { count, reason } => node.refused.extend(vec![reason; count]),
                Effect::ReadReady { reads, index } => {
                    node.reads.extend(reads.into_iter().map(|read| (read.0, Some(index))));
                }
                Effect::ReadRefused { reads } => {
                    node.reads.extend(reads.into_iter().map(|read| (read.0, None)));
                }
                Effect::Notice(notice) => node.notices.push(notice),
                Effect::MembershipChanged(membership) => node.memberships.push(membership),
                Effect::ChangeBegun { index } => node.changes.push(Ok(index)),
                Effect::ChangeRefused(refusal) => node.changes.push(Err(refusal)),
                Effect::Compact { through } => node.disk.compact(through),
                Effect::FetchSnapshot(wanted) => node.wanted.push(wanted),
                // A store that is away is told again when it is back.
                Effect::Persist(_)
                | Effect::PublishSnapshot(_)
                | Effect::RestoreMachine
                | Effect::TransferBegun { .. }
                | Effect::TransferRefused(_)
                | Effect::LeaderChanged { .. }
                | Effect::StartReplicator { .. }
                | Effect::StopReplicator { .. }
                | Effect::ToReplicator { .. }
                | Effect::Become(_) => {}
            }
        }
        self.print_state(at);
        for event in then {
            self.step(at, event);
        }
    }

    /// One write of this node becomes durable; false if none waits.
    pub(crate) fn persist_one(&mut self, at: usize) -> bool {
        let Some(sequence) = self.nodes[at].disk.complete_one() else { return false };
        self.say(&format!("n{at}: disk has #{sequence}"));
        self.common(at, RoleEvent::Persisted(sequence));
        true
    }

    pub(crate) fn persist(&mut self, at: usize) {
        while self.persist_one(at) {}
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.wait(Duration::from_millis(ms));
    }

    pub(crate) fn tick(&mut self, at: usize) {
        self.common(at, RoleEvent::Tick);
    }

    /// Lets time pass until this node's deadline, and ticks it.
    pub(crate) fn tick_due(&mut self, at: usize) {
        let due = self.nodes[at].deadline().expect("it has a deadline");
        self.now = self.now.max(due);
        self.tick(at);
    }

    /// Lets time pass until this node campaigns.
    pub(crate) fn campaign(&mut self, at: usize) {
        for _ in 0..5 {
            if !matches!(self.replica(at).role(), Role::Follower(_)) {
                return;
            }
            self.tick_due(at);
        }
        panic!("n{at} does not campaign");
    }

    /// Takes turns until it is so; a role that never gets there fails the test and does not hang it.
    pub(crate) fn until(&mut self, is_so: impl Fn(&Self) -> bool, mut turn: impl FnMut(&mut Self)) {
        for _ in 0..TURNS_MAX {
            if is_so(self) {
                return;
            }
            turn(self);
        }
        assert!(is_so(self), "not within {TURNS_MAX} turns");
    }

    /// Node `at` becomes leader and commits its no-op everywhere within reach.
    pub(crate) fn elect(&mut self, at: usize) {
        self.campaign(at);
        self.settle();
        assert!(self.leads(at), "n{at} was elected");
        self.heartbeat(at);
    }

    /// The same, and no other node hears of it.
    pub(crate) fn heartbeat_alone(&mut self, at: usize) {
        self.wait(self.config.heartbeat_interval);
        self.tick(at);
    }

    /// Lets a heartbeat interval pass, ticks this leader, and settles.
    pub(crate) fn heartbeat(&mut self, at: usize) {
        self.wait(self.config.heartbeat_interval);
        self.tick(at);
        self.settle();
    }

    /// So many election timeouts pass: this leader is ticked for each heartbeat, and every other node whenever it is due.
    pub(crate) fn pass(&mut self, leader: usize, elections: u32) {
        let until = self.now + self.config.election_timeout * elections;
        while self.now < until {
            self.heartbeat(leader);
            for at in (0..self.nodes.len()).filter(|at| *at != leader) {
                let now = self.now;
                if self.nodes[at].deadline().is_some_and(|due| due <= now) {
                    self.tick(at);
                }
            }
            self.settle();
        }
    }

    pub(crate) fn propose(&mut self, at: usize, word: &str) {
        self.propose_bytes(at, Bytes::from(word.to_owned()));
    }

    pub(crate) fn propose_bytes(&mut self, at: usize, payload: Bytes) {
        let proposals = vec![Proposal::new(payload)];
        self.step(at, ReplicaEvent::Propose { wall_ms: self.wall_ms, proposals });
    }

    pub(crate) fn read(&mut self, at: usize, id: u64) {
        self.step(at, ReplicaEvent::Read(vec![ReadId(id)]));
    }

    pub(crate) fn transfer(&mut self, at: usize, to: Option<usize>) {
        self.step(at, ReplicaEvent::Transfer(to.map(name)));
    }

    pub(crate) fn incarnation(&mut self, at: usize, peer: usize, incarnation: u64) {
        let (peer, incarnation, wall_ms) = (name(peer), Incarnation(incarnation), self.wall_ms);
        self.step(at, ReplicaEvent::Incarnation { peer, incarnation, wall_ms });
    }

    /// Asks for a change of the membership that this node has in force, and gives the answer.
    pub(crate) fn change(&mut self, at: usize, change: Change) -> Result<Index, ChangeRefusal> {
        let expected = self.state(at).membership_index();
        self.change_if(at, change, expected)
    }

    pub(crate) fn change_if(
        &mut self,
        at: usize,
        change: Change,
        expected: Index,
    ) -> Result<Index, ChangeRefusal> {
        let wall_ms = self.wall_ms;
        self.step(at, ReplicaEvent::Change { change, expected, wall_ms });
        self.nodes[at].changes.pop().expect("a leader answers")
    }

    pub(crate) fn store_away(&mut self, at: usize) {
        self.nodes[at].away = true;
        self.nodes[at].disk.pending.clear();
        self.common(at, RoleEvent::StoreAway);
    }

    pub(crate) fn store_back(&mut self, at: usize) {
        self.nodes[at].away = false;
        self.common(at, RoleEvent::StoreBack);
    }

    pub(crate) fn founding(&self) -> Membership {
        self.founding.clone()
    }

    pub(crate) fn replica(&self, at: usize) -> &Replica {
        self.nodes[at].replica.as_ref().expect("it is up")
    }

    pub(crate) fn state(&self, at: usize) -> &ReplicaState {
        self.replica(at).state()
    }

    pub(crate) fn leads(&self, at: usize) -> bool {
        self.nodes[at].leads()
    }

    pub(crate) fn follows(&self, at: usize) -> bool {
        matches!(self.replica(at).role(), Role::Follower(_))
    }

    pub(crate) fn commit(&self, at: usize) -> u64 {
        self.state(at).commit().0
    }

    pub(crate) fn last(&self, at: usize) -> u64 {
        self.state(at).tail().last().index.0
    }

    pub(crate) fn term(&self, at: usize) -> u64 {
        self.state(at).term().0
    }

    /// The terms of the log, from index 1.
    pub(crate) fn terms(&self, at: usize) -> Vec<u64> {
        let tail = self.state(at).tail();
        (1..=tail.last().index.0).map(|index| tail.term_at(Index(index)).expect("inside").0).collect()
    }
}

//! A cluster of replicas in the hand of a test: nothing moves but what the test moves. Messages wait on the wire, writes
//! wait at the disk, time stands still. The golden transcripts and the tests of rules and known bugs use it.
#![allow(dead_code, unused_imports, reason = "shared by several tests, each of which uses a part")]

#[path = "../sim/disk.rs"]
pub(crate) mod disk;
mod print;
#[path = "../sim/rng.rs"]
pub(crate) mod rng;
pub(crate) mod scenarios;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{
    Boot, Common, Config, Effect, Effects, Entry, EntryKind, Hash, Incarnation, Index, Loaded, Member,
    Membership, Message, NodeId, Notice, Position, Proposal, ReadId, Reader, Refusal, Replica, ReplicaEvent,
    ReplicaState, Role, Term, Time,
};

use disk::Disk;
pub(crate) use wire::Link;

/// A node in the lab.
pub(crate) struct LabNode {
    pub(crate) id: NodeId,
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Disk,
    pub(crate) boot: Boot,
    pub(crate) applied: Vec<Entry>,
    /// Effects that answer callers, and notices, in order.
    pub(crate) accepted: Vec<(Index, Term, usize)>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) reads: BTreeMap<u64, Option<Index>>,
    pub(crate) notices: Vec<Notice>,
    /// What it was told of changed memberships.
    pub(crate) memberships: Vec<Membership>,
    away: bool,
    printed: String,
}

/// The cluster.
pub(crate) struct Lab {
    pub(crate) nodes: Vec<LabNode>,
    /// On their way, oldest first.
    pub(crate) wire: VecDeque<Message>,
    /// Set aside by [`Self::stash`]: the late ones.
    pub(crate) late: Vec<Message>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) now: Time,
    pub(crate) wall_ms: u64,
    pub(crate) config: Config,
    /// How much of the log a start loads into memory; all if `None`.
    pub(crate) load_newest: Option<usize>,
    founding: Membership,
    transcript: String,
}

pub(crate) fn name(at: usize) -> NodeId {
    NodeId::new(&format!("n{at}")).expect("a legal name")
}

impl Lab {
    /// `voters` voters, then `learners` learners; nobody is started.
    pub(crate) fn new(voters: usize, learners: usize) -> Self {
        let all = voters + learners;
        let members: BTreeMap<_, _> = (0..all).map(|at| (name(at), Member::default())).collect();
        let founding = Membership {
            voters: (0..voters).map(name).collect(),
            learners: (voters..all).map(name).collect(),
            members,
            ..Membership::default()
        };
        let node = |at: usize| LabNode {
            id: name(at),
            replica: None,
            disk: Disk::default(),
            boot: Boot::ZERO,
            applied: Vec::new(),
            accepted: Vec::new(),
            refused: Vec::new(),
            reads: BTreeMap::new(),
            notices: Vec::new(),
            memberships: Vec::new(),
            away: false,
            printed: String::new(),
        };
        Self {
            nodes: (0..all).map(node).collect(),
            wire: VecDeque::new(),
            late: Vec::new(),
            cut: BTreeSet::new(),
            now: Time(1_000_000),
            wall_ms: 1_000,
            config: Config::default(),
            load_newest: None,
            founding,
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

    pub(crate) fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.start(at));
    }

    /// Starts a process from what its disk has.
    pub(crate) fn start(&mut self, at: usize) {
        self.nodes[at].boot = self.nodes[at].boot.next();
        let length = self.nodes[at].disk.log.len();
        let base = self.load_newest.map_or(0, |keep| length.saturating_sub(keep.max(1)));
        let node = &self.nodes[at];
        let loaded = Loaded {
            me: node.id.clone(),
            boot: node.boot,
            hard_state: node.disk.hard_state.clone(),
            tail: node.disk.load(base),
            memberships: node.disk.memberships(&self.founding),
            commit: Index::ZERO,
            applied: Index(node.disk.compacted),
            entropy: 7 * at as u64 + node.boot.0,
        };
        let (replica, effects) = Replica::start(ReplicaState::new(loaded, self.config.clone()), self.now);
        self.nodes[at].replica = Some(replica);
        let compacted = self.nodes[at].disk.compacted as usize;
        self.nodes[at].applied = self.nodes[at].disk.log[..compacted].to_vec();
        self.nodes[at].away = false;
        self.carry_out(at, effects);
    }

    /// Ends a process; what was not persisted is gone.
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
        if let Some(replica) = self.nodes[at].replica.as_mut() {
            let effects = replica.step(now, event);
            self.carry_out(at, effects);
        }
    }

    pub(crate) fn common(&mut self, at: usize, common: Common) {
        self.step(at, ReplicaEvent::Common(common));
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
                    then.push(ReplicaEvent::Common(Common::Applied(Index(node.applied.len() as u64))));
                }
                Effect::ReadLog { reader, from, through, bytes_max } => {
                    let entries = node.disk.read(from, through, bytes_max);
                    match reader {
                        Reader::Role => {
                            let place = node.disk.position(from).expect("a role asks for what it has");
                            then.push(ReplicaEvent::Common(Common::Located(place)));
                        }
                        Reader::Applier => {
                            node.applied.extend(entries);
                            let applied = Index(node.applied.len() as u64);
                            then.push(ReplicaEvent::Common(Common::Applied(applied)));
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
                Effect::ReadRefused { reads, .. } => {
                    node.reads.extend(reads.into_iter().map(|read| (read.0, None)));
                }
                Effect::Notice(notice) => node.notices.push(notice),
                Effect::MembershipChanged(membership) => node.memberships.push(membership),
                // A store that is away is told again when it is back.
                Effect::Persist(_)
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
        self.common(at, Common::Persisted(sequence));
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
        self.common(at, Common::Tick);
    }

    /// Time passes until this node's deadline, and it is told.
    pub(crate) fn tick_due(&mut self, at: usize) {
        let due = self.nodes[at].replica.as_ref().and_then(Replica::deadline).expect("it has a deadline");
        self.now = self.now.max(due);
        self.tick(at);
    }

    /// Time passes until this node stands.
    pub(crate) fn campaign(&mut self, at: usize) {
        for _ in 0..5 {
            if !matches!(self.replica(at).role(), Role::Follower(_)) {
                return;
            }
            self.tick_due(at);
        }
        panic!("n{at} does not stand");
    }

    /// Node `at` becomes leader and commits its no-op everywhere within reach.
    pub(crate) fn elect(&mut self, at: usize) {
        self.campaign(at);
        self.settle();
        assert!(self.leads(at), "n{at} was elected");
        self.heartbeat(at);
    }

    /// A heartbeat interval passes for a leader, and all that follows.
    pub(crate) fn heartbeat(&mut self, at: usize) {
        self.wait(self.config.heartbeat_interval);
        self.tick(at);
        self.settle();
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

    pub(crate) fn store_away(&mut self, at: usize) {
        self.nodes[at].away = true;
        self.nodes[at].disk.pending.clear();
        self.common(at, Common::StoreAway);
    }

    pub(crate) fn store_back(&mut self, at: usize) {
        self.nodes[at].away = false;
        self.common(at, Common::StoreBack);
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
        self.nodes[at].replica.as_ref().is_some_and(|replica| matches!(replica.role(), Role::Leader(_)))
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

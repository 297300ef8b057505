//! Founding, in a small world: nodes meet in any order, are cut off, crash, and lose their disks. Whatever was committed stays,
//! as long as one node that has taken part keeps its disk (`safety.md` 14).
//!
//! Owns the admission that the runtime does on links: a node keeps the first incarnation it meets under a name. Never reorders
//! one link, tears a write or delays a disk: `cluster.rs` does. Bound: so many steps for each seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_core::{
    Config, Effect, Effects, Index, LogId, Membership, Message, Position, Proposal, Reader, RoleEvent,
    SplitMix64, Term, Time,
};

use crate::world::{self, Node, ReplicaEvent, Start, name, place_of};

const SEEDS: u64 = 1_500;
const STEPS: u64 = 5_000;

/// What admission remembers on a node's disk, and which disk that is.
#[derive(Debug, Default)]
struct Directory {
    incarnation: u64,
    known: BTreeMap<usize, u64>,
}

#[derive(Debug)]
struct World {
    seed: u64,
    rng: SplitMix64,
    now: Time,
    founding: Membership,
    config: Config,
    nodes: Vec<Node>,
    directories: Vec<Directory>,
    cut: BTreeSet<(usize, usize)>,
    wire: VecDeque<Message>,
    committed: Vec<Position>,
    leaders: BTreeMap<Term, usize>,
    /// Nodes that have been in a term, since their disk was new.
    took_part: BTreeSet<usize>,
    wipes: u64,
    commits_after_a_wipe: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed);
        let count = rng.pick(&[3, 3, 3, 5]);
        let mut world = Self {
            seed,
            rng,
            now: Time(1_000_000),
            founding: world::founding(count, 0),
            config: Config::default(),
            nodes: Vec::new(),
            directories: Vec::new(),
            cut: BTreeSet::new(),
            wire: VecDeque::new(),
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            took_part: BTreeSet::new(),
            wipes: 0,
            commits_after_a_wipe: 0,
        };
        for at in 0..count {
            world.nodes.push(Node::new(at));
            world.directories.push(Directory::default());
            world.make_directory(at);
            world.start(at);
        }
        world
    }

    fn any(&mut self) -> usize {
        self.rng.place(self.nodes.len())
    }

    /// A directory that no one has met.
    fn make_directory(&mut self, at: usize) {
        let others = (0..self.founding.members.len()).filter(|other| *other != at);
        self.nodes[at] = Node::new(at);
        self.nodes[at].unmet = others.map(name).collect();
        let incarnation = self.directories[at].incarnation + 1;
        self.directories[at] = Directory { incarnation, known: BTreeMap::new() };
        self.took_part.remove(&at);
    }

    fn start(&mut self, at: usize) {
        self.nodes[at].boot = self.nodes[at].boot.next();
        let start = Start {
            founding: &self.founding,
            config: &self.config,
            base: 0,
            commit: Index::ZERO,
            applied: LogId::default(),
            entropy: self.rng.number(),
        };
        let state = self.nodes[at].load(&start);
        let effects = self.nodes[at].start(state, self.now);
        self.carry_out(at, effects);
    }

    fn crash(&mut self, at: usize) {
        self.nodes[at].replica = None;
        self.nodes[at].disk.restart();
        self.wire.retain(|message| place_of(&message.from) != at && place_of(&message.to) != at);
    }

    /// Its disk is lost, unless no other node that has taken part would be left.
    fn wipe(&mut self, at: usize) {
        if self.took_part.iter().any(|other| *other != at) {
            self.crash(at);
            self.make_directory(at);
            self.wipes += 1;
        }
    }

    fn admits(&self, at: usize, other: usize) -> bool {
        let known = self.directories[at].known.get(&other);
        known.is_none_or(|known| *known == self.directories[other].incarnation)
    }

    /// The dialled node admits first; what it keeps then is on its disk before the dialler knows.
    fn dial(&mut self, from: usize, to: usize) {
        let reached = from != to && !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from));
        if !reached || !self.nodes[from].is_up() || !self.nodes[to].is_up() || !self.admits(to, from) {
            return;
        }
        let (of_from, of_to) = (self.directories[from].incarnation, self.directories[to].incarnation);
        self.directories[to].known.insert(from, of_from);
        if self.admits(from, to) {
            self.directories[from].known.insert(to, of_to);
            self.nodes[from].unmet.remove(&name(to));
            self.step(from, ReplicaEvent::Role(RoleEvent::Admitted(name(to))));
        }
    }

    fn is_linked(&self, from: usize, to: usize) -> bool {
        let knows =
            |a: usize, b: usize| self.directories[a].known.get(&b) == Some(&self.directories[b].incarnation);
        !self.cut.contains(&(from, to)) && knows(from, to) && knows(to, from)
    }

    fn step(&mut self, at: usize, event: ReplicaEvent) {
        if let Some(effects) = self.nodes[at].step(self.now, event) {
            self.carry_out(at, effects);
        }
    }

    fn carry_out(&mut self, at: usize, effects: Effects) {
        let mut then = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(persist) => self.nodes[at].disk.submit(persist),
                Effect::Send(message) if self.is_linked(at, place_of(&message.to)) => {
                    self.wire.push_back(message);
                }
                Effect::Apply { entries } => {
                    then.extend(entries.last().map(|last| RoleEvent::Applied(last.index)));
                }
                Effect::ReadLog { reader: Reader::Role, from, .. } => {
                    then.extend(self.nodes[at].disk.position(from).map(RoleEvent::Located));
                }
                _ => {}
            }
        }
        self.check(at);
        for event in then {
            self.step(at, ReplicaEvent::Role(event));
        }
    }

    /// One leader in a term, with all that was committed in it.
    fn check(&mut self, at: usize) {
        let Some(state) = self.nodes[at].state() else { return };
        let (term, commit) = (state.term(), state.commit());
        if term > Term::ZERO {
            self.took_part.insert(at);
        }
        if !self.nodes[at].leads() {
            return;
        }
        let seed = self.seed;
        let first = *self.leaders.entry(term).or_insert(at);
        assert_eq!(first, at, "seed {seed}: two leaders in term {term}");
        for (held, index) in self.committed.iter().zip(1..) {
            let has = self.nodes[at].position(Index(index));
            let is_old = *self.leaders.last_key_value().expect("this one").0 > term;
            assert!(
                is_old || has == Some(*held),
                "seed {seed}: n{at} leads term {term} without entry {index}"
            );
        }
        for index in self.committed.len() as u64 + 1..=commit.0 {
            let place = self.nodes[at].position(Index(index)).expect("a leader has what it commits");
            self.committed.push(place);
            self.commits_after_a_wipe += u64::from(self.wipes > 0);
        }
    }

    fn advance(&mut self) {
        let (at, other) = (self.any(), self.any());
        match self.rng.below(100) {
            0..50 => {
                if let Some(message) = self.wire.pop_front() {
                    let to = place_of(&message.to);
                    if self.is_linked(place_of(&message.from), to) {
                        self.step(to, ReplicaEvent::Role(RoleEvent::Message(message)));
                    }
                }
            }
            50..70 => {
                if let Some(sequence) = self.nodes[at].disk.complete_one() {
                    self.step(at, ReplicaEvent::Role(RoleEvent::Persisted(sequence)));
                }
            }
            70..75 => {
                if let Some(due) = self.nodes[at].deadline() {
                    self.now = self.now.max(due);
                    self.step(at, ReplicaEvent::Role(RoleEvent::Tick));
                }
            }
            75..80 => {
                let proposals = vec![Proposal::new(bytes::Bytes::from_static(b"x"))];
                self.step(at, ReplicaEvent::Propose { wall_ms: 1_000, proposals });
            }
            80..92 => self.dial(at, other),
            92 if self.nodes[at].is_up() => self.crash(at),
            92..95 if !self.nodes[at].is_up() => self.start(at),
            93..97 => self.cut.clear(),
            97 => {
                for other in (0..self.nodes.len()).filter(|other| *other != at) {
                    self.cut.extend([(at, other), (other, at)]);
                }
            }
            _ => {
                if self.rng.chance(40) {
                    self.wipe(at);
                }
            }
        }
    }
}

#[test]
fn rule_14_what_was_committed_stays_while_one_node_that_took_part_keeps_its_disk() {
    let (mut founded, mut wipes, mut after) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.advance();
        }
        founded += u64::from(!world.committed.is_empty());
        wipes += world.wipes;
        after += world.commits_after_a_wipe;
    }
    // Otherwise the runs prove little.
    assert!(founded > SEEDS / 4 && wipes > SEEDS / 10 && after > SEEDS / 10, "{founded} {wipes} {after}");
}

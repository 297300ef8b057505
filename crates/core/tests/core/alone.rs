//! One replica state, to step a single role with.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_core::{
    Body, Boot, Config, Effect, Entry, EntryKind, HardState, Hash, Index, Loaded, LogId, Member, Membership,
    MembershipLog, Message, NextRole, NodeId, Position, ReplicaState, RoleEvent, Tail, Term,
};

/// The log: two entries of term 2, the first of them committed.
pub(crate) const LAST: LogId = LogId { term: Term(2), index: Index(2) };
pub(crate) const TERM: Term = Term(3);

pub(crate) fn node(at: usize) -> NodeId {
    NodeId::new(&format!("n{at}")).expect("a legal name")
}

/// n0, a voter beside n1 and n2, with a learner n3; `voted_for` in term 3.
pub(crate) fn state(voted_for: Option<usize>) -> ReplicaState {
    state_of(voted_for, two_entries())
}

fn two_entries() -> Tail {
    let mut tail = Tail::new(Position::ORIGIN);
    for word in ["a", "b"] {
        tail.push(entry(tail.last(), word));
    }
    tail
}

/// An entry of term 2 after this place.
pub(crate) fn entry(after: Position, word: &'static str) -> Entry {
    let payload = Bytes::from(word);
    let leaf = Hash::of(&payload);
    Entry::follow(after, Term(2), 5, EntryKind::Command, payload, leaf)
}

/// The same with another log.
pub(crate) fn state_of(voted_for: Option<usize>, tail: Tail) -> ReplicaState {
    start(voted_for, tail, Boot::ZERO)
}

/// The same after so many starts.
pub(crate) fn booted(voted_for: Option<usize>, boot: Boot) -> ReplicaState {
    start(voted_for, two_entries(), boot)
}

/// The same, of a node that lost entries, if it did.
pub(crate) fn recovering_if(recovering: bool) -> ReplicaState {
    start_with(None, two_entries(), Boot::ZERO, recovering, Config::default())
}

/// The same with other limits.
pub(crate) fn configured(voted_for: Option<usize>, config: Config) -> ReplicaState {
    start_with(voted_for, two_entries(), Boot::ZERO, false, config)
}

fn start(voted_for: Option<usize>, tail: Tail, boot: Boot) -> ReplicaState {
    start_with(voted_for, tail, boot, false, Config::default())
}

fn start_with(
    voted_for: Option<usize>,
    tail: Tail,
    boot: Boot,
    recovering: bool,
    config: Config,
) -> ReplicaState {
    let mut founding = voters(3);
    founding.members.insert(node(3), Member::default());
    founding.learners.insert(node(3));
    start_in(founding, voted_for, tail, boot, recovering, config)
}

fn voters(count: usize) -> Membership {
    Membership::of_voters((0..count).map(|at| (node(at), Member::default())).collect::<BTreeMap<_, _>>(), 7)
}

/// n0 by itself.
pub(crate) fn alone() -> ReplicaState {
    start_in(voters(1), None, two_entries(), Boot::ZERO, false, Config::default())
}

fn start_in(
    founding: Membership,
    voted_for: Option<usize>,
    tail: Tail,
    boot: Boot,
    recovering: bool,
    config: Config,
) -> ReplicaState {
    let loaded = Loaded {
        me: node(0),
        boot,
        hard_state: HardState { term: TERM, voted_for: voted_for.map(node), recovering },
        tail,
        memberships: MembershipLog::new(Index::ZERO, founding),
        commit: Index(1),
        applied: quorate_core::LogId::default(),
        unmet: BTreeSet::new(),
        entropy: 9,
    };
    ReplicaState::new(loaded, config)
}

/// A message to n0, as a role hears it.
pub(crate) fn message(from: usize, term: Term, body: Body) -> RoleEvent {
    RoleEvent::Message(Message { from: node(from), to: node(0), boot: Boot::ZERO, term, body })
}

pub(crate) fn said(effects: &[Effect]) -> Vec<&Body> {
    let mut bodies = Vec::new();
    for effect in effects {
        if let Effect::Send(message) = effect {
            bodies.push(&message.body);
        }
    }
    bodies
}

pub(crate) fn becomes(effects: &[Effect]) -> Option<NextRole> {
    effects.iter().find_map(|effect| match effect {
        Effect::Become(become_role) => Some(become_role.role),
        _ => None,
    })
}

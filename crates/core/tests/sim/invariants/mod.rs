//! What must hold after every event, one file each, named the same in code and docs.

mod acknowledged_is_durable;
mod bounds;
mod committed_immutable;
mod committed_on_quorum;
mod election_safety;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod membership_is_the_logs;
mod monotonic;
pub(crate) mod order;
pub(crate) mod reads_linearizable;
mod recovered_is_whole;
mod state_machine_safety;
mod vote_once;

use quorate_core::{Body, Config, Index, Message, Notice, Persist, Position, ReplicaState, Term};

use super::coverage::Coverage;
use super::node::Node;

/// What is committed anywhere: the entry at each index, and the term of the leader that committed it.
#[derive(Debug, Default)]
pub(crate) struct Committed(Vec<(Position, Term)>);

impl Committed {
    pub(crate) fn last(&self) -> Index {
        Index(self.0.len() as u64)
    }

    pub(crate) fn at(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO {
            return Some(Position::ORIGIN);
        }
        self.0.get(index.prev().0 as usize).map(|(at, _)| *at)
    }

    /// The last entry that was committed in a term before `term`.
    pub(crate) fn last_before(&self, term: Term) -> Option<Position> {
        self.0.iter().rev().find(|(_, by)| *by < term).map(|(at, _)| *at)
    }
}

/// All of them, with what they remember.
#[derive(Debug)]
pub(crate) struct Invariants {
    voters: usize,
    config: Config,
    pub(crate) committed: Committed,
    election_safety: election_safety::ElectionSafety,
    leader_append_only: leader_append_only::LeaderAppendOnly,
    leader_completeness: leader_completeness::LeaderCompleteness,
    log_matching: log_matching::LogMatching,
    membership_is_the_logs: membership_is_the_logs::MembershipIsTheLogs,
    monotonic: monotonic::Monotonic,
    order: order::Order,
    pub(crate) state_machine_safety: state_machine_safety::StateMachineSafety,
    vote_once: vote_once::VoteOnce,
}

impl Invariants {
    pub(crate) fn new(voters: usize, config: Config) -> Self {
        Self {
            voters,
            config,
            committed: Committed::default(),
            election_safety: election_safety::ElectionSafety::default(),
            leader_append_only: leader_append_only::LeaderAppendOnly::default(),
            leader_completeness: leader_completeness::LeaderCompleteness::default(),
            log_matching: log_matching::LogMatching::default(),
            membership_is_the_logs: membership_is_the_logs::MembershipIsTheLogs::default(),
            monotonic: monotonic::Monotonic::default(),
            order: order::Order::default(),
            state_machine_safety: state_machine_safety::StateMachineSafety::default(),
            vote_once: vote_once::VoteOnce::default(),
        }
    }

    /// A role is about to start from disk.
    pub(crate) fn started(&mut self, node: &Node, state: &ReplicaState) {
        self.membership_is_the_logs.started(node, state);
        self.monotonic.started(node);
        self.order.started(node, state);
    }

    /// A replica was stepped; its effects have not been carried out.
    pub(crate) fn stepped(&mut self, nodes: &[Node], at: usize, coverage: &mut Coverage) {
        let node = &nodes[at];
        let Some(state) = node.state() else { return };
        self.election_safety.check(node, state);
        self.leader_append_only.check(node, state);
        committed_on_quorum::check(&mut self.committed, nodes, node, state, self.voters);
        committed_immutable::check(&self.committed, node, state);
        self.leader_completeness.check(&self.committed, node, state);
        if self.membership_is_the_logs.check(node, state) {
            coverage.note("a membership from the log");
        }
        self.monotonic.check(node, state);
        self.order.check(node, state);
        bounds::check(nodes, node, state, &self.config);
    }

    /// A write is about to reach the disk.
    pub(crate) fn persisting(&mut self, nodes: &[Node], at: usize, persist: &Persist) {
        let node = &nodes[at];
        recovered_is_whole::persisting(&self.committed, nodes, at, persist, self.voters);
        self.leader_append_only.persisting(node, persist);
        self.log_matching.persisting(persist);
        committed_immutable::persisting(&self.committed, node, persist);
    }

    /// A message is about to leave.
    pub(crate) fn sending(&mut self, nodes: &[Node], at: usize, message: &Message) {
        acknowledged_is_durable::check(nodes, at, message);
        if matches!(message.body, Body::VoteReply(_) | Body::VoteRequest(_)) {
            self.vote_once.check(message);
        }
    }
}

/// Nothing in the simulation explains these but a bug.
pub(crate) fn notice(notice: &Notice, coverage: &mut Coverage) {
    match notice {
        Notice::TwoLeaders { .. }
        | Notice::BadEntries { .. }
        | Notice::Diverged { .. }
        | Notice::RolledBack { .. } => panic!("election safety, log matching or durability: {notice:?}"),
        Notice::DiskStalled => coverage.note("leader with a stalled disk gave way"),
        Notice::TransferFailed { .. } => coverage.note("transfer failed"),
        Notice::PeerNoSpace { .. } => coverage.note("peer without space"),
        Notice::Recovered { .. } => coverage.note("recovered"),
        Notice::TimeJump { .. } => coverage.note("time jump"),
    }
}

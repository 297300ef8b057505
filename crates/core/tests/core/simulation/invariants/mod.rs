//! Invariants, checked after every event, a file for each; the names are the same in code and docs. Those that the model check
//! shares are in `world/judge.rs`.

mod bounds;
mod committed_immutable;
mod committed_on_quorum;
mod election_safety;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod members;
mod membership_is_the_logs;
mod monotonic;
pub(crate) mod order;
pub(crate) mod reads_linearizable;
pub(crate) mod stability;
mod state_machine_safety;
mod vote_once;

use std::collections::BTreeSet;

use quorate_core::{Body, Config, Membership, Message, NodeId, Notice, Persist, Position, ReplicaState};

use super::coverage::Coverage;
use super::options::Options;
use super::process::Process;
use crate::world::{
    Broken, Committed, Judged, Node, acknowledged_is_durable, is_harmless, place_of, recovered_is_whole,
};

/// All of them, with what they remember.
#[derive(Debug)]
pub(crate) struct Invariants {
    founding: Membership,
    config: Config,
    entry_bytes_max: usize,
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
    pub(crate) fn new(options: &Options, founding: Membership) -> Self {
        Self {
            founding,
            config: options.config.clone(),
            entry_bytes_max: options.entry_bytes_max,
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
    pub(crate) fn started(&mut self, node: &Process, state: &ReplicaState) {
        self.membership_is_the_logs.started(node, state);
        self.monotonic.started(node);
        self.order.started(node, state);
    }

    /// A replica was stepped; its effects have not been carried out.
    pub(crate) fn stepped(&mut self, nodes: &[Process], at: usize, coverage: &mut Coverage) {
        let node = &nodes[at];
        let Some(state) = node.state() else { return };
        self.election_safety.check(node, state);
        self.leader_append_only.check(node, state);
        committed_on_quorum::check(&mut self.committed, nodes, node, state);
        committed_immutable::check(&self.committed, node, state);
        self.leader_completeness.check(&self.committed, node, state);
        if self.membership_is_the_logs.check(node, state) {
            coverage.note("a membership from the log");
        }
        members::check(&self.committed, node, state);
        self.monotonic.check(node, state);
        self.order.check(node, state);
        bounds::check(nodes, node, state, &self.config, self.entry_bytes_max);
    }

    /// A write is about to reach the disk.
    pub(crate) fn persisting(&mut self, nodes: &[Process], at: usize, persist: &Persist) {
        let node = &nodes[at];
        if let Some(membership) = node.state().map(ReplicaState::membership).filter(|m| m.is_voter(&node.id))
        {
            let is_committed = |place: Position| self.committed.at(place.index) == Some(place);
            let of_half = |half: &BTreeSet<NodeId>| -> Vec<&Node> {
                half.iter().map(|id| &*nodes[place_of(id)]).collect()
            };
            for half in [&membership.voters, &membership.outgoing].map(of_half) {
                if !half.is_empty() {
                    must(recovered_is_whole(node, persist, is_committed, &half.iter().copied()));
                }
            }
        }
        members::persisting(&self.committed, node, &self.founding, persist);
        self.leader_append_only.persisting(node, persist);
        self.log_matching.persisting(persist);
        committed_immutable::persisting(&self.committed, node, persist);
    }

    /// A message is about to leave.
    pub(crate) fn sending(&mut self, nodes: &[Process], at: usize, message: &Message) {
        must(acknowledged_is_durable(&nodes[at], &nodes[place_of(&message.to)], message));
        if matches!(message.body, Body::VoteReply(_) | Body::VoteRequest(_)) {
            self.vote_once.check(message);
        }
    }
}

fn must(judged: Judged) {
    if let Err(Broken { invariant, what }) = judged {
        panic!("{invariant}: {what}");
    }
}

pub(crate) fn notice(notice: &Notice, coverage: &mut Coverage) {
    assert!(is_harmless(notice), "election safety, log matching or durability: {notice:?}");
    match notice {
        Notice::DiskStalled => coverage.note("leader with a stalled disk gave way"),
        Notice::TransferFailed { .. } => coverage.note("transfer failed"),
        Notice::ApplyLag { .. } => coverage.note("leader with a slow machine gave way"),
        Notice::PeerNoSpace { .. } => coverage.note("peer without space"),
        Notice::MajorityNoSpace { full } if full.is_empty() => coverage.note("room at a majority again"),
        Notice::MajorityNoSpace { .. } => coverage.note("no majority with room"),
        Notice::Recovered { .. } => coverage.note("recovered"),
        Notice::Removed { .. } => coverage.note("removed, and knows"),
        Notice::ToldNoVoter { .. } => coverage.note("told that it has no vote"),
        Notice::TimeJump { .. } => coverage.note("time jump"),
        // Every node of this simulation is admitted by all; `founding.rs` has the one in which they are not.
        Notice::Founded
        | Notice::TwoLeaders { .. }
        | Notice::BadEntries { .. }
        | Notice::Diverged { .. }
        | Notice::RolledBack { .. }
        | Notice::PeerRefuses { .. }
        | Notice::TermJump { .. } => {}
    }
}

//! What the leader's actor does about calls concerning the members. Core decides whether a change may begin; this checks what only the runtime
//! knows (addresses, the builds of peers, who waits to be taken in), and answers when the change has ended.

use quorate_core::{Change, ChangeRefusal, Index, Leader, LeaderEvent, Member, NodeId};

use crate::address::is_host_and_port;
use crate::error::ChangeError;
use crate::members::{
    JoinAnswer, JoinRequest, MemberKind, MemberView, MembersAnswer, MembersCall, MembersOrder, MembersView,
};
use crate::messages::members::MembersPort;
use crate::role::joiners::{JoinStep, Joiners, join_step};
use crate::role::runner::Runner;

/// The longest address that the bridge dials.
const ADDRESS_BYTES_MAX: usize = 256;

/// A call that is answered once a change has ended, or is refused.
enum Asker {
    /// Who changes the members.
    Changes(MembersPort),
    /// Who joins is told at once how far it is; if the change is refused, that it waits, or else what it is.
    Joins { port: MembersPort, asks: JoinRequest, begun: JoinAnswer, refused: Option<JoinAnswer> },
}

/// Calls concerning the members that one leader has taken.
#[derive(Default)]
pub(super) struct MembersCalls {
    /// Whose change core is being asked for.
    asker: Option<Asker>,
    /// Who waits for the end of a change, with the index of its first entry.
    waiting: Vec<(Index, MembersPort)>,
    joiners: Joiners,
}

impl MembersCalls {
    /// The event to step, or `None` if it was answered.
    pub(super) fn hear(
        &mut self,
        runner: &Runner<Leader>,
        call: MembersCall,
        port: MembersPort,
    ) -> Option<LeaderEvent> {
        let Some(leader) = &runner.role else {
            port.send(MembersAnswer::NotChanged(ChangeError::NotLeader { leader: None }));
            return None;
        };
        let present = leader.state().membership_index();
        match call {
            MembersCall::View => {
                port.send(MembersAnswer::View(self.view(runner, leader)));
                None
            }
            MembersCall::Change { order, expected } => {
                match self.change_of(runner, leader, order).and_then(|change| check(runner, leader, change)) {
                    Ok(change) => {
                        self.asker = Some(Asker::Changes(port));
                        let expected = expected.map_or(present, Index);
                        Some(LeaderEvent::ChangeMembership {
                            change,
                            expected,
                            wall_ms: runner.cx.clock.wall_ms(),
                        })
                    }
                    Err(error) => {
                        port.send(MembersAnswer::NotChanged(error));
                        None
                    }
                }
            }
            MembersCall::Join(asks) => self.hear_joiner(runner, leader, asks, port),
        }
    }

    fn hear_joiner(
        &mut self,
        runner: &Runner<Leader>,
        leader: &Leader,
        asks: JoinRequest,
        port: MembersPort,
    ) -> Option<LeaderEvent> {
        let here = (lag_of(leader, runner, &asks.node), runner.cx.link_is_up(&asks.node));
        if asks.cluster != runner.cx.disk.identity().cluster {
            let reason =
                "its data directory is of another cluster: start it with an empty one, or join that cluster";
            self.answer_joiner(runner, port, &asks, JoinAnswer::Never(reason.to_owned()));
            return None;
        }
        let step = join_step(leader.state().membership(), &asks, here);
        let refused = if let JoinStep::Improve(_, answer) = &step { Some(answer.clone()) } else { None };
        let answer = match step {
            JoinStep::Answer(answer) => answer,
            JoinStep::Change(change, begun) | JoinStep::Improve(change, begun) => {
                match check(runner, leader, change) {
                    Ok(change) => {
                        self.asker = Some(Asker::Joins { port, asks, begun, refused });
                        let expected = leader.state().membership_index();
                        let wall_ms = runner.cx.clock.wall_ms();
                        return Some(LeaderEvent::ChangeMembership { change, expected, wall_ms });
                    }
                    Err(error) => JoinAnswer::Waits(error.to_string()),
                }
            }
        };
        self.answer_joiner(runner, port, &asks, answer);
        None
    }

    fn answer_joiner(
        &mut self,
        runner: &Runner<Leader>,
        port: MembersPort,
        asks: &JoinRequest,
        answer: JoinAnswer,
    ) {
        self.joiners.answered(runner.cx.clock.now(), asks, &answer);
        port.send(MembersAnswer::Join(answer));
    }

    fn change_of(
        &mut self,
        runner: &Runner<Leader>,
        leader: &Leader,
        order: MembersOrder,
    ) -> Result<Change, ChangeError> {
        match order {
            MembersOrder::Change(change) => Ok(change),
            MembersOrder::ReplaceByJoiner(node) => {
                if !leader.state().membership().members.contains_key(&node) {
                    return Err(ChangeError::Refused(ChangeRefusal::UnknownMember { node }));
                }
                let joiner = self.joiners.waiting_as(runner.cx.clock.now(), &node);
                let Some(member) = joiner else { return Err(ChangeError::NoJoiner { node }) };
                Ok(Change::Replace { by: node.clone(), node, member })
            }
        }
    }

    /// Core has begun the change, or not.
    pub(super) fn begun(&mut self, runner: &Runner<Leader>, result: Result<Index, ChangeRefusal>) {
        match (self.asker.take(), result) {
            (Some(Asker::Changes(port)), Ok(index)) => self.waiting.push((index, port)),
            (Some(Asker::Changes(port)), Err(refusal)) => {
                port.send(MembersAnswer::NotChanged(ChangeError::Refused(refusal)));
            }
            (Some(Asker::Joins { port, asks, begun, refused }), result) => {
                let answer = match (result, refused) {
                    (Ok(_), _) => begun,
                    (Err(_), Some(here)) => here,
                    (Err(refusal), None) => JoinAnswer::Waits(refusal.to_string()),
                };
                self.answer_joiner(runner, port, &asks, answer);
            }
            (None, _) => {}
        }
    }

    /// Answers who waits for a change that has ended. To be called before the effects of a step are carried out: with one of them this
    /// leader may step down.
    pub(super) fn answer_ended(&mut self, leader: Option<&Leader>) {
        let Some(state) = leader.map(Leader::state).filter(|_| !self.waiting.is_empty()) else { return };
        let (index, has_ended) = (state.membership_index(), !state.membership().is_joint());
        if has_ended && index <= state.commit() {
            for (begun, port) in std::mem::take(&mut self.waiting) {
                debug_assert!(begun <= index, "what a leader has appended stays");
                port.send(MembersAnswer::Changed { index: index.0 });
            }
        }
    }

    fn view(&mut self, runner: &Runner<Leader>, leader: &Leader) -> MembersView {
        let state = leader.state();
        let membership = state.membership();
        let view = |(id, member): (&NodeId, &Member)| MemberView {
            id: id.clone(),
            raft: member.raft.clone(),
            api: member.api.clone(),
            kind: match (membership.voters.contains(id), membership.outgoing.contains(id)) {
                (true, _) => MemberKind::Voter,
                (false, true) => MemberKind::Outgoing,
                (false, false) => MemberKind::Learner,
            },
            incarnation: member.incarnation,
            lag: lag_of(leader, runner, id),
            connected: *id == runner.cx.node || runner.cx.link_is_up(id),
        };
        let index = state.membership_index();
        MembersView {
            leader: runner.cx.node.clone(),
            term: state.term().0,
            index: index.0,
            under_way: index > state.commit() || membership.is_joint(),
            members: membership.members.iter().map(view).collect(),
            waiting: self.joiners.views(runner.cx.clock.now()),
        }
    }
}

/// Entries that this member is not known to have on disk.
fn lag_of(leader: &Leader, runner: &Runner<Leader>, node: &NodeId) -> Option<u64> {
    if *node == runner.cx.node {
        return Some(0);
    }
    let peers = leader.peers(runner.cx.clock.now());
    let peer = peers.into_iter().find(|peer| peer.peer == *node)?;
    // Nothing is known before its first answer.
    peer.applied?;
    Some(leader.state().tail().last().index.0.saturating_sub(peer.matched.0))
}

/// What core does not know: addresses, and the builds of those who are to follow the change.
fn check(runner: &Runner<Leader>, leader: &Leader, change: Change) -> Result<Change, ChangeError> {
    let members = &leader.state().membership().members;
    let (leaves, node, addresses) = match &change {
        Change::AddLearner { node, member } => (None, node, Some((&member.raft, &member.api))),
        Change::Replace { node, by, member } => (Some(node), by, Some((&member.raft, &member.api))),
        Change::Readdress { node, raft, api } => (None, node, Some((raft, api))),
        Change::Remove { node } => (Some(node), node, None),
        Change::Promote { node } | Change::Demote { node } => (None, node, None),
    };
    if let Some((raft, api)) = addresses {
        let is_bad = |address: &str| !is_host_and_port(address) || address.len() > ADDRESS_BYTES_MAX;
        let bad_api = Some(api).filter(|api| !api.is_empty() && is_bad(api));
        if let Some(bad) = Some(raft).filter(|raft| is_bad(raft)).or(bad_api) {
            let address = bad.chars().take(120).collect();
            return Err(ChangeError::Address { node: node.clone(), address });
        }
        let has_it = |(id, member): &(&NodeId, &Member)| {
            *id != node
                && Some(*id) != leaves
                && (member.raft == *raft || (!api.is_empty() && member.api == *api))
        };
        if let Some((other, member)) = members.iter().find(has_it) {
            let address = if member.raft == *raft { raft } else { api };
            return Err(ChangeError::AddressTaken { address: address.clone(), other: other.clone() });
        }
    }
    let follows = |id: &&NodeId| Some(*id) != leaves && **id != runner.cx.node;
    let old = members.keys().filter(follows).filter(|id| runner.cx.is_of_old_build(id));
    let nodes: Vec<String> = old.map(ToString::to_string).collect();
    if !nodes.is_empty() {
        return Err(ChangeError::OldBuild { nodes });
    }
    Ok(change)
}

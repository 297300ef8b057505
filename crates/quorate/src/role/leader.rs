//! The leader's actor: stage 1 of 7 (Proposed) ends here, stage 2 (Appended) is core's `propose`.
//!
//! Owns the core `Leader`, the proposals that gather for the next flush, and supervises a replicator per peer. Hears
//! handles, Sessions, Group, the log store, the applier and its replicators. Asks the log store, the applier and,
//! through its replicators, its peers. Never decides: that is core's part. A crash loses what is in memory: proposals
//! that had no index yet are answered *unknown*; Group reloads the rest from disk under a new epoch. Bound: proposals
//! by the permits of the handles and by `uncommitted_bytes_max`, above which they are refused as busy.
//!
//! The first proposal that arrives casts `Flush` to the actor itself; all that queued up before it is stepped at once:
//! one write, one message per peer and one `Waiters` leave for all of them, without a timer.

use std::collections::{BTreeMap, VecDeque};

use quorate_bridge::kill_below;
use quorate_core::{
    Common, Effect, Effects, Incarnation, Index, Leader, LeaderEvent, LogId, NodeId, Proposal, Refusal,
    ReplicationSession, ReplicatorEvent, Term,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use crate::applier::ApplierMessage;
use crate::error::ProposeError;
use crate::group::{ProposalPort, QueryPort};
use crate::role::replicator::{ReplicatorActor, ReplicatorMessage, ReplicatorStart};
use crate::role::runner::{RoleStart, RoleStatus, Runner};
use crate::supervision::ended;

/// A command with the port its answer goes to.
pub(crate) struct Submission {
    pub(crate) proposal: Proposal,
    pub(crate) port: ProposalPort,
}

/// What a leader hears.
pub(crate) enum LeaderMessage {
    /// From anyone: what every role hears.
    Common(Common),
    /// From a handle or a Session: commands to append.
    Propose(Submission),
    /// From itself: append what has gathered.
    Flush,
    /// From a handle or a Session: a query that wants to be linearizable.
    Read(QueryPort),
    /// From a replicator: it wants entries.
    Fetch { peer: NodeId, session: ReplicationSession, from: Index },
    /// From Group: hand leadership over.
    Transfer { to: Option<NodeId> },
    /// From Group: a peer's incarnation is known and durable here.
    PeerKnown { peer: NodeId, incarnation: Incarnation },
    /// From Group: the link to a peer rose or fell.
    Link { peer: NodeId, up: bool },
    /// From its own timer.
    Tick(u64),
    /// From the node's status: what is it?
    Inspect(RpcReplyPort<RoleStatus>),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

pub(crate) struct LeaderState {
    runner: Runner<Leader>,
    /// Waits for the next flush.
    gathered: Vec<Submission>,
    /// Ports of proposals that were stepped and not answered yet, in order.
    stepped: VecDeque<ProposalPort>,
    replicators: BTreeMap<NodeId, (ReplicationSession, ActorRef<ReplicatorMessage>)>,
}

/// The leader.
pub(crate) struct LeaderActor;

impl Actor for LeaderActor {
    type Msg = LeaderMessage;
    type State = LeaderState;
    type Arguments = RoleStart;

    async fn pre_start(
        &self,
        me: ActorRef<LeaderMessage>,
        start: RoleStart,
    ) -> Result<LeaderState, ActorProcessingErr> {
        let (leader, effects) = Leader::start(*start.state, start.cx.clock.now(), start.cx.clock.wall_ms());
        let runner = Runner::new(leader, start.cx, start.group, start.epoch);
        let mut state = LeaderState {
            runner,
            gathered: Vec::new(),
            stepped: VecDeque::new(),
            replicators: BTreeMap::new(),
        };
        state.carry_out(&me, effects).await;
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<LeaderMessage>,
        message: LeaderMessage,
        state: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        let effects = match message {
            LeaderMessage::Common(common) => state.runner.common(common),
            LeaderMessage::Propose(submission) => {
                state.gather(&me, submission);
                return Ok(());
            }
            LeaderMessage::Flush => state.flush(),
            LeaderMessage::Read(port) => state.runner.read(port),
            LeaderMessage::Fetch { peer, session, from } => {
                state.step(LeaderEvent::Fetch { peer, session, from })
            }
            LeaderMessage::Transfer { to } => state.step(LeaderEvent::Transfer { to }),
            LeaderMessage::PeerKnown { peer, incarnation } => {
                let wall_ms = state.runner.cx.clock.wall_ms();
                state.step(LeaderEvent::Incarnation { peer, incarnation, wall_ms })
            }
            LeaderMessage::Link { peer, up } => state.step(LeaderEvent::Link { peer, up }),
            LeaderMessage::Tick(generation)
                if state.runner.timer.fired(generation) && state.runner.role.is_some() =>
            {
                state.runner.common(Common::Tick)
            }
            LeaderMessage::Tick(_) => Effects::new(),
            LeaderMessage::Inspect(reply) => {
                // An asker that gave up, or a role that ended: there is nothing to say.
                let _ = state.status().map(|status| reply.send(status));
                Effects::new()
            }
            LeaderMessage::Panic => {
                kill_below(&me.get_cell());
                panic!("told to panic")
            }
        };
        state.carry_out(&me, effects).await;
        Ok(())
    }

    /// A replicator that ended by itself (a panic, a stop from outside) is started anew in a session of its own.
    async fn post_stop(
        &self,
        me: ActorRef<LeaderMessage>,
        _: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        kill_below(&me.get_cell());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<LeaderMessage>,
        event: SupervisionEvent,
        state: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, why)) = ended(event) else { return Ok(()) };
        let lost = state.replicators.iter().find(|(_, (_, actor))| actor.get_id() == who.get_id());
        let Some(peer) = lost.map(|(peer, _)| peer.clone()) else { return Ok(()) };
        tracing::warn!(node = %state.runner.cx.node, group = %state.runner.cx.name, %peer, why, "replicator restarts");
        state.replicators.remove(&peer);
        let effects = state.step(LeaderEvent::ReplicatorLost { peer });
        state.carry_out(&me, effects).await;
        Ok(())
    }
}

impl LeaderState {
    fn step(&mut self, event: LeaderEvent) -> Effects {
        let now = self.runner.cx.clock.now();
        self.runner.role.as_mut().map(|leader| leader.step(now, event)).unwrap_or_default()
    }

    fn gather(&mut self, me: &ActorRef<LeaderMessage>, submission: Submission) {
        if self.runner.role.is_none() {
            submission.port.fail(ProposeError::not_ready("the replica no longer leads"));
            return;
        }
        if self.gathered.is_empty() {
            let _ = me.cast(LeaderMessage::Flush);
        }
        self.gathered.push(submission);
    }

    fn flush(&mut self) -> Effects {
        let mut proposals = Vec::with_capacity(self.gathered.len());
        for Submission { proposal, port } in self.gathered.drain(..) {
            if self.runner.role.is_none() {
                port.fail(ProposeError::not_ready("the replica no longer leads"));
            } else {
                proposals.push(proposal);
                self.stepped.push_back(port);
            }
        }
        if proposals.is_empty() {
            return Effects::new();
        }
        self.step(LeaderEvent::Propose { wall_ms: self.runner.cx.clock.wall_ms(), proposals })
    }

    async fn carry_out(&mut self, me: &ActorRef<LeaderMessage>, effects: Effects) {
        for effect in effects {
            match self.runner.carry_out(effect) {
                None => {}
                Some(Effect::StartReplicator { peer, session, prev }) => {
                    self.start_replicator(me, peer, session, prev).await;
                }
                Some(Effect::StopReplicator { peer }) => {
                    if let Some((_, replicator)) = self.replicators.remove(&peer) {
                        replicator.stop(Some("its leader no longer needs it".into()));
                    }
                }
                Some(Effect::ToReplicator { peer, event }) => self.tell(&peer, event),
                Some(Effect::Accepted { first, term, count }) => self.accepted(first, term, count),
                Some(Effect::Refused { count, reason }) => self.refused(count, reason),
                Some(Effect::ReadLog { reader, from, through, bytes_max }) => {
                    if let quorate_core::Reader::Replicator { peer, session } = reader
                        && let Some((current, to)) = self.replicators.get(&peer)
                        && *current == session
                    {
                        self.runner.read_for_replicator(to, session, from, through, bytes_max);
                    }
                }
                Some(other) => unreachable!("the runner carries out {other:?}"),
            }
        }
        self.runner.arm(me, LeaderMessage::Tick);
    }

    fn tell(&self, peer: &NodeId, event: ReplicatorEvent) {
        if let Some((_, replicator)) = self.replicators.get(peer) {
            // One that just ended is started anew when its end is reported.
            let _ = replicator.cast(ReplicatorMessage::Event(event));
        }
    }

    /// Index and term are given: port and permit move to the applier and survive this role (`docs/safety.md` 12).
    fn accepted(&mut self, first: Index, term: Term, count: usize) {
        let ports = self.stepped.drain(..count).collect();
        self.runner.to_applier(ApplierMessage::Waiters { first, term, ports });
    }

    fn refused(&mut self, count: usize, reason: Refusal) {
        let in_flight = self.stepped.len();
        for port in self.stepped.drain(..count) {
            port.fail(match reason {
                Refusal::Busy => ProposeError::Busy { in_flight },
                Refusal::NoSpace => ProposeError::NoSpace,
                Refusal::TooLarge => {
                    let bytes_max = quorate_core::PAYLOAD_BYTES_MAX;
                    ProposeError::TooLarge { bytes: bytes_max + 1, bytes_max }
                }
                Refusal::Transferring => ProposeError::not_ready("leadership is being handed over"),
                Refusal::NotLeader => ProposeError::not_ready("the replica no longer leads"),
                Refusal::ChangeInProgress => ProposeError::not_ready("a membership change is in progress"),
            });
        }
    }

    async fn start_replicator(
        &mut self,
        me: &ActorRef<LeaderMessage>,
        peer: NodeId,
        session: ReplicationSession,
        prev: LogId,
    ) {
        if let Some((_, old)) = self.replicators.remove(&peer) {
            old.stop(Some("another session begins".into()));
        }
        let Some(leader) = &self.runner.role else { return };
        let (cx, state) = (&self.runner.cx, leader.state());
        let term = state.term();
        let name = format!("{}/group/{}/replicator/{peer}/{term}.{session}", cx.name_prefix, cx.name);
        let start = ReplicatorStart {
            leader: me.clone(),
            clock: cx.clock.clone(),
            config: cx.core.clone(),
            me: cx.node.clone(),
            boot: state.boot(),
            term,
            peer: peer.clone(),
            session,
            last: prev,
            commit: state.commit(),
            round: leader.round(),
            remote: cx.remote(&peer),
        };
        match Actor::spawn_linked(Some(name), ReplicatorActor, start, me.get_cell()).await {
            Ok((replicator, _)) => {
                self.replicators.insert(peer, (session, replicator));
            }
            // Without a replicator the peer stays behind, which check-quorum sees; a name in use is a bug of ours.
            Err(error) => panic!("replicator of {peer} does not start: {error}"),
        }
    }

    fn status(&self) -> Option<RoleStatus> {
        let mut status = self.runner.status()?;
        let now = self.runner.cx.clock.now();
        status.peers = self.runner.role.as_ref().map(|leader| leader.peers(now)).unwrap_or_default();
        Some(status)
    }
}

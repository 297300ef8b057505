//! The leader's actor: stage 1 of 7 (Proposed) ends here, and stage 2 (Appended) is core's `Leader`.
//!
//! Owns the core `Leader`, the proposals queued for the next flush, and supervises a replicator per peer. Hears
//! handles, Sessions, Group, the log store, the applier and its replicators. Asks the log store, the applier and,
//! through its replicators, its peers. Never decides: that is core's part. A crash loses what is in memory: proposals
//! that had no index yet are answered *unknown*; Group reloads the rest from disk under a new epoch. Bound: proposals
//! by the permits of the handles and by `uncommitted_bytes_max`, above which they are refused as busy.
//!
//! The first proposal to arrive casts `Flush` to the actor itself. What is queued when the flush is handled is stepped
//! at once: one write, one message per peer and one `Waiters` for all of them. While an earlier write of this log is under
//! way proposals are held for the next one, as they would be in the store, but at most `HOLD_MAX`: the same entries then
//! cost fewer messages, and fewer writes on every node.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_bridge::kill_below;
use quorate_core::{
    Effect, Effects, Index, Leader, LeaderEvent, LogId, NodeId, Reader, Refusal, ReplicationSession,
    ReplicatorEvent, Term, TransferRefusal,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::error::{BusyCause, NotReadyReason, ProposeError};
use crate::messages::applier::ApplierMessage;
use crate::messages::replicator::{ReplicatorMessage, ReplicatorRef};
use crate::messages::role::{LeaderMessage, RoleStatus, Submission, TransferPort};
use crate::ports::ProposalPort;
use crate::role::members::MembersCalls;
use crate::role::replicator::{ReplicatorActor, ReplicatorStart};
use crate::role::runner::{RoleStart, Runner};
use crate::supervision::ended;

/// Longest time a proposal is held for the write before it; after that it goes to the followers without waiting for the disk.
const HOLD_MAX: Duration = Duration::from_millis(2);

pub(crate) struct LeaderState {
    runner: Runner<Leader>,
    /// Proposals that wait for the next flush.
    queued: Vec<Submission>,
    /// Whether `Flush` is in the mailbox for them.
    flushing: bool,
    /// Ports of proposals that core has stepped and neither accepted nor refused yet, in order.
    stepped: VecDeque<ProposalPort>,
    /// Who asked for the transfer that is being stepped. Dropped if this role has stepped down.
    transfer_port: Option<TransferPort>,
    members: MembersCalls,
    replicators: BTreeMap<NodeId, (ReplicationSession, ReplicatorRef)>,
}

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
            queued: Vec::new(),
            flushing: false,
            stepped: VecDeque::new(),
            transfer_port: None,
            members: MembersCalls::default(),
            replicators: BTreeMap::new(),
        };
        state.run_effects(&me, effects).await;
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<LeaderMessage>,
        message: LeaderMessage,
        state: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        let effects = match message {
            LeaderMessage::Event(event) => state.runner.step_event(event),
            LeaderMessage::Propose(submissions) => {
                state.queue_proposals(&me, submissions);
                return Ok(());
            }
            LeaderMessage::Flush => state.append_queued(),
            LeaderMessage::Read(ports) => {
                if state.runner.queue_reads(ports) {
                    let _ = me.cast(LeaderMessage::FlushReads);
                }
                return Ok(());
            }
            LeaderMessage::FlushReads => state.runner.step_reads(),
            LeaderMessage::Fetch { peer, session, from, bytes_max } => {
                state.step(LeaderEvent::Fetch { peer, session, from, bytes_max })
            }
            LeaderMessage::Transfer { to, reply } => {
                state.transfer_port = reply;
                state.step(LeaderEvent::Transfer { to })
            }
            LeaderMessage::Members(call, port) => match state.members.hear(&state.runner, call, port) {
                Some(event) => state.step(event),
                None => return Ok(()),
            },
            LeaderMessage::PeerKnown { peer, incarnation } => {
                let wall_ms = state.runner.cx.clock.wall_ms();
                state.step(LeaderEvent::Incarnation { peer, incarnation, wall_ms })
            }
            LeaderMessage::Tick(generation) => state.runner.step_tick(generation),
            LeaderMessage::Inspect(reply) => {
                // A role that ended has no status, and an asker may have given up.
                let _ = state.status().map(|status| reply.send(status));
                Effects::new()
            }
            LeaderMessage::Panic => {
                kill_below(&me.get_cell());
                panic!("told to panic")
            }
        };
        state.run_effects(&me, effects).await;
        state.transfer_port = None;
        Ok(())
    }

    /// Ends the replicators by age. ractor would end them in the order of a `HashMap`, and one seed of a simulation would
    /// have several traces.
    async fn post_stop(
        &self,
        me: ActorRef<LeaderMessage>,
        _: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        kill_below(&me.get_cell());
        Ok(())
    }

    /// A replicator that ended by itself (a panic, or a stop from outside) is started again in a new replication session.
    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<LeaderMessage>,
        event: SupervisionEvent,
        state: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, why)) = ended(event) else { return Ok(()) };
        let lost = state.replicators.iter().find(|(_, (_, actor))| actor.get_id() == who.get_id());
        let Some(peer) = lost.map(|(peer, _)| peer.clone()) else { return Ok(()) };
        tracing::warn!(node = %state.runner.cx.node, group = %state.runner.cx.name, %peer, reason = why, "restarting replicator");
        state.replicators.remove(&peer);
        let effects = state.step(LeaderEvent::ReplicatorLost { peer });
        state.run_effects(&me, effects).await;
        Ok(())
    }
}

impl LeaderState {
    fn step(&mut self, event: LeaderEvent) -> Effects {
        let now = self.runner.cx.clock.now();
        self.runner.role.as_mut().map(|leader| leader.step(now, event)).unwrap_or_default()
    }

    fn queue_proposals(&mut self, me: &ActorRef<LeaderMessage>, submissions: Vec<Submission>) {
        if self.runner.role.is_none() {
            for submission in submissions {
                submission.port.fail(ProposeError::not_ready(NotReadyReason::SteppedDown));
            }
            return;
        }
        let is_first = self.queued.is_empty();
        self.queued.extend(submissions);
        if self.write_under_way() && is_first {
            drop(me.send_after(HOLD_MAX, || LeaderMessage::Flush));
        }
        self.flush_unless_held(me);
    }

    /// Whether a write of this log is under way.
    fn write_under_way(&self) -> bool {
        let state = self.runner.role.as_ref().map(Leader::state);
        state.is_some_and(|state| state.durable() < state.tail().last().index)
    }

    fn flush_unless_held(&mut self, me: &ActorRef<LeaderMessage>) {
        if !self.queued.is_empty() && !self.flushing && !self.write_under_way() {
            self.flushing = me.cast(LeaderMessage::Flush).is_ok();
        }
    }

    fn append_queued(&mut self) -> Effects {
        self.flushing = false;
        let waits_for_room = self.runner.cx.disk.waits_for_room();
        let in_flight = self.uncommitted() + self.queued.len();
        let mut proposals = Vec::with_capacity(self.queued.len());
        for Submission { proposal, port } in self.queued.drain(..) {
            if self.runner.role.is_none() {
                port.fail(ProposeError::not_ready(NotReadyReason::SteppedDown));
            } else if waits_for_room {
                // Flushes and compactions are behind. Whatever is appended now would wait for them, too.
                port.fail(ProposeError::Busy { in_flight, cause: BusyCause::Disk });
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

    async fn run_effects(&mut self, me: &ActorRef<LeaderMessage>, effects: Effects) {
        self.members.answer_ended(self.runner.role.as_ref());
        for effect in effects {
            match self.runner.run_effect(effect) {
                None => {}
                Some(Effect::ChangeBegun { index }) => self.members.begun(&self.runner, Ok(index)),
                Some(Effect::ChangeRefused(refusal)) => self.members.begun(&self.runner, Err(refusal)),
                Some(Effect::StartReplicator { peer, session, prev }) => {
                    self.spawn_replicator(me, peer, session, prev).await;
                }
                Some(Effect::StopReplicator { peer }) => {
                    if let Some((_, replicator)) = self.replicators.remove(&peer) {
                        replicator.stop(Some("its leader no longer needs it".into()));
                    }
                    if self.runner.sends_to.remove(&peer) {
                        self.runner.cx.roster.sends_to(self.runner.cx.id, &self.runner.sends_to);
                    }
                }
                Some(Effect::ToReplicator { peer, event }) => self.tell_replicator(&peer, event),
                Some(Effect::Accepted { first, term, count }) => self.hand_ports_over(first, term, count),
                Some(Effect::Refused { count, reason }) => self.refuse_ports(count, reason),
                Some(Effect::TransferBegun { to }) => self.answer_transfer(Ok(to)),
                Some(Effect::TransferRefused(refusal)) => self.answer_transfer(Err(refusal)),
                Some(Effect::ReadLog { reader, from, through, bytes_max }) => {
                    if let Reader::Replicator { peer, session } = reader
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
        self.flush_unless_held(me);
    }

    fn tell_replicator(&self, peer: &NodeId, event: ReplicatorEvent) {
        if let Some((_, replicator)) = self.replicators.get(peer) {
            // One that just ended is started again when its end is reported.
            let _ = replicator.cast(ReplicatorMessage::Event(event));
        }
    }

    /// The proposals have an index and a term. Port and permit move to the applier and survive this role
    /// (`docs/safety.md` 12).
    fn hand_ports_over(&mut self, first: Index, term: Term, count: usize) {
        let ports = self.stepped.drain(..count).collect();
        self.runner.to_applier(ApplierMessage::Waiters { first, term, ports });
    }

    fn refuse_ports(&mut self, count: usize, reason: Refusal) {
        let uncommitted = self.uncommitted();
        let state = self.runner.role.as_ref().map(Leader::state);
        let unapplied = state.map_or(0, |state| state.apply_lag().0 as usize);
        let space = self.runner.cx.disk.space();
        let full = self.full_voters();
        for port in self.stepped.drain(..count) {
            port.fail(match reason {
                Refusal::Uncommitted => {
                    ProposeError::Busy { in_flight: uncommitted, cause: BusyCause::Uncommitted }
                }
                Refusal::Unapplied => {
                    ProposeError::Busy { in_flight: unapplied, cause: BusyCause::Unapplied }
                }
                Refusal::NoSpace => ProposeError::no_space(&self.runner.cx.node, space),
                Refusal::NoSpaceAtPeers => {
                    ProposeError::no_space_at(&self.runner.cx.node, space, full.clone())
                }
                Refusal::TooLarge { bytes, bytes_max } => ProposeError::TooLarge { bytes, bytes_max },
                Refusal::Transferring => ProposeError::not_ready(NotReadyReason::Transferring),
            });
        }
    }

    fn answer_transfer(&mut self, answer: Result<NodeId, TransferRefusal>) {
        if let Some(port) = self.transfer_port.take() {
            let _ = port.send(answer);
        }
    }

    /// How many entries of this leader's log wait for a majority.
    fn uncommitted(&self) -> usize {
        let state = self.runner.role.as_ref().map(Leader::state);
        state.map_or(0, |state| (state.tail().last().index.0 - state.commit().0) as usize)
    }

    /// The voters whose full disks keep this leader from committing.
    fn full_voters(&self) -> Vec<String> {
        let now = self.runner.cx.clock.now();
        let full = self.runner.role.as_ref().map(|leader| leader.full_voters(now));
        full.unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    async fn spawn_replicator(
        &mut self,
        me: &ActorRef<LeaderMessage>,
        peer: NodeId,
        session: ReplicationSession,
        prev: LogId,
    ) {
        if let Some((_, old)) = self.replicators.remove(&peer) {
            old.stop(Some("a new replication session begins".into()));
        }
        let Some(leader) = &self.runner.role else { return };
        if self.runner.sends_to.insert(peer.clone()) {
            self.runner.cx.roster.sends_to(self.runner.cx.id, &self.runner.sends_to);
        }
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
            group: cx.id,
            roster: cx.roster.clone(),
        };
        match Actor::spawn_linked(Some(name), ReplicatorActor, start, me.get_cell()).await {
            Ok((replicator, _)) => {
                self.replicators.insert(peer, (session, replicator));
            }
            // A spawn fails only if the name is taken. Names contain the replication session, so that would be a bug.
            Err(error) => panic!("replicator of {peer} does not start: {error}"),
        }
    }

    fn status(&self) -> Option<RoleStatus> {
        let mut status = self.runner.status()?;
        let now = self.runner.cx.clock.now();
        status.full_voters = self.full_voters();
        status.peers = self.runner.role.as_ref().map(|leader| leader.peers(now)).unwrap_or_default();
        Some(status)
    }
}

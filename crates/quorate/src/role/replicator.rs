//! The replicator's actor, one per peer: stage 4 of 7, Replicated; from Appended to the peer's Session.
//!
//! Owns the core `Replicator`. Hears its leader, the log store (entries read for it) and its timer. Asks its leader for
//! entries and sends to the peer over the bridge. Never touches term, vote or role, and never answers for the leader:
//! acknowledgements go to the role. A crash loses its window; the leader starts another one in a new replication
//! session. Bound: the window, in messages and bytes.

use std::sync::Arc;

use quorate_bridge::{Class, RemoteRef};
use quorate_core::{
    AppendEntries, Body, Boot, Config, GroupId, Index, LogId, Message, NodeId, ReplicationSession,
    Replicator, ReplicatorEffect, ReplicatorEvent, Round, Term,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::clock::Clock;
use crate::messages::replicator::ReplicatorMessage;
use crate::messages::role::LeaderMessage;
use crate::protocol::GroupProtocol;
use crate::role::outbound::Outbound;
use crate::role::timer::Timer;
use crate::roster::Roster;

/// What a replicator starts with.
pub(crate) struct ReplicatorStart {
    pub(crate) leader: ActorRef<LeaderMessage>,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) me: NodeId,
    pub(crate) boot: Boot,
    pub(crate) term: Term,
    pub(crate) peer: NodeId,
    pub(crate) session: ReplicationSession,
    pub(crate) last: LogId,
    pub(crate) commit: Index,
    pub(crate) round: Round,
    pub(crate) remote: Option<RemoteRef<GroupProtocol>>,
    pub(crate) group: GroupId,
    pub(crate) roster: Arc<Roster>,
}

pub(crate) struct ReplicatorState {
    core: Replicator,
    timer: Timer,
    leader: ActorRef<LeaderMessage>,
    clock: Clock,
    me: NodeId,
    boot: Boot,
    term: Term,
    remote: Option<RemoteRef<GroupProtocol>>,
    /// The same, ahead of what is queued for `remote`.
    ahead: Option<RemoteRef<GroupProtocol>>,
    outbound: Outbound,
}

/// The replicator.
pub(crate) struct ReplicatorActor;

impl Actor for ReplicatorActor {
    type Msg = ReplicatorMessage;
    type State = ReplicatorState;
    type Arguments = ReplicatorStart;

    async fn pre_start(
        &self,
        me: ActorRef<ReplicatorMessage>,
        start: ReplicatorStart,
    ) -> Result<ReplicatorState, ActorProcessingErr> {
        let now = start.clock.now();
        let (peer, session, config) = (start.peer, start.session, start.config);
        let (core, effects) =
            Replicator::start(peer, session, config, now, start.last, start.commit, start.round);
        let mut state = ReplicatorState {
            core,
            timer: Timer::default(),
            leader: start.leader,
            clock: start.clock,
            me: start.me,
            boot: start.boot,
            term: start.term,
            ahead: start.remote.clone().map(|remote| remote.with_class(Class::Control)),
            remote: start.remote,
            outbound: Outbound::of(start.group, start.roster),
        };
        state.send_appends(&me, effects);
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<ReplicatorMessage>,
        message: ReplicatorMessage,
        state: &mut ReplicatorState,
    ) -> Result<(), ActorProcessingErr> {
        let event = match message {
            ReplicatorMessage::Event(event) => event,
            ReplicatorMessage::Tick(generation) if state.timer.fired(generation) => ReplicatorEvent::Tick,
            ReplicatorMessage::Tick(_) => return Ok(()),
            ReplicatorMessage::Panic => panic!("told to panic"),
        };
        let effects = state.core.step(state.clock.now(), event);
        state.send_appends(&me, effects);
        Ok(())
    }
}

impl ReplicatorState {
    fn message(&self, append: AppendEntries) -> Message {
        let (from, to) = (self.me.clone(), self.core.peer().clone());
        Message { from, to, boot: self.boot, term: self.term, body: Body::AppendEntries(append) }
    }

    fn send_appends(&mut self, me: &ActorRef<ReplicatorMessage>, effects: Vec<ReplicatorEffect>) {
        for effect in effects {
            match effect {
                ReplicatorEffect::SendAhead(append) => {
                    let message = self.message(append);
                    if let Some(remote) = &self.ahead {
                        self.outbound.send(remote, &message);
                    }
                }
                ReplicatorEffect::Send(append) => {
                    let message = self.message(append);
                    if let Some(remote) = &self.remote {
                        // If it is lost, the reply to the next heartbeat shows the gap.
                        self.outbound.send(remote, &message);
                    }
                }
                ReplicatorEffect::Fetch { from, bytes_max } => {
                    let (peer, session) = (self.core.peer().clone(), self.core.session());
                    let _ = self.leader.cast(LeaderMessage::Fetch { peer, session, from, bytes_max });
                }
            }
        }
        self.timer.arm(me, self.clock.now(), self.core.deadline(), ReplicatorMessage::Tick);
    }
}

//! The follower's and the candidate's actor: both wait for a leader, one of them by asking to be it, and hear the same.
//!
//! Owns its core role and the reads it asked the leader about. Hears Group, Sessions, the log store, the applier and
//! handles. Asks the log store, the applier and, through the bridge, its peers. Never decides: that is core's part. A
//! crash loses what is in memory; Group reloads it from disk under a new epoch. Bound: Raft messages by the windows of
//! the leader's replicators, reads by the permits of the handles.

use std::marker::PhantomData;

use quorate_core::{Candidate, Common, Effects, Follower, ReplicaState, Time};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::group::QueryPort;
use crate::role::runner::{CoreRole, RoleStart, RoleStatus, Runner};

/// What a follower or candidate hears.
pub(crate) enum RoleMessage {
    /// From anyone: what every role hears.
    Common(Common),
    /// From a handle or a Session: a query that wants to be linearizable.
    Read(QueryPort),
    /// From its own timer.
    Tick(u64),
    /// From the node's status: what is it?
    Inspect(RpcReplyPort<RoleStatus>),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// A role that waits for a leader.
pub(crate) struct WaitingActor<R>(PhantomData<fn() -> R>);

pub(crate) type FollowerActor = WaitingActor<Follower>;
pub(crate) type CandidateActor = WaitingActor<Candidate>;

impl<R> WaitingActor<R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// How each of the two begins.
pub(crate) trait Begin: CoreRole + Sized {
    fn begin(state: ReplicaState, now: Time, forced: bool) -> (Self, Effects);
}

impl Begin for Follower {
    fn begin(state: ReplicaState, now: Time, _forced: bool) -> (Self, Effects) {
        Follower::start(state, now)
    }
}

impl Begin for Candidate {
    fn begin(state: ReplicaState, now: Time, forced: bool) -> (Self, Effects) {
        Candidate::start(state, now, forced)
    }
}

impl<R: Begin> Actor for WaitingActor<R> {
    type Msg = RoleMessage;
    type State = Runner<R>;
    type Arguments = RoleStart;

    async fn pre_start(
        &self,
        me: ActorRef<RoleMessage>,
        start: RoleStart,
    ) -> Result<Runner<R>, ActorProcessingErr> {
        let (role, effects) = R::begin(*start.state, start.cx.clock.now(), start.forced);
        let mut runner = Runner::new(role, start.cx, start.group, start.epoch);
        carry_out(&me, &mut runner, effects);
        Ok(runner)
    }

    async fn handle(
        &self,
        me: ActorRef<RoleMessage>,
        message: RoleMessage,
        runner: &mut Runner<R>,
    ) -> Result<(), ActorProcessingErr> {
        let effects = match message {
            RoleMessage::Common(common) => runner.common(common),
            RoleMessage::Read(port) => runner.read(port),
            RoleMessage::Tick(generation) if runner.timer.fired(generation) && runner.role.is_some() => {
                runner.common(Common::Tick)
            }
            RoleMessage::Tick(_) => Effects::new(),
            RoleMessage::Inspect(reply) => {
                // An asker that gave up, or a role that ended: there is nothing to say.
                let _ = runner.status().map(|status| reply.send(status));
                Effects::new()
            }
            RoleMessage::Panic => panic!("told to panic"),
        };
        carry_out(&me, runner, effects);
        Ok(())
    }
}

fn carry_out<R: CoreRole>(me: &ActorRef<RoleMessage>, runner: &mut Runner<R>, effects: Effects) {
    for effect in effects {
        let left = runner.carry_out(effect);
        assert!(left.is_none(), "only a leader has replicators and proposals: {left:?}");
    }
    runner.arm(me, RoleMessage::Tick);
}

//! The actor of the follower and of the candidate: both wait for a leader and hear the same messages.
//!
//! Owns its core role and the reads it asked the leader about. Hears Group, Sessions, the log store, the applier and
//! handles. Asks the log store, the applier and, through the bridge, its peers. Never decides: that is core's part. A
//! crash loses what is in memory; Group reloads it from disk under a new epoch. Bound: Raft messages by the windows of
//! the leader's replicators, reads by the permits of the handles.

use std::marker::PhantomData;

use quorate_core::{Candidate, Effects, Follower, ReplicaState, Time};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::messages::role::RoleMessage;
use crate::role::runner::{CoreRole, RoleStart, Runner};

/// A role that waits for a leader.
pub(crate) struct WaitingActor<R> {
    /// A candidate that the leader asked to campaign: it skips the pre-vote.
    forced: bool,
    role: PhantomData<fn() -> R>,
}

impl<R> WaitingActor<R> {
    pub(crate) fn new(forced: bool) -> Self {
        Self { forced, role: PhantomData }
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
        let (role, effects) = R::begin(*start.state, start.cx.clock.now(), self.forced);
        let mut runner = Runner::new(role, start.cx, start.group, start.epoch);
        run_effects(&me, &mut runner, effects);
        Ok(runner)
    }

    async fn handle(
        &self,
        me: ActorRef<RoleMessage>,
        message: RoleMessage,
        runner: &mut Runner<R>,
    ) -> Result<(), ActorProcessingErr> {
        let effects = match message {
            RoleMessage::Event(event) => runner.step_event(event),
            RoleMessage::Read(ports) => {
                if runner.queue_reads(ports) {
                    let _ = me.cast(RoleMessage::FlushReads);
                }
                return Ok(());
            }
            RoleMessage::FlushReads => runner.step_reads(),
            RoleMessage::Tick(generation) => runner.step_tick(generation),
            RoleMessage::Inspect(reply) => {
                // A role that ended has no status, and an asker may have given up.
                let _ = runner.status().map(|status| reply.send(status));
                Effects::new()
            }
            RoleMessage::Panic => panic!("told to panic"),
        };
        run_effects(&me, runner, effects);
        Ok(())
    }
}

fn run_effects<R: CoreRole>(me: &ActorRef<RoleMessage>, runner: &mut Runner<R>, effects: Effects) {
    for effect in effects {
        let rest = runner.run_effect(effect);
        assert!(rest.is_none(), "only a leader has replicators and proposals: {rest:?}");
    }
    runner.arm(me, RoleMessage::Tick);
}

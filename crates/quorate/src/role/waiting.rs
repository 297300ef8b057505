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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::time::Duration;

    use crate::roster::Roster;
    use quorate_core::{
        Boot, Config, Epoch, GroupId, HardRecord, Hash, Index, Loaded, Member, Membership, MembershipLog,
        NodeId, Position, ReadId, RoleEvent, Tail,
    };
    use quorate_store::{SimDisk, Store, StoreOptions, StoreThread};
    use tokio::sync::{Semaphore, oneshot, watch};

    use super::*;
    use crate::clock::Clock;
    use crate::config::NodeConfig;
    use crate::context::{GroupContext, SnapshotContext};
    use crate::error::QueryError;
    use crate::host::workers::Workers;
    use crate::messages::group::GroupMessage;
    use crate::ports::{Answered, QueryPort, TypedQuery};
    use crate::recovering::RecoveringPeers;
    use crate::route_watch::RouteSender;

    thread_local! {
        /// How many queries each step was for.
        static STEPS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    /// A role that counts.
    struct Counting(ReplicaState);

    impl CoreRole for Counting {
        const NAME: &'static str = "counting";

        fn role_event(&mut self, _: Time, _: RoleEvent) -> Effects {
            Effects::new()
        }

        fn read(&mut self, _: Time, reads: Vec<ReadId>) -> Effects {
            STEPS.with_borrow_mut(|steps| steps.push(reads.len()));
            Effects::new()
        }

        fn deadline(&self) -> Option<Time> {
            None
        }

        fn state(&self) -> &ReplicaState {
            &self.0
        }

        fn into_state(self) -> ReplicaState {
            self.0
        }
    }

    impl Begin for Counting {
        fn begin(state: ReplicaState, _: Time, _: bool) -> (Self, Effects) {
            (Self(state), Effects::new())
        }
    }

    struct Silent;

    impl Actor for Silent {
        type Msg = GroupMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<GroupMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    fn node() -> NodeId {
        NodeId::new("node0").expect("a legal name")
    }

    fn context() -> GroupContext {
        let options = StoreOptions::new(node(), Some(Hash::of(b"cluster")), 9);
        let (store, _) = Store::open(Box::new(SimDisk::new()), options).expect("an empty disk opens");
        let fatal = Arc::new(|fatal| panic!("no disk failed: {fatal:?}"));
        let disk = StoreThread::inline(store, Duration::from_secs(1), fatal);
        GroupContext {
            id: GroupId::of_name("g"),
            name: "g".to_owned(),
            node: node(),
            name_prefix: String::new(),
            clock: Clock::start(None),
            core: Config::default(),
            store: watch::channel(None).1,
            snapshot: SnapshotContext::new(&disk, Workers::Caller, &NodeConfig::default()),
            disk,
            workers: Workers::Caller,
            roster: Arc::new(Roster::new(node(), quorate_core::Incarnation(1), false, BTreeMap::new())),
            bridge: None,
            replay: Arc::default(),
            recovering: RecoveringPeers::new(),
            route: RouteSender::new(),
        }
    }

    fn state() -> ReplicaState {
        let founding = Membership::of_voters([(node(), Member::default())].into(), 7);
        let loaded = Loaded {
            me: node(),
            boot: Boot::ZERO,
            hard_state: HardRecord::default().into(),
            tail: Tail::new(Position::ORIGIN),
            memberships: MembershipLog::new(Index::ZERO, founding),
            commit: Index::ZERO,
            applied: quorate_core::LogId::default(),
            unmet: BTreeSet::new(),
            entropy: 9,
        };
        ReplicaState::new(loaded, Config::default())
    }

    type Answer = oneshot::Receiver<Result<Answered<()>, QueryError>>;

    fn query(places: &Arc<Semaphore>) -> (QueryPort, Answer) {
        let (sender, answer) = oneshot::channel();
        let permit = places.clone().try_acquire_owned().expect("there are places");
        (QueryPort::Local(Box::new(TypedQuery { query: (), sender, permit })), answer)
    }

    /// Each was a step, which counts a quorum and looks for what to send, and asked the leader by itself.
    #[tokio::test]
    async fn queries_that_are_queued_are_one_step() {
        let (group, group_ended) = Actor::spawn(None, Silent, ()).await.expect("it has no name");
        let (cx, epoch) = (Arc::new(context()), Epoch::ZERO);
        let start = RoleStart { cx, group: group.clone(), epoch, state: Box::new(state()) };
        let role = WaitingActor::<Counting>::new(false);
        let (role, role_ended) = Actor::spawn(None, role, start).await.expect("it has no name");
        let (places, mut answers) = (Arc::new(Semaphore::new(8)), Vec::new());
        for rounds in 1..=2 {
            // Nothing runs in between: the role has all of them in its mailbox.
            for queries in [1, 2, 1] {
                let (ports, waits): (Vec<_>, Vec<_>) = (0..queries).map(|_| query(&places)).unzip();
                role.cast(RoleMessage::Read(ports)).expect("it runs");
                answers.extend(waits);
            }
            // The first answer is on its way before the step, the second after it.
            for _ in 0..2 {
                ractor::call!(role, RoleMessage::Inspect).expect("it answers");
            }
            assert_eq!(STEPS.with_borrow(Clone::clone), vec![4; rounds]);
        }
        role.stop(None);
        role_ended.await.expect("it ends");
        group.stop(None);
        group_ended.await.expect("it ends");
    }
}

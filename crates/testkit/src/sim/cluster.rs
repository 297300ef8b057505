//! What a script holds: the nodes, their network and their disks, and the simulated time.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate::store::{Crash, Rot, SimDisk, SimImage};
use quorate::{
    ActorStatus, Client, ClientOptions, Consistency, GroupHandle, Injury, Node, NodeFailure, ProposeError,
    QueryError, StateMachine,
};
use tokio::sync::oneshot;

use super::faults::MachineFaults;
use super::host::{NodeState, PORT, Work};
use super::net::SimNet;
use super::world::{Job, World};

/// The host of the script and its clients.
pub(super) const SCRIPT: &str = "script";

/// How long [`Cluster::restart`] waits for a node to be up.
pub const START_MAX: Duration = Duration::from_secs(5);

/// Why work on a node has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It was not begun: nothing of it happens.
    #[error("the node does not run")]
    Down,
    /// The node ended before the work was done; how much of it happened is not known.
    #[error("the node ended meanwhile")]
    Ended,
}

/// What the monotonic clock of a process did while the process was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonotonicClock {
    /// It went on, as for a process that was stopped and continued: all its timers are due.
    WentOn,
    /// It stood still with the process, as that of a virtual machine may.
    StoodStill,
}

/// A simulated cluster, held by the script of a simulation. `G` is what [`Simulation::run_with`] opened on each node.
/// Nodes are counted from zero; their ids are `node0`, `node1` and so on. Clones are the same cluster.
///
/// [`Simulation::run_with`]: super::Simulation::run_with
pub struct Cluster<G> {
    world: Rc<World<G>>,
}

impl<G> Clone for Cluster<G> {
    fn clone(&self) -> Self {
        Self { world: self.world.clone() }
    }
}

impl<G> std::fmt::Debug for Cluster<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({} nodes, {:?})", self.nodes(), self.now())
    }
}

impl<G: Clone + 'static> Cluster<G> {
    /// Does something on a node, on the node's own runtime and clock, and waits for it. A crash of the node ends it.
    ///
    /// Handles belong to their node: use them in here, and do not carry them away.
    pub async fn on<T, F, Fut>(&self, at: usize, work: F) -> Result<T, NotDone>
    where
        T: 'static,
        F: FnOnce(Node, G) -> Fut + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let works = self.world.host_mut(at).works.clone().ok_or(NotDone::Down)?;
        let (reply, result) = oneshot::channel();
        let work: Work<G> = Box::new(move |node, groups| {
            Box::pin(async move {
                // A script that no longer waits has no use for the result.
                let _ = reply.send(work(node, groups).await);
            })
        });
        works.try_send(work).map_err(|_| NotDone::Down)?;
        drop(works);
        result.await.map_err(|_| NotDone::Ended)
    }

    /// The node that leads this group in the highest term, if any says so.
    pub async fn leader(&self, group: &str) -> Option<usize> {
        let mut newest = None;
        for at in (0..self.nodes()).filter(|at| !self.is_paused(*at)) {
            let Ok(groups) = self.on(at, |node, _| async move { node.groups().await }).await else {
                continue;
            };
            let role = groups.into_iter().find(|status| status.group == group).and_then(|status| status.role);
            if let Some(role) = role.filter(|role| role.role == "leader") {
                newest = newest.max(Some((role.term, at)));
            }
        }
        newest.map(|(_, at)| at)
    }

    /// Waits until one leads.
    ///
    /// # Panics
    ///
    /// If there is none within `patience` of simulated time.
    pub async fn wait_for_leader(&self, group: &str, patience: Duration) -> usize {
        self.wait_for("a leader", patience, async || self.leader(group).await).await
    }

    /// Waits until another one leads: a leader that was cut off does not know yet that it is none.
    ///
    /// # Panics
    ///
    /// If there is none within `patience` of simulated time.
    pub async fn wait_for_other_leader(&self, group: &str, old: usize, patience: Duration) -> usize {
        let other = async || self.leader(group).await.filter(|leader| *leader != old);
        self.wait_for("another leader", patience, other).await
    }

    /// Looks again and again until there is something.
    ///
    /// # Panics
    ///
    /// If there is no answer within `patience` of simulated time.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let give_up = self.now() + patience;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(self.now() < give_up, "no {what} after {patience:?} at {:?}", self.now());
            self.pause(Duration::from_millis(10)).await;
        }
    }

    /// Every actor of a node; none if it does not run.
    pub async fn actors(&self, at: usize) -> Vec<ActorStatus> {
        self.on(at, |node, _| async move { node.actors() }).await.unwrap_or_default()
    }

    /// Hurts an actor of a node, by its name in [`actors`](Self::actors). `false` if there is none of that name.
    pub async fn injure(&self, at: usize, actor: &str, injury: Injury) -> bool {
        self.note(format_args!("node{at}: {injury:?} {actor}"));
        let actor = actor.to_owned();
        self.on(at, move |node, _| async move { node.injure(&actor, injury) }).await.unwrap_or(false)
    }

    /// Stops a node in order: leadership handed over, callers answered. Its host stays idle until
    /// [`restart`](Self::restart).
    pub async fn stop(&self, at: usize) {
        self.note(format_args!("node{at}: told to stop"));
        // It ends the node, and so perhaps this work.
        let _ = self.on(at, |node, _| async move { node.stop().await }).await;
    }
}

impl<G> Cluster<G> {
    pub(super) fn new(world: Rc<World<G>>) -> Self {
        Self { world }
    }

    /// A client outside of the cluster, as an application has one: it dials every node over the simulated network, finds
    /// the leader and retries under a session. All clients are on the script's host; no partition between nodes reaches
    /// them, [`partition_clients`](Self::partition_clients) does.
    ///
    /// # Panics
    ///
    /// If it does not start, which only a mistake here can cause.
    pub async fn client(&self, options: ClientOptions) -> Client {
        let addresses: Vec<String> = self.world.names().iter().map(|name| format!("{name}:{PORT}")).collect();
        let net = Arc::new(SimNet::default());
        let client = Client::connect_over(net, self.world.client_entropy(), addresses, options).await;
        client.expect("every node has an address")
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.world.nodes()
    }

    /// Whether a node runs.
    pub fn state(&self, at: usize) -> NodeState {
        self.world.host_mut(at).state.clone()
    }

    /// Why a node ended by itself since its last start; `None` if it runs, was told to stop, or could not start.
    pub fn failure(&self, at: usize) -> Option<NodeFailure> {
        self.world.host_mut(at).failure.clone()
    }

    /// How often a node was started.
    pub fn boots(&self, at: usize) -> u64 {
        self.world.host_mut(at).boots
    }

    /// The disk of a node, to make it slow, stalled, full or to fail a sync. A crash replaces it by what it left.
    pub fn disk(&self, at: usize) -> SimDisk {
        self.world.host_mut(at).disk.clone()
    }

    /// Damages the disk of a node that is down. What it says of that at its start is no sign of a bug.
    pub fn damage(&self, at: usize, rot: &Rot) {
        let image = self.disk(at).crash(Crash::Process).rot(rot);
        self.replace_disk(at, image);
        self.world.trace.excuse(&self.world.host_mut(at).name, true);
    }

    /// Gives a node that is down another disk.
    ///
    /// # Panics
    ///
    /// If it is not down: it would write to the old one.
    pub fn replace_disk(&self, at: usize, image: SimImage) {
        {
            let mut host = self.world.host_mut(at);
            assert_eq!(host.state, NodeState::Down, "{} uses its disk", host.name);
            host.disk = SimDisk::from_image(image);
            self.world.trace.excuse(&host.name, false);
        }
        self.world.pace(at);
    }

    /// From its next start on a node is told to join the cluster of the others, in place of their list: with an empty disk it is taken in
    /// as a new member, or waits until it is told to replace the one of its name.
    pub fn joins(&self, at: usize) {
        self.world.host_mut(at).joins = true;
    }

    /// What is wrong with the machine of a group on a node, a [`FaultyMachine`](super::FaultyMachine).
    pub fn machine(&self, at: usize, group: &str) -> MachineFaults {
        self.world.host_mut(at).machines.of_group(group)
    }

    /// What a node may send in a second from now on; zero: no limit.
    pub fn set_bandwidth(&self, at: usize, bytes_per_second: u64) {
        self.note(format_args!("node{at}: {bytes_per_second} bytes a second"));
        self.world.host_mut(at).wire.set_bytes_per_second(bytes_per_second);
    }

    /// Nothing of a node runs any more, as after SIGSTOP: its connections stay open and take bytes until their buffers are full. What is
    /// asked of it waits until [`continue_process`](Self::continue_process). Has no effect on a host that is down.
    pub fn pause_process(&self, at: usize) {
        let mut host = self.world.host_mut(at);
        if host.state != NodeState::Down && host.paused_at.is_none() {
            self.note(format_args!("node{at} is paused"));
            host.paused_at = Some(self.world.trace.now_ms());
        }
    }

    /// A paused process runs again.
    pub fn continue_process(&self, at: usize, clock: MonotonicClock) {
        let mut host = self.world.host_mut(at);
        if let Some(since_ms) = host.paused_at.take() {
            let missed = Duration::from_millis(self.world.trace.now_ms() - since_ms);
            self.note(format_args!("node{at} goes on after {missed:?}, its clock {clock:?}"));
            if clock == MonotonicClock::WentOn {
                host.jump += missed;
            }
        }
    }

    /// Whether a node is paused.
    pub fn is_paused(&self, at: usize) -> bool {
        self.world.host_mut(at).paused_at.is_some()
    }

    /// A node's monotonic clock jumps ahead, and all its timers with it, as after a suspension that no peer noticed.
    pub fn jump_clock(&self, at: usize, span: Duration) {
        self.note(format_args!("node{at}: its clock jumps ahead by {span:?}"));
        self.world.host_mut(at).jump += span;
    }

    /// Simulated time since the beginning.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.world.trace.now_ms())
    }

    /// Lets simulated time pass.
    #[expect(clippy::disallowed_methods, reason = "simulated time: no real time passes")]
    pub async fn pause(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Adds a line to the trace.
    pub fn note(&self, event: std::fmt::Arguments<'_>) {
        self.world.trace.note(event);
    }

    /// A node's wall clock is wrong by this from now on, through crashes too. Nothing but stamps may depend on it.
    pub fn shift_wall_clock(&self, at: usize, wrong_by_ms: i64) {
        self.note(format_args!("node{at}: wall clock wrong by {wrong_by_ms} ms"));
        self.world.host_mut(at).skew_ms.store(wrong_by_ms, Ordering::Relaxed);
    }

    /// The machine stops: what was not synced is lost, kept or torn, and everything in memory is gone. Its peers see
    /// connections end, as when a process is killed; cut it off first for a machine that goes silent.
    pub async fn crash(&self, at: usize, crash: Crash) {
        self.world.ask(Job::Crash { at, crash });
        self.carried_out().await;
    }

    /// Starts a node again that was crashed or ended; one that runs is crashed first and loses what was not synced.
    /// Waits until it is up, or has ended again, for [`START_MAX`] at most: a disk may do nothing.
    pub async fn restart(&self, at: usize) {
        self.world.ask(Job::Restart { at });
        self.carried_out().await;
        let give_up = self.now() + START_MAX;
        while self.state(at) == NodeState::Starting && self.now() < give_up {
            self.carried_out().await;
        }
    }

    /// Of a million segments on the network, so many break the connection between two hosts until the loss is noticed and
    /// the connection made again. Zero at the beginning, unless the simulation was built otherwise.
    pub async fn lose(&self, per_million: u32) {
        self.world.ask(Job::Loss { per_million });
        self.carried_out().await;
    }

    async fn carried_out(&self) {
        self.pause(Duration::from_millis(2 * self.world.tick_ms)).await;
    }

    /// Nothing passes between the nodes of one side and those of the other. What is on its way is lost.
    pub fn partition(&self, one: &[usize], other: &[usize]) {
        self.note(format_args!("cut {one:?} from {other:?}"));
        self.pairs(one, other, turmoil::partition);
    }

    /// A node is cut off from all others.
    pub fn isolate(&self, at: usize) {
        let others: Vec<usize> = (0..self.nodes()).filter(|other| *other != at).collect();
        self.partition(&[at], &others);
    }

    /// Nothing passes from one side to the other; the way back stays open.
    pub fn partition_one_way(&self, from: &[usize], to: &[usize]) {
        self.note(format_args!("cut the way from {from:?} to {to:?}"));
        self.pairs(from, to, turmoil::partition_oneway);
    }

    /// What is sent between the two sides waits on the way until [`heal`](Self::heal), and then arrives all at once.
    pub fn hold(&self, one: &[usize], other: &[usize]) {
        self.note(format_args!("hold between {one:?} and {other:?}"));
        self.pairs(one, other, turmoil::hold);
    }

    /// Nothing passes between any [client](Self::client) and these nodes.
    pub fn partition_clients(&self, nodes: &[usize]) {
        self.note(format_args!("cut clients from {nodes:?}"));
        for at in nodes {
            turmoil::partition(SCRIPT, self.world.host_mut(*at).name.as_str());
        }
    }

    /// The network is whole again, between all nodes and all clients.
    pub fn heal(&self) {
        self.note(format_args!("the network is whole"));
        let all: Vec<usize> = (0..self.nodes()).collect();
        // Ends partitions too, and lets go what was held.
        self.pairs(&all, &all, turmoil::release);
        for at in all {
            turmoil::release(SCRIPT, self.world.host_mut(at).name.as_str());
        }
    }

    fn pairs(&self, one: &[usize], other: &[usize], act: fn(String, String)) {
        let name = |at: usize| self.world.host_mut(at).name.clone();
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b) {
            act(name(a), name(b));
        }
    }
}

impl<M: StateMachine> Cluster<GroupHandle<M>> {
    /// Replicates a command by way of this node and waits for the machine's reply. The command itself is refused, fails
    /// or is *unknown* as [`GroupHandle::propose`] says; a node that does not run refuses, one that ends meanwhile leaves
    /// it unknown.
    pub async fn propose(&self, at: usize, command: impl Into<M::Command>) -> Result<M::Reply, ProposeError> {
        let command = command.into();
        match self.on(at, move |_, group| async move { group.propose(command).await }).await {
            Ok(result) => result,
            Err(NotDone::Down) => Err(ProposeError::Stopped { detail: NotDone::Down.to_string() }),
            Err(NotDone::Ended) => Err(ProposeError::Unknown { detail: NotDone::Ended.to_string() }),
        }
    }

    /// Asks the machine by way of this node.
    pub async fn query(
        &self,
        at: usize,
        query: impl Into<M::Query>,
        consistency: Consistency,
    ) -> Result<M::Answer, QueryError>
    where
        M::Query: Clone,
    {
        let query = query.into();
        let result = self.on(at, move |_, group| async move { group.query(query, consistency).await }).await;
        result.unwrap_or_else(|error| Err(QueryError::Stopped { detail: error.to_string() }))
    }
}

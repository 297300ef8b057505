//! Settings of a simulation, and the loop that drives it.
//!
//! Theory of operation. Every node has a host of turmoil, which is its kernel with the sockets, and beside it a process with
//! a paused runtime of its own; the script is one more host. A step delivers what the network has for a host, lets the host
//! run for one tick of simulated time, and goes on to the next; then the processes run for a tick, unless they are paused;
//! always in the same order and on one thread. Between steps the driver does what no host can do to itself: it crashes
//! and restarts hosts. Every number that is drawn comes from the seed.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use quorate::store::{Crash, SimDisk};
use quorate::{Config, GroupError, GroupHandle, Node, StateMachine};
use quorate_core::SplitMix64;

use super::cluster::{Cluster, SCRIPT};
use super::host::NodeState;
use super::life::live;
use super::net::SimNet;
use super::seeds::Replay;
use super::trace::Trace;
use super::world::{Job, World};

/// The name of the group that [`Simulation::run`] opens.
pub const GROUP: &str = "main";

/// What a simulation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report<T> {
    /// What the script returned.
    pub value: T,
    /// How much time passed in the simulation.
    pub simulated: Duration,
    /// Events in the trace: what nodes logged, what the script noted, and if the trace is kept every segment on the network.
    pub events: u64,
    /// A digest of the trace. The same seed gives the same digest, in every run of one build, beside whatever it runs; a
    /// trace that is kept has another one, for it contains more.
    pub digest: u64,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
}

/// Settings of a simulation that does not run yet. See the [module](super).
#[derive(Debug, Clone)]
pub struct Simulation {
    seed: u64,
    nodes: usize,
    config: Config,
    latency_ms: (u64, u64),
    loss_per_million: u32,
    disk_latency_ms: (u64, u64),
    tick_ms: u64,
    segments_max: usize,
    connections_max: Option<usize>,
    limit: Duration,
    replay: String,
    keeps_trace: bool,
}

impl Simulation {
    /// Three nodes, a network of 1 to 10 ms, elections in tenths of a second, disks that take no time.
    pub fn new(seed: u64) -> Self {
        let mut config = Config::default();
        config.cluster.election_timeout_ms = 300;
        config.node.heartbeat_interval_ms = 50;
        Self {
            seed,
            nodes: 3,
            config,
            latency_ms: (1, 10),
            loss_per_million: 0,
            disk_latency_ms: (0, 0),
            tick_ms: 1,
            segments_max: 1_024,
            connections_max: None,
            limit: Duration::from_secs(600),
            replay: "and the same test".to_owned(),
            keeps_trace: false,
        }
    }

    /// How many nodes, at least one.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes.max(1);
        self
    }

    /// The settings of every node.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How long a segment is on its way, in milliseconds; most take little more than the least.
    #[must_use]
    pub fn latency_ms(mut self, min: u64, max: u64) -> Self {
        self.latency_ms = (min, max.max(min));
        self
    }

    /// As [`Cluster::lose`], from the beginning.
    #[must_use]
    pub fn loss_per_million(mut self, per_million: u32) -> Self {
        self.loss_per_million = per_million;
        self
    }

    /// How long a disk takes for each batch, in milliseconds.
    #[must_use]
    pub fn disk_latency_ms(mut self, min: u64, max: u64) -> Self {
        self.disk_latency_ms = (min, max.max(min));
        self
    }

    /// The step of simulated time, in milliseconds: greater is faster and coarser.
    #[must_use]
    pub fn tick_ms(mut self, tick_ms: u64) -> Self {
        self.tick_ms = tick_ms.max(1);
        self
    }

    /// Connections of peers and clients that a node accepts at a time.
    #[must_use]
    pub fn connections_max(mut self, connections_max: usize) -> Self {
        self.connections_max = Some(connections_max);
        self
    }

    /// How many segments of one connection may be on their way before a writer has to wait.
    #[must_use]
    pub fn segments_max(mut self, segments_max: usize) -> Self {
        self.segments_max = segments_max.max(1);
        self
    }

    /// How much simulated time the script may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command that runs this test, printed after the seed when it fails.
    #[must_use]
    pub fn replay_with(mut self, command: &str) -> Self {
        command.clone_into(&mut self.replay);
        self
    }

    /// Keeps the trace, for [`Report::trace`], or to be printed when it fails. It then contains every segment on the
    /// network with its bytes, which makes a run some three times slower.
    #[must_use]
    pub fn keep_trace(mut self) -> Self {
        self.keeps_trace = true;
        self
    }

    /// Runs a cluster that replicates this machine as the group [`GROUP`], and the script beside it, to the script's end.
    ///
    /// # Panics
    ///
    /// If the script panics or takes longer than its [`limit`](Self::limit), or a node says that a rule of Raft is broken;
    /// the seed is printed.
    pub fn run<M, F, Fut, T>(self, machine: impl Fn() -> M + 'static, script: F) -> Report<T>
    where
        M: StateMachine,
        F: FnOnce(Cluster<GroupHandle<M>>) -> Fut,
        Fut: Future<Output = T> + 'static,
        T: 'static,
    {
        let open = move |node: Node| {
            let machine = machine();
            async move { node.group(GROUP, machine).await }
        };
        self.run_with(open, script)
    }

    /// As [`run`](Self::run), with your own groups: `open` is called on every start of every node, and what it gives
    /// is handed to what the script does [on](Cluster::on) that node.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_with<G, O, Opened, F, Fut, T>(self, open: O, script: F) -> Report<T>
    where
        G: Clone + 'static,
        O: Fn(Node) -> Opened + 'static,
        Opened: Future<Output = Result<G, GroupError>> + 'static,
        F: FnOnce(Cluster<G>) -> Fut,
        Fut: Future<Output = T> + 'static,
        T: 'static,
    {
        let trace = Trace::new(self.keeps_trace);
        let replay = Replay { seed: self.seed, command: self.replay.clone(), trace: trace.clone() };
        let value = tracing::subscriber::with_default(trace.clone(), || {
            let open = Box::new(move |node| Box::pin(open(node)) as _);
            let world =
                World::new(self.seed, self.nodes, self.config.clone(), open, trace.clone(), self.tick_ms);
            self.drive(&Rc::new(world), script)
        });
        let broken = trace.take_broken();
        assert!(broken.is_empty(), "a node says that a rule is broken:\n{}", broken.join("\n"));
        drop(replay);
        let (events, digest) = trace.digest();
        let simulated = Duration::from_millis(trace.now_ms());
        Report { value, simulated, events, digest, trace: trace.take_lines() }
    }

    fn drive<G, F, Fut, T>(&self, world: &Rc<World<G>>, script: F) -> T
    where
        G: Clone + 'static,
        F: FnOnce(Cluster<G>) -> Fut,
        Fut: Future<Output = T> + 'static,
        T: 'static,
    {
        world.disk_latency_ms.set(self.disk_latency_ms);
        world.connections_max.set(self.connections_max);
        let mut sim = self.network();
        for (at, name) in world.names().into_iter().enumerate() {
            world.pace(at);
            let world = world.clone();
            sim.host(name, move || live(world.clone(), at));
        }
        // Dropped before the hosts, in whatever way this ends.
        let _processes = EndProcesses(world.clone());
        let ended: Rc<RefCell<Option<Result<T, tokio::task::JoinError>>>> = Rc::default();
        let (tell, script) = (ended.clone(), script(Cluster::new(world.clone())));
        sim.client(SCRIPT, async move {
            let end = tokio::task::spawn_local(script).await;
            tell.replace(Some(end));
            Ok(())
        });
        let clock = world.trace.clock();
        loop {
            let stepped = sim.step();
            (0..world.nodes()).for_each(|at| world.run(at));
            let now_ms = clock.fetch_add(self.tick_ms, Ordering::Relaxed) + self.tick_ms;
            if let Err(error) = stepped {
                panic!("after {now_ms} ms: {error}");
            }
            match ended.take() {
                Some(Ok(value)) => {
                    // The hosts are dropped now, in any order.
                    world.trace.mute(true);
                    return value;
                }
                Some(Err(error)) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(error) => panic!("after {now_ms} ms: {error}"),
                },
                None => {}
            }
            assert!(now_ms < self.limit.as_millis() as u64, "the script did not end in {:?}", self.limit);
            while let Some(job) = world.next_job() {
                carry_out(world, &mut sim, job);
            }
        }
    }

    fn network(&self) -> turmoil::Sim<'static> {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(SplitMix64::new(self.seed).number())
            .epoch(UNIX_EPOCH)
            .simulation_duration(Duration::MAX)
            .tick_duration(Duration::from_millis(self.tick_ms))
            .min_message_latency(Duration::from_millis(self.latency_ms.0))
            .max_message_latency(Duration::from_millis(self.latency_ms.1))
            .tcp_capacity(self.segments_max)
            .fail_rate(rate(self.loss_per_million))
            .repair_rate(REPAIR_RATE);
        builder.build()
    }
}

/// A process holds its world, which holds the process.
struct EndProcesses<G>(Rc<World<G>>);

impl<G> Drop for EndProcesses<G> {
    fn drop(&mut self) {
        for at in 0..self.0.nodes() {
            self.0.end_process(at);
        }
    }
}

/// How likely a link that lost a segment is whole again at the next one.
const REPAIR_RATE: f64 = 0.5;

fn rate(per_million: u32) -> f64 {
    f64::from(per_million) / 1e6
}

fn carry_out<G: Clone + 'static>(world: &World<G>, sim: &mut turmoil::Sim<'_>, job: Job) {
    match job {
        Job::Crash { at, crash } => stop_machine(world, sim, at, crash),
        Job::Restart { at } => {
            if world.host_mut(at).state != NodeState::Down {
                stop_machine(world, sim, at, Crash::Lost);
            }
            let name = world.host_mut(at).name.clone();
            sim.bounce(name);
        }
        Job::Loss { per_million } => {
            world.trace.note(format_args!("of a million segments {per_million} are lost"));
            sim.set_fail_rate(rate(per_million));
        }
    }
}

fn stop_machine<G>(world: &World<G>, sim: &mut turmoil::Sim<'_>, at: usize, crash: Crash) {
    // First what is on the disk now: nothing that is dropped with the host may write any more.
    let (name, image) = {
        let host = world.host_mut(at);
        host.net.crash();
        (host.name.clone(), host.disk.crash(crash))
    };
    world.trace.note(format_args!("{name} crashes, unsynced writes {crash:?}"));
    // A crashed machine logs nothing: what is logged while it is dropped does not count.
    world.trace.mute(true);
    world.end_process(at);
    sim.crash(name.as_str());
    world.trace.mute(false);
    {
        let mut host = world.host_mut(at);
        (host.disk, host.net) = (SimDisk::from_image(image), SimNet::default());
        (host.state, host.works, host.paused_at) = (NodeState::Down, None, None);
    }
    world.pace(at);
}

//! What the driver, the hosts and the scripts of one simulation share. One thread; nothing here is held across an await.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::time::Duration;

use quorate::store::Crash;
use quorate::{Config, GroupError, Node};
use quorate_core::SplitMix64;

use super::host::{Host, Local};
use super::threads::Idle;
use super::trace::Trace;

/// What only the driver can do, between two steps.
#[derive(Debug, Clone, Copy)]
pub(super) enum Job {
    Crash {
        at: usize,
        crash: Crash,
    },
    Restart {
        at: usize,
    },
    /// Of a million segments, this many break a link for a moment.
    Loss {
        per_million: u32,
    },
}

pub(super) type Open<G> = Box<dyn Fn(Node) -> Local<Result<G, GroupError>>>;

pub(super) struct World<G> {
    pub(super) seed: u64,
    pub(super) config: Config,
    pub(super) open: Open<G>,
    pub(super) trace: Trace,
    /// Milliseconds between two steps.
    pub(super) tick_ms: u64,
    pub(super) disk_latency_ms: Cell<(u64, u64)>,
    /// Connections that a node accepts.
    pub(super) connections_max: Cell<Option<usize>>,
    /// Threads of machines.
    pub(super) idle: Idle,
    /// How many clients were ever connected.
    clients: Cell<u64>,
    hosts: Vec<RefCell<Host<G>>>,
    jobs: RefCell<VecDeque<Job>>,
}

impl<G> World<G> {
    pub(super) fn new(
        seed: u64,
        nodes: usize,
        config: Config,
        open: Open<G>,
        trace: Trace,
        tick_ms: u64,
    ) -> Self {
        let hosts = (0..nodes)
            .map(|at| {
                RefCell::new(Host::new(at, SplitMix64::new(seed ^ 0x3ac4 ^ (at as u64) << 48).number()))
            })
            .collect();
        let (disk_latency_ms, jobs) = (Cell::new((0, 0)), RefCell::default());
        Self {
            seed,
            config,
            open,
            trace,
            tick_ms,
            disk_latency_ms,
            connections_max: Cell::new(None),
            idle: Idle::default(),
            clients: Cell::new(0),
            hosts,
            jobs,
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn host_mut(&self, at: usize) -> RefMut<'_, Host<G>> {
        let host = self.hosts.get(at);
        host.unwrap_or_else(|| panic!("there is no node{at}, there are {}", self.hosts.len())).borrow_mut()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.hosts.iter().map(|host| host.borrow().name.clone()).collect()
    }

    /// Threads for machines of each node; a simulation does not ask how many cores there are.
    pub(super) fn apply_threads(&self) -> usize {
        if self.config.node.apply_threads == 0 { 2 } else { self.config.node.apply_threads }
    }

    /// A seed that differs for every boot of every node.
    pub(super) fn entropy(&self, at: usize, boot: u64) -> u64 {
        SplitMix64::new(self.seed ^ (at as u64) << 48 ^ boot << 32).number()
    }

    /// A seed that differs for every client.
    pub(super) fn client_entropy(&self) -> u128 {
        let client = self.clients.get();
        self.clients.set(client + 1);
        let mut draw = SplitMix64::new(self.seed ^ 0xc11e_c11e ^ client << 32);
        u128::from(draw.number()) << 64 | u128::from(draw.number())
    }

    pub(super) fn ask(&self, job: Job) {
        self.jobs.borrow_mut().push_back(job);
    }

    pub(super) fn next_job(&self) -> Option<Job> {
        self.jobs.borrow_mut().pop_front()
    }

    /// Gives the process of a node a step of time, unless it is paused.
    pub(super) fn run(&self, at: usize) {
        let (process, jump) = {
            let mut host = self.host_mut(at);
            if host.paused_at.is_some() {
                return;
            }
            (host.process.take(), std::mem::take(&mut host.jump))
        };
        if let Some(mut process) = process {
            process.run(Duration::from_millis(self.tick_ms), jump);
            self.host_mut(at).process = Some(process);
        }
    }

    /// Drops the process of a node, whose code may look at its host meanwhile.
    pub(super) fn end_process(&self, at: usize) {
        let process = self.host_mut(at).process.take();
        drop(process);
    }

    /// Sets the latency of a node's disk after it was replaced.
    pub(super) fn pace(&self, at: usize) {
        let (min_ms, max_ms) = self.disk_latency_ms.get();
        let host = self.host_mut(at);
        host.disk.set_latency_ms(min_ms, max_ms, self.entropy(at, host.boots) ^ 0xd15c);
    }
}

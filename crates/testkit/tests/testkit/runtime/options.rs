//! Everything a run may vary, drawn from its seed: a fault that is off in one run is frequent in another.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::Config;
use quorate_testkit::sim::{Draw, Simulation};

use super::nemesis::Attack;

/// How one run is set up. Times in milliseconds of simulated time.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) nodes: usize,
    pub(crate) election: u64,
    pub(crate) latency: (u64, u64),
    pub(crate) loss_per_million: u32,
    pub(crate) disk: (u64, u64),
    pub(crate) tick: u64,
    pub(crate) segments_max: usize,
    pub(crate) attacks: Vec<Attack>,
    pub(crate) attack_every: u64,
    pub(crate) attack_length: u64,
    pub(crate) safety: u64,
    pub(crate) clients: usize,
    /// Clients outside the cluster, per thousand.
    pub(crate) outside: u64,
    pub(crate) adders: usize,
    pub(crate) keys: u64,
    pub(crate) think: u64,
    pub(crate) call: u64,
    pub(crate) sabotage: Option<Sabotage>,
}

/// What clients do wrong on purpose, to see that the checks see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// They read what one node has, and take it for the truth.
    StaleReads,
    /// They retry additions without a key.
    KeylessRetries,
}

impl Options {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed ^ 0x0b57_ac1e);
        let draw = &mut draw;
        let election = draw.range(150, 500);
        let latency_min = draw.range(0, 4);
        let attacks: BTreeSet<Attack> = Attack::ALL.into_iter().filter(|_| draw.chance(450)).collect();
        Self {
            nodes: draw.pick(&[1, 3, 3, 3, 3, 5, 5]),
            election,
            latency: (latency_min, latency_min + draw.pick(&[1, 10, 40])),
            loss_per_million: draw.pick(&[0, 0, 200, 2_000]),
            disk: draw.pick(&[(0, 0), (0, 2), (1, 10), (0, 40)]),
            tick: draw.pick(&[1, 2, 2, 5]),
            segments_max: draw.pick(&[16, 64, 1_024]),
            attacks: attacks.into_iter().collect(),
            attack_every: election * draw.range(2, 8),
            attack_length: election * draw.range(1, 10),
            safety: draw.range(6_000, 14_000),
            clients: draw.range(2, 5) as usize,
            outside: draw.pick(&[0, 400, 400, 1_000]),
            adders: draw.range(1, 2) as usize,
            keys: draw.range(1, 4),
            think: draw.pick(&[10, 40, 120]),
            call: draw.pick(&[300, 1_000, 3_000]),
            sabotage: None,
        }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.cluster.election_timeout_ms = self.election;
        config.node.heartbeat_interval_ms = self.election / 6;
        config.node.persist_stall_ms_max = self.election * 2;
        config.node.store_silence_ms_max = 4_000;
        // Appliers are made to panic on purpose, often at the same entry.
        config.node.machine_restarts_max = 10_000;
        config.live.call_timeout_ms = self.call;
        config
    }

    pub(crate) fn simulation(&self, seed: u64) -> Simulation {
        Simulation::new(seed)
            .nodes(self.nodes)
            .config(self.config())
            .latency_ms(self.latency.0, self.latency.1)
            .loss_per_million(self.loss_per_million)
            .disk_latency_ms(self.disk.0, self.disk.1)
            .tick_ms(self.tick)
            .segments_max(self.segments_max)
            .limit(Duration::from_secs(120))
            .replay_with(super::REPLAY)
    }
}

//! Everything a run may vary, drawn from its seed: a fault that is off in one run is frequent in another.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::Config;
use quorate_testkit::sim::{Draw, Simulation};

use super::attack::Attack;

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
    /// Counters, each a group.
    pub(crate) counts: usize,
    /// A counter with more clients than are remembered.
    pub(crate) sessions: bool,
    /// A group whose machine one node knows in an older build.
    pub(crate) mixed: bool,
    /// Bytes behind the number in a value, at most.
    pub(crate) value_bytes: usize,
    /// Bytes of entries that stay in memory: with few of them, entries come back from disk.
    pub(crate) tail_bytes: usize,
    /// A snapshot is taken after so many entries.
    pub(crate) snapshot_entries: u64,
    /// Proposals and queries of a group under way at a node, at most.
    pub(crate) permits: usize,
    pub(crate) connections: Option<usize>,
    pub(crate) apply_threads: usize,
    /// How long all is left alone at the end.
    pub(crate) quiet: u64,
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
        // Apart from the others, so that runs without it are what they were before.
        let sessions = Draw::new(seed ^ 0x5e55_1075).chance(150);
        let mut attacks: BTreeSet<Attack> = Attack::ALL.into_iter().filter(|_| draw.chance(450)).collect();
        // Of two voters that are left none may lose what it has: no one could mend the group.
        if attacks.contains(&Attack::Damage) || attacks.contains(&Attack::LoseDisk) {
            attacks.remove(&Attack::Demote);
        }
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
            counts: draw.pick(&[1, 1, 1, 1, 1, 1, 9]),
            mixed: draw.chance(400),
            value_bytes: draw.pick(&[0, 0, 0, 1_000, 20_000]),
            tail_bytes: draw.pick(&[0, 0, 2_000, 16 << 20]),
            // Apart, as above. A machine of an older build cannot read what newer commands made of one.
            snapshot_entries: Draw::new(seed ^ 0x5a95_0075).pick(&[10, 40, 200, 1 << 40]),
            permits: if sessions { 4_096 } else { draw.pick(&[4_096, 4_096, 4_096, 64, 4]) },
            sessions,
            connections: draw.pick(&[None, None, Some(6)]),
            apply_threads: draw.pick(&[2, 2, 4]),
            quiet: if draw.chance(90) { 60_000 } else { 1_000 },
        }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.cluster.election_timeout_ms = self.election;
        config.node.heartbeat_interval_ms = self.election / 6;
        config.node.persist_stall_ms_max = self.election * 2;
        config.node.store_silence_ms_max = 4_000;
        config.node.tail_bytes_max = self.tail_bytes;
        config.node.apply_threads = self.apply_threads;
        config.node.snapshot_log_entries = self.snapshot_entries;
        config.live.call_timeout_ms = self.call;
        (config.live.proposals_max, config.live.queries_max) = (self.permits, self.permits);
        config
    }

    pub(crate) fn simulation(&self, seed: u64) -> Simulation {
        let simulation = Simulation::new(seed);
        let simulation = match self.connections {
            Some(connections_max) => simulation.connections_max(connections_max),
            None => simulation,
        };
        simulation
            .nodes(self.nodes)
            .config(self.config())
            .latency_ms(self.latency.0, self.latency.1)
            .loss_per_million(self.loss_per_million)
            .disk_latency_ms(self.disk.0, self.disk.1)
            .tick_ms(self.tick)
            .segments_max(self.segments_max)
            .limit(Duration::from_secs(240))
            .replay_with(super::REPLAY)
    }
}

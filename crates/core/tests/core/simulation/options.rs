//! Everything a run may vary, drawn from its seed ("swarm": a fault that is off in one run is frequent in another).

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{Config, PAYLOAD_BYTES_MAX};

use super::applier::MachineTimes;
use super::link::LinkLimits;
use super::nemesis::Attack;
use super::quiet::Quiet;
use super::storage::Writes;
use super::strain;
use quorate_core::SplitMix64;

/// How one run is set up. Times in microseconds, chances per mille.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) voters: usize,
    pub(crate) learners: usize,
    /// Nodes that found nothing and may be taken in.
    pub(crate) spares: usize,
    pub(crate) events: u64,
    pub(crate) config: Config,
    pub(crate) delay_min: u64,
    pub(crate) delay_max: u64,
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
    /// Messages that arrive after seconds: those of an old leader, replication session or boot.
    pub(crate) straggler: u64,
    pub(crate) disk_min: u64,
    pub(crate) disk_max: u64,
    pub(crate) read_max: u64,
    pub(crate) apply_max: u64,
    pub(crate) propose_every: u64,
    pub(crate) read_every: u64,
    pub(crate) batch_max: u64,
    pub(crate) payload_max: u64,
    /// Of a thousand proposals, this many go to any node.
    pub(crate) stray_proposals: u64,
    /// Of a thousand reads, this many go to any node.
    pub(crate) stray_reads: u64,
    pub(crate) attack_every: u64,
    pub(crate) attack_length: u64,
    pub(crate) attacks: Vec<Attack>,
    /// A crash in the middle of the effects of a step.
    pub(crate) torn_step: u64,
    /// The state machine keeps what it applied durably, so that a restart begins above zero.
    pub(crate) durable_machine: bool,
    /// Speeds of clocks, in quarters of true time. Only liveness may depend on them.
    pub(crate) clock_rates: Vec<u64>,
    /// At the end every node is repaired, or only a majority.
    pub(crate) heals_all: bool,
    /// A restart loads the whole log into memory, or only its newest part.
    pub(crate) loads_all: bool,
    /// What links carry; `None` if that is without limit.
    pub(crate) links: Option<LinkLimits>,
    /// The largest message that can be carried.
    pub(crate) frame_bytes_max: usize,
    /// The largest entry that its callers propose, with its header.
    pub(crate) entry_bytes_max: usize,
    pub(crate) machine: MachineTimes,
    /// How many times as long as drawn a sync takes, for each node; 1 where there is none.
    pub(crate) disk_factors: Vec<u64>,
    pub(crate) writes: Writes,
    /// What the last phase is like.
    pub(crate) quiet: Quiet,
    /// The node whose build does not know the newest kind of entries.
    pub(crate) old_build: Option<usize>,
    /// Of a thousand commands, so many are of that kind while there is one.
    pub(crate) newer_commands: u64,
    /// A leader is asked for a change of the members about so often; never, if zero.
    pub(crate) change_every: u64,
    /// A machine is captured after so many entries; never, if zero.
    pub(crate) snapshot_every: u64,
}

impl Options {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed ^ 0x0b57_ac1e);
        let rng = &mut rng;
        let voters = rng.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]);
        let learners = rng.pick(&[0, 0, 0, 1, 2]);
        let election = rng.range(50_000, 200_000);
        // Then no one is elected early, as before there were early elections: so their number can be compared over the same seeds.
        let relies_on_leases = seed % 8 == 3 || std::env::var_os("QUORATE_LEASES").is_some();
        let config = Config {
            election_timeout: Duration::from_micros(election),
            heartbeat_interval: Duration::from_micros(election / rng.range(3, 10)),
            persist_stall_max: Duration::from_micros(election * rng.range(1, 4)),
            append_entries_max: rng.pick(&[1, 2, 5, 64]),
            append_bytes_max: rng.pick(&[1, 300, 100_000]),
            window_messages_max: rng.pick(&[1, 2, 8, 64]),
            window_bytes_max: rng.pick(&[1, 500, 100_000]),
            tail_bytes_max: rng.pick(&[0, 300, 2_000, 1_000_000]),
            uncommitted_bytes_max: rng.pick(&[500, 5_000, 1_000_000]),
            apply_window_entries_max: rng.pick(&[1, 5, 1_000]),
            // Drawn from the seed alone, so that what is drawn after it stays as it was.
            apply_window_bytes_max: [300, 2_000, 64 << 20][(seed % 3) as usize],
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            promotion_lag_entries_max: [2, 20, 1_024][(seed / 6 % 3) as usize],
            untold_commit_max: Duration::from_micros([0, election / 20][(seed / 3 % 2) as usize]),
            clock_drift_max: relies_on_leases.then_some(Duration::from_millis(1)),
        };
        let delay_min = rng.range(0, 3_000);
        let attacks: BTreeSet<Attack> = Attack::ALL.into_iter().filter(|_| rng.chance(400)).collect();
        let mut options = Self {
            voters,
            learners,
            spares: 0,
            events: rng.range(1_200, 4_000),
            config,
            delay_min,
            delay_max: delay_min + rng.pick(&[0, 2_000, 20_000, 60_000]),
            loss: rng.pick(&[0, 0, 10, 50, 200]),
            duplicate: rng.pick(&[0, 10, 100, 300]),
            straggler: rng.pick(&[0, 5, 30]),
            disk_min: rng.range(0, 2_000),
            disk_max: rng.pick(&[2_000, 10_000, 50_000]),
            read_max: rng.pick(&[100, 5_000, 100_000]),
            apply_max: rng.pick(&[100, 5_000, 50_000]),
            propose_every: rng.range(2_000, 40_000),
            read_every: rng.range(5_000, 60_000),
            batch_max: rng.pick(&[1, 3, 10]),
            payload_max: rng.pick(&[0, 200, 200, 2_000]),
            stray_proposals: rng.pick(&[0, 100, 100, 600]),
            stray_reads: rng.pick(&[0, 500, 1_000]),
            attack_every: election * rng.range(1, 20) / 2,
            attack_length: election * rng.range(1, 12) / 2,
            attacks: attacks.into_iter().collect(),
            torn_step: rng.pick(&[0, 0, 1, 5]),
            durable_machine: rng.chance(300),
            clock_rates: if rng.chance(300) { vec![1, 2, 4, 8] } else { vec![4] },
            heals_all: rng.chance(500),
            loads_all: rng.chance(500),
            links: None,
            frame_bytes_max: usize::MAX,
            entry_bytes_max: 4 << 10,
            machine: MachineTimes::default(),
            disk_factors: Vec::new(),
            writes: Writes::Apart,
            quiet: Quiet::Healthy,
            old_build: None,
            newer_commands: 0,
            change_every: 0,
            snapshot_every: 0,
        };
        strain::draw(seed, &mut options);
        options
    }

    pub(crate) fn disk_factor(&self, at: usize) -> u64 {
        self.disk_factors.get(at).copied().unwrap_or(1)
    }

    pub(crate) fn nodes(&self) -> usize {
        self.voters + self.learners + self.spares
    }

    pub(crate) fn election(&self) -> u64 {
        self.config.election_timeout.as_micros() as u64
    }
}

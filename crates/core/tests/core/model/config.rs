//! What one check explores: the bounds that make its states finite, where it starts, and how far it goes.

use std::time::Duration;

/// Where a check begins. Each place is reached from the first by steps of the model itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Empty disks; the first node's patience has ended (which node is first does not matter).
    Fresh,
    /// Node 0 leads term 1, and its no-op is committed everywhere.
    Elected,
    /// After that, a command was committed by nodes 0 and 2; node 1 has nothing of it.
    Behind,
    /// Node 0 led term 1 and alone has a command; node 1 leads term 2 and alone has its no-op at the same index. What
    /// they sent is lost.
    Diverged,
    /// After that, node 0 was elected in term 3 by node 2; what it sent is lost. Its log has its entries of terms 1 and 3.
    Returned,
}

/// When a write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// In the step that orders it.
    AtOnce,
    /// Later, by an action; a crash before it keeps or loses it.
    Later,
}

/// In which order states are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// The shortest counterexample, but every waiting state in memory.
    Breadth,
    /// Eight bytes for a state that was seen.
    Depth,
}

/// How often each thing may happen, in all. Loss needs no count: what is never delivered is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// A node's patience ends.
    pub(crate) timeouts: u8,
    /// A leader says that it leads, without need.
    pub(crate) heartbeats: u8,
    pub(crate) proposals: u8,
    pub(crate) reads: u8,
    pub(crate) transfers: u8,
    /// A message arrives and stays on its way.
    pub(crate) duplicates: u8,
    pub(crate) crashes: u8,
    /// A crash takes the end of a log, and the disk says so (`safety.md` 5).
    pub(crate) damages: u8,
}

impl Budget {
    /// Nothing but what the core does by itself.
    pub(crate) const NONE: Self = Self {
        timeouts: 0,
        heartbeats: 0,
        proposals: 0,
        reads: 0,
        transfers: 0,
        duplicates: 0,
        crashes: 0,
        damages: 0,
    };
}

/// One check.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) voters: usize,
    pub(crate) start: Start,
    pub(crate) terms_max: u64,
    pub(crate) budget: Budget,
    pub(crate) writes: Writes,
    /// Damage is not noticed: more than any Raft bears. Shows that a check can fail.
    pub(crate) silent_damage: bool,
    /// Messages on their way from one node to another; of more, the one of the lowest term is lost.
    pub(crate) link_max: usize,
    pub(crate) append_entries_max: usize,
    pub(crate) search: Search,
    pub(crate) threads: usize,
    /// Ends once so many states were expanded (each a distinct one).
    pub(crate) states_max: u64,
}

impl Config {
    /// The settings of core. Time stands still but for [`Budget::timeouts`], which end every wait at once: so a timeout
    /// of one tick of the clock is as good as any, and leaves nothing to draw; and a heartbeat may be due at any moment.
    pub(crate) fn core(&self) -> quorate_core::Config {
        quorate_core::Config {
            election_timeout: Duration::from_micros(1),
            heartbeat_interval: Duration::ZERO,
            persist_stall_max: Duration::from_micros(1),
            append_entries_max: self.append_entries_max,
            ..quorate_core::Config::default()
        }
    }
}

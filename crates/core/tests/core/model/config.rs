//! What one check explores: where it starts, the bounds that make its states finite, and how many of them it expands.

use std::time::Duration;

/// The state a check begins with. Each is reached from the first by steps of the model itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Empty disks; the election timeout of the first node has passed (by symmetry it can be any node).
    Fresh,
    /// Node 0 leads term 1, and its no-op is committed everywhere.
    Elected,
    /// After that, nodes 0 and 2 have committed a command that node 1 does not have.
    Behind,
    /// Node 0 led term 1 and has a command that no other node has; node 1 leads term 2 and alone has its no-op, at the same
    /// index. Their messages are lost.
    Diverged,
    /// After that, node 2 elected node 0 in term 3; its messages are lost. Its log has its entries of terms 1 and 3.
    Returned,
}

/// When a write becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// In the step that orders it.
    AtOnce,
    /// Later, by an action; a crash before that keeps or loses it.
    Later,
}

/// The order in which states are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// Finds the shortest counterexample, but holds every waiting state in memory.
    Breadth,
    /// Needs eight bytes for each state seen.
    Depth,
}

/// How often each action may happen, in total. Loss needs no budget: a message that is never delivered is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// The deadline of a node passes.
    pub(crate) timeouts: u8,
    /// A leader sends a heartbeat before it is due.
    pub(crate) heartbeats: u8,
    pub(crate) proposals: u8,
    pub(crate) reads: u8,
    pub(crate) transfers: u8,
    /// A leader is asked for a change of the members.
    pub(crate) changes: u8,
    /// A message is delivered and a copy stays in flight.
    pub(crate) duplicates: u8,
    pub(crate) crashes: u8,
    /// A crash loses the end of a log, and the disk shows it (`safety.md` 5).
    pub(crate) damages: u8,
}

impl Budget {
    /// Only what core does by itself.
    pub(crate) const NONE: Self = Self {
        timeouts: 0,
        heartbeats: 0,
        proposals: 0,
        reads: 0,
        transfers: 0,
        changes: 0,
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
    /// Damage is not noticed, which no Raft survives. Shows that a check can fail.
    pub(crate) silent_damage: bool,
    /// Messages in flight from one node to another, at most; beyond that the one of the lowest term is lost.
    pub(crate) link_max: usize,
    pub(crate) append_entries_max: usize,
    pub(crate) search: Search,
    pub(crate) threads: usize,
    /// Ends once this many distinct states were expanded.
    pub(crate) states_max: u64,
}

impl Config {
    /// The settings of core. Time moves only by [`Budget::timeouts`], each of which passes every deadline. So a timeout of one
    /// tick of the clock is as good as any other and leaves nothing to draw, and a heartbeat may be due at any moment.
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

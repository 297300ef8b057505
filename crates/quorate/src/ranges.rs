//! The range of every setting of [`Config`](crate::Config), in one table: the check at the start of a node, what a program says of
//! a value before it starts one, and the documentation are made from it.
//!
//! A greatest value is not a recommendation. It keeps out a number that was meant for something else, and what arithmetic or
//! a semaphore would not bear; a node starts with each of them.

/// The largest message between nodes, beside its head: the largest entry that can be in a log.
const MESSAGE_BYTES_MAX: u64 = quorate_core::PAYLOAD_BYTES_MAX as u64;
/// The largest `command_bytes_max`: half of the largest entry.
const COMMAND_BYTES_MAX: u64 = MESSAGE_BYTES_MAX / 2;
/// Ten minutes.
const ELECTION_TIMEOUT_MS_MAX: u64 = 600_000;
const DAY_MS: u64 = 86_400_000;
/// More memory than a process has.
const MEMORY_BYTES_MAX: u64 = 1 << 40;

/// The values that one setting may have, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingRange {
    /// The name of the field of [`Config`](crate::Config).
    pub name: &'static str,
    /// The least value.
    pub min: u64,
    /// The greatest value.
    pub max: u64,
}

const fn range(name: &'static str, min: u64, max: u64) -> SettingRange {
    SettingRange { name, min, max }
}

impl SettingRange {
    /// The ranges of all settings.
    pub const ALL: &[Self] = &[
        range("election_timeout_ms", 10, ELECTION_TIMEOUT_MS_MAX),
        range("clock_drift_ppm_max", 0, 100_000),
        // At most a third of the election timeout, which is checked with it.
        range("heartbeat_interval_ms", 1, ELECTION_TIMEOUT_MS_MAX / 3),
        range("persist_stall_ms_max", 1, DAY_MS),
        // Below that, a pause of the machine would end nodes.
        range("store_silence_ms_max", 1_000, DAY_MS),
        range("disk_reserve_bytes", 0, 1 << 60),
        range("append_entries_max", 1, 1_000_000),
        // A message between nodes has at most MESSAGE_BYTES_MAX, and a link's queue twice as much, for all groups.
        range("append_bytes_max", 1, COMMAND_BYTES_MAX),
        range("window_messages_max", 1, 65_536),
        range("window_bytes_max", 1, MESSAGE_BYTES_MAX),
        range("tail_bytes_max", 0, MEMORY_BYTES_MAX),
        range("uncommitted_bytes_max", 1, MEMORY_BYTES_MAX),
        range("command_bytes_max", 1, COMMAND_BYTES_MAX),
        range("apply_threads", 0, 256),
        range("snapshot_log_bytes", 0, 1 << 60),
        range("snapshot_log_entries", 0, 1 << 60),
        // One part a second, at least.
        range("snapshot_fetch_bytes_per_s", 1 << 19, 1 << 60),
        range("machine_restarts_max", 1, 1_000_000),
        range("proposals_max", 1, 1_000_000),
        range("queries_max", 1, 1_000_000),
        range("call_timeout_ms", 1, DAY_MS),
    ];

    /// The range of the setting with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|range| range.name == name).copied()
    }
}

//! Settings in three structs: what the cluster must agree on, what one process may choose, what may change while it
//! runs. Validated once, when the node starts; units are in the names.

use std::time::Duration;

use quorate_core::Config as CoreConfig;

/// The version of what nodes write to disk and to each other. Part of the fingerprint.
const FORMAT_VERSION: u64 = 1;

/// What every node of a cluster must have alike, because safety relies on it. Its fingerprint is compared when nodes connect
/// and kept in the replicated membership (`docs/safety.md` 15).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// A follower that hears no leader campaigns after one to two times this, in milliseconds. Leases rely on it.
    pub election_timeout_ms: u64,
    /// By how much two nodes' clocks may differ in rate, in parts per million. Leases rely on it.
    pub clock_drift_ppm_max: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { election_timeout_ms: 1_000, clock_drift_ppm_max: 1_000 }
    }
}

impl ClusterConfig {
    /// A number that differs when anything here, or the format version, does.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for value in [FORMAT_VERSION, self.election_timeout_ms, self.clock_drift_ppm_max] {
            hasher.update(&value.to_be_bytes());
        }
        let first = hasher.finalize().as_bytes()[..8].try_into().expect("a hash has 32 bytes");
        u64::from_be_bytes(first)
    }
}

/// What one process may choose. Differences between nodes are allowed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// How often an idle leader sends heartbeats, in milliseconds; at most a third of the election timeout.
    pub heartbeat_interval_ms: u64,
    /// A leader whose disk has kept a write waiting this long gives leadership away, in milliseconds.
    pub persist_stall_ms_max: u64,
    /// A disk that is silent for this long counts as failed and stops the node, in milliseconds. Long, because storage that
    /// several nodes share may stall for all of them together: until then the node waits, and acknowledges nothing.
    pub store_silence_ms_max: u64,
    /// Bytes that must stay free on the disk; below that, or below twice the log, the node takes no entries. 0: 256 MiB, or a
    /// quarter of a volume smaller than 1 GiB.
    pub disk_reserve_bytes: u64,
    /// Entries in one message to a peer, at most.
    pub append_entries_max: usize,
    /// Bytes of entries in one message to a peer, at most; up to 8 MiB.
    pub append_bytes_max: usize,
    /// Unacknowledged messages to one peer, at most.
    pub window_messages_max: usize,
    /// Unacknowledged bytes to one peer, at most; up to 16 MiB.
    pub window_bytes_max: usize,
    /// Bytes of entries a replica keeps in memory beyond what it needs.
    pub tail_bytes_max: usize,
    /// Bytes appended and not committed above which a leader answers busy.
    pub uncommitted_bytes_max: usize,
    /// The largest command that this node takes as the leader or from its own callers, in bytes of MessagePack; up to 8 MiB.
    pub command_bytes_max: usize,
    /// Threads on which state machines run; 0: as many as there are cores, but two at least and four at most. A machine that
    /// is slow holds one of them.
    pub apply_threads: usize,
    /// Restarts of one group's state machine at the same entry before the replica counts as faulted.
    pub machine_restarts_max: u32,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: 100,
            persist_stall_ms_max: 3_000,
            store_silence_ms_max: 180_000,
            disk_reserve_bytes: 0,
            append_entries_max: 1_024,
            append_bytes_max: 1 << 20,
            window_messages_max: 64,
            window_bytes_max: 8 << 20,
            tail_bytes_max: 16 << 20,
            uncommitted_bytes_max: 64 << 20,
            command_bytes_max: 1 << 20,
            apply_threads: 0,
            machine_restarts_max: 3,
        }
    }
}

/// What may change while a node runs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveConfig {
    /// Proposals of one group that may be under way from this node.
    pub proposals_max: usize,
    /// Queries of one group that may be under way from this node.
    pub queries_max: usize,
    /// How long a proposal or query waits for its answer if the caller names no deadline, in milliseconds.
    pub call_timeout_ms: u64,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self { proposals_max: 4_096, queries_max: 4_096, call_timeout_ms: 5_000 }
    }
}

/// All settings of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the cluster must agree on.
    pub cluster: ClusterConfig,
    /// What this process may choose.
    pub node: NodeConfig,
    /// What may change while it runs.
    pub live: LiveConfig,
}

/// A setting with which no node can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A timing or limit of Raft is out of its range.
    #[error(transparent)]
    Core(#[from] quorate_core::ConfigError),
    /// The setting is out of its range.
    #[error("{name} is {value}, it must be {range}")]
    Range {
        /// The name of the setting.
        name: &'static str,
        /// The value as given.
        value: u64,
        /// The range it may have.
        range: &'static str,
    },
}

impl Config {
    /// Checks every setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // A message between nodes has at most MESSAGE_BYTES_MAX, and a link's queue twice as much, for all groups.
        for (name, value, max, range) in [
            ("command_bytes_max", self.node.command_bytes_max, COMMAND_BYTES_MAX, "1 to 8388608"),
            ("append_bytes_max", self.node.append_bytes_max, COMMAND_BYTES_MAX, "1 to 8388608"),
            ("window_bytes_max", self.node.window_bytes_max, MESSAGE_BYTES_MAX, "1 to 16777216"),
        ] {
            if value == 0 || value > max {
                return Err(ConfigError::Range { name, value: value as u64, range });
            }
        }
        self.core().validate()?;
        let positive = [
            ("proposals_max", self.live.proposals_max as u64),
            ("queries_max", self.live.queries_max as u64),
            ("call_timeout_ms", self.live.call_timeout_ms),
            ("store_silence_ms_max", self.node.store_silence_ms_max),
            ("machine_restarts_max", u64::from(self.node.machine_restarts_max)),
        ];
        if let Some((name, value)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Range { name, value, range: "at least 1" });
        }
        if self.node.apply_threads > APPLY_THREADS_MAX {
            let value = self.node.apply_threads as u64;
            return Err(ConfigError::Range { name: "apply_threads", value, range: "0 to 256" });
        }
        if self.cluster.clock_drift_ppm_max > 100_000 {
            let value = self.cluster.clock_drift_ppm_max;
            return Err(ConfigError::Range { name: "clock_drift_ppm_max", value, range: "0 to 100000" });
        }
        Ok(())
    }

    /// The part of it that core needs.
    pub(crate) fn core(&self) -> CoreConfig {
        CoreConfig {
            election_timeout: Duration::from_millis(self.cluster.election_timeout_ms),
            heartbeat_interval: Duration::from_millis(self.node.heartbeat_interval_ms),
            untold_commit_max: UNTOLD_COMMIT_MAX,
            persist_stall_max: Duration::from_millis(self.node.persist_stall_ms_max),
            append_entries_max: self.node.append_entries_max,
            payload_bytes_max: self.node.command_bytes_max,
            append_bytes_max: self.node.append_bytes_max,
            window_messages_max: self.node.window_messages_max,
            window_bytes_max: self.node.window_bytes_max,
            tail_bytes_max: self.node.tail_bytes_max,
            uncommitted_bytes_max: self.node.uncommitted_bytes_max,
            ..CoreConfig::default()
        }
    }
}

/// About as long as one client takes from one command to the next.
const UNTOLD_COMMIT_MAX: Duration = Duration::from_millis(2);

/// More threads than any machine needs: a guard against a number that was meant for something else.
const APPLY_THREADS_MAX: usize = 256;

/// The largest message between nodes, beside its head: the largest entry that can be in a log.
const MESSAGE_BYTES_MAX: usize = quorate_core::PAYLOAD_BYTES_MAX;

/// The largest `command_bytes_max`: half of the largest entry.
pub(crate) const COMMAND_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

/// What a message has beside the payload of its largest entry: the entry's header and hash, and the message's own fields.
pub(crate) const MESSAGE_HEAD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let mut config = Config::default();
        config.node.heartbeat_interval_ms = 900;
        let said = config.validate().expect_err("heartbeats too rare").to_string();
        assert!(said.contains("heartbeat_interval"), "{said}");
        let mut config = Config::default();
        config.live.proposals_max = 0;
        assert!(config.validate().expect_err("no permits").to_string().contains("proposals_max is 0"));
    }

    /// An entry that cannot leave, or a window that no queue takes, would stop the group.
    #[test]
    fn what_enters_can_leave() {
        for (name, set) in [
            (
                "command_bytes_max",
                (|node, value| node.command_bytes_max = value) as fn(&mut NodeConfig, usize),
            ),
            ("append_bytes_max", |node, value| node.append_bytes_max = value),
            ("window_bytes_max", |node, value| node.window_bytes_max = value),
        ] {
            let refused = |value| {
                let mut config = Config::default();
                set(&mut config.node, value);
                config.validate().is_err_and(|error| error.to_string().contains(name))
            };
            assert!(refused(0) && refused(32 << 20) && !refused(8 << 20), "{name}");
        }
    }

    #[test]
    fn rule_15_the_fingerprint_covers_what_safety_needs_and_no_more() {
        let (mut a, b) = (Config::default(), Config::default());
        a.node.window_bytes_max += 1;
        assert_eq!(a.cluster.fingerprint(), b.cluster.fingerprint());
        a.cluster.clock_drift_ppm_max += 1;
        assert_ne!(a.cluster.fingerprint(), b.cluster.fingerprint());
    }
}

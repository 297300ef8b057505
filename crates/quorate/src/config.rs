//! Settings in three structs: what the cluster must agree on, what one process may choose, what may change while it
//! runs. Validated once, when the node starts; units are in the names.

use std::time::Duration;

use quorate_core::{Config as CoreConfig, ConfigError as CoreConfigError};

use crate::ranges::SettingRange;

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
    /// A snapshot is taken after so many bytes of entries, or as many as the last one has if that is more. A log holds at most twice
    /// that: what the newest snapshot lacks, and what is between the two newest. 0: none is taken for that.
    pub snapshot_log_bytes: u64,
    /// A snapshot is also taken after so many entries, unless they are less than a quarter of the last one in bytes: so many a start
    /// has to apply. 0: none is taken for that.
    pub snapshot_log_entries: u64,
    /// Bytes in a second that fetching a snapshot from another node may take of the link.
    pub snapshot_fetch_bytes_per_s: u64,
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
            snapshot_log_bytes: 32 << 20,
            snapshot_log_entries: 200_000,
            snapshot_fetch_bytes_per_s: 64 << 20,
            machine_restarts_max: 3,
        }
    }
}

/// Bounds and waits of the handles, which may differ from node to node and from start to start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveConfig {
    /// Proposals of one group that may be under way from this node.
    pub proposals_max: usize,
    /// Linearizable queries of one group that may be under way from this node, and as many stale ones beside them.
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
    /// Heartbeats so rare that followers would campaign beside a healthy leader.
    #[error(
        "heartbeat_interval_ms is {heartbeat_interval_ms}, it must be at most a third of election_timeout_ms, which is \
         {election_timeout_ms}"
    )]
    Heartbeat {
        /// The interval given.
        heartbeat_interval_ms: u64,
        /// The election timeout given.
        election_timeout_ms: u64,
    },
    /// A timing or limit of Raft that none of the ranges keeps out.
    #[error(transparent)]
    Core(#[from] quorate_core::ConfigError),
    /// The setting is out of its range.
    #[error("{name} is {value}, it must be {min} to {max}")]
    Range {
        /// The name of the setting.
        name: &'static str,
        /// The value as given.
        value: u64,
        /// The least value it may have.
        min: u64,
        /// The greatest value it may have.
        max: u64,
    },
}

impl Config {
    /// Checks every setting, and those that depend on each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (name, value) in self.values() {
            let SettingRange { min, max, .. } = SettingRange::of(name).expect("a test holds one for each");
            if !(min..=max).contains(&value) {
                return Err(ConfigError::Range { name, value, min, max });
            }
        }
        self.core().validate().map_err(|error| match error {
            CoreConfigError::Heartbeat { .. } => ConfigError::Heartbeat {
                heartbeat_interval_ms: self.node.heartbeat_interval_ms,
                election_timeout_ms: self.cluster.election_timeout_ms,
            },
            error @ (CoreConfigError::Payload { .. } | CoreConfigError::Zero { .. }) => error.into(),
        })
    }

    /// Every setting with its value. Without `..`, so that a new one is not forgotten.
    fn values(&self) -> [(&'static str, u64); 21] {
        let Self { cluster, node, live } = self;
        let ClusterConfig { election_timeout_ms, clock_drift_ppm_max } = *cluster;
        let NodeConfig {
            heartbeat_interval_ms,
            persist_stall_ms_max,
            store_silence_ms_max,
            disk_reserve_bytes,
            append_entries_max,
            append_bytes_max,
            window_messages_max,
            window_bytes_max,
            tail_bytes_max,
            uncommitted_bytes_max,
            command_bytes_max,
            apply_threads,
            snapshot_log_bytes,
            snapshot_log_entries,
            snapshot_fetch_bytes_per_s,
            machine_restarts_max,
        } = *node;
        let LiveConfig { proposals_max, queries_max, call_timeout_ms } = *live;
        [
            ("election_timeout_ms", election_timeout_ms),
            ("clock_drift_ppm_max", clock_drift_ppm_max),
            ("heartbeat_interval_ms", heartbeat_interval_ms),
            ("persist_stall_ms_max", persist_stall_ms_max),
            ("store_silence_ms_max", store_silence_ms_max),
            ("disk_reserve_bytes", disk_reserve_bytes),
            ("append_entries_max", append_entries_max as u64),
            ("append_bytes_max", append_bytes_max as u64),
            ("window_messages_max", window_messages_max as u64),
            ("window_bytes_max", window_bytes_max as u64),
            ("tail_bytes_max", tail_bytes_max as u64),
            ("uncommitted_bytes_max", uncommitted_bytes_max as u64),
            ("command_bytes_max", command_bytes_max as u64),
            ("apply_threads", apply_threads as u64),
            ("snapshot_log_bytes", snapshot_log_bytes),
            ("snapshot_log_entries", snapshot_log_entries),
            ("snapshot_fetch_bytes_per_s", snapshot_fetch_bytes_per_s),
            ("machine_restarts_max", u64::from(machine_restarts_max)),
            ("proposals_max", proposals_max as u64),
            ("queries_max", queries_max as u64),
            ("call_timeout_ms", call_timeout_ms),
        ]
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

/// What a message has beside the payload of its largest entry: the entry's header and hash, and the message's own fields.
pub(crate) const MESSAGE_HEAD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let said = config.validate().expect_err("no permits").to_string();
        assert_eq!(said, "proposals_max is 0, it must be 1 to 1000000");
    }

    /// One of 2^64-1 was valid, and ended the node at its start.
    #[test]
    fn every_setting_has_a_range_and_is_held_to_it() {
        type Sections = BTreeMap<String, BTreeMap<String, u64>>;
        let encoded = rmp_serde::to_vec_named(&Config::default()).expect("a struct of numbers");
        let defaults: Sections = rmp_serde::from_slice(&encoded).expect("it has sections");
        let all = defaults.iter().flat_map(|(section, values)| values.keys().map(move |key| (section, key)));
        for (section, key) in all {
            let found = SettingRange::of(key);
            let SettingRange { min, max, .. } = found.unwrap_or_else(|| panic!("{key} has no range"));
            assert!(min <= max, "{key}");
            for wrong in [u64::MAX, max + 1, min.wrapping_sub(1)] {
                let mut changed = defaults.clone();
                changed.get_mut(section).expect("it is there").insert(key.clone(), wrong);
                let encoded = rmp_serde::to_vec_named(&changed).expect("numbers");
                // More than its type holds, otherwise.
                let Ok(config) = rmp_serde::from_slice::<Config>(&encoded) else { continue };
                let said = config.validate().expect_err(key).to_string();
                assert_eq!(said, format!("{key} is {wrong}, it must be {min} to {max}"));
            }
        }
        let config = Config::default();
        assert_eq!(config.values().len(), SettingRange::ALL.len());
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

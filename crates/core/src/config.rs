//! Timings and limits that the rules of Raft need. Validated once, before the first role starts.

use std::time::Duration;

use crate::entry::PAYLOAD_BYTES_MAX;

/// Timings and limits of one group's core.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// A follower that hears no leader campaigns after a time drawn between this and twice this (Raft paper, section 5.2). A
    /// leader that has not been in contact with a quorum for this long steps down.
    pub election_timeout: Duration,
    /// How often a leader sends a heartbeat to a peer for which it has nothing else.
    pub heartbeat_interval: Duration,
    /// So long a commit index waits for a message with entries to tell it to a peer. A client that writes one command after the
    /// other then costs a peer one message for each command and not two; the machine of an idle peer is this much behind.
    /// Zero: it is told at once.
    pub untold_commit_max: Duration,
    /// A leader gives leadership away when its oldest write has waited this long for the disk.
    pub persist_stall_max: Duration,
    /// Entries in one AppendEntries message, at most.
    pub append_entries_max: usize,
    /// The largest payload of a proposal, in bytes. Larger ones are refused: what is in the log must fit into one message to
    /// a peer, or nothing after it is ever committed. At most [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes_max: usize,
    /// Bytes of entries in one AppendEntries message, at most (a single entry may exceed it).
    pub append_bytes_max: usize,
    /// AppendEntries messages to one peer that may be unacknowledged.
    pub window_messages_max: usize,
    /// Bytes to one peer that may be unacknowledged.
    pub window_bytes_max: usize,
    /// Bytes of entries that a role keeps in memory although they are durable and committed.
    pub tail_bytes_max: usize,
    /// A leader refuses proposals as busy while more bytes than this are appended and not committed.
    pub uncommitted_bytes_max: usize,
    /// Entries handed to the applier and not reported applied yet, at most.
    pub apply_window_entries_max: u64,
    /// Bytes of entries handed to the applier and not reported applied yet: above this nothing more is handed over. A leader
    /// refuses proposals as busy while its applier is a whole window behind, in entries or bytes.
    pub apply_window_bytes_max: usize,
    /// A learner is promoted only if its log lacks at most so many entries of the leader's: until it has them, it cannot help a
    /// quorum that needs it.
    pub promotion_lag_entries_max: u64,
    /// By how much clocks may drift apart while a lease runs, where reads rely on leases; `None` where they do not. Then alone may a
    /// leader be elected before the election timeout has run (`safety.md` 17). There are no lease reads in this build.
    pub clock_drift_max: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            election_timeout: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(100),
            untold_commit_max: Duration::ZERO,
            persist_stall_max: Duration::from_secs(3),
            append_entries_max: 1_024,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            append_bytes_max: 1 << 20,
            window_messages_max: 64,
            window_bytes_max: 8 << 20,
            tail_bytes_max: 16 << 20,
            uncommitted_bytes_max: 64 << 20,
            apply_window_entries_max: 16_384,
            apply_window_bytes_max: 64 << 20,
            promotion_lag_entries_max: 1_024,
            clock_drift_max: None,
        }
    }
}

/// A setting that no group can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Heartbeats so rare that followers would campaign beside a healthy leader.
    #[error(
        "heartbeat_interval {heartbeat:?} must be above zero and at most a third of election_timeout {election:?}"
    )]
    Heartbeat {
        /// The heartbeat interval given.
        heartbeat: Duration,
        /// The election timeout given.
        election: Duration,
    },
    /// Payloads that a reader of the log would not take.
    #[error("payload_bytes_max is {given}, above the {PAYLOAD_BYTES_MAX} bytes that an entry may have")]
    Payload {
        /// The limit given.
        given: usize,
    },
    /// A setting that must not be zero.
    #[error("{name} must be at least 1")]
    Zero {
        /// The name of the setting.
        name: &'static str,
    },
}

impl Config {
    /// Checks that a group can run with these settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (heartbeat, election) = (self.heartbeat_interval, self.election_timeout);
        if heartbeat.is_zero() || heartbeat.saturating_mul(3) > election {
            return Err(ConfigError::Heartbeat { heartbeat, election });
        }
        if self.payload_bytes_max > PAYLOAD_BYTES_MAX {
            return Err(ConfigError::Payload { given: self.payload_bytes_max });
        }
        let limits = [
            ("payload_bytes_max", self.payload_bytes_max),
            ("append_entries_max", self.append_entries_max),
            ("append_bytes_max", self.append_bytes_max),
            ("window_messages_max", self.window_messages_max),
            ("window_bytes_max", self.window_bytes_max),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max),
            (
                "apply_window_entries_max",
                usize::try_from(self.apply_window_entries_max).unwrap_or(usize::MAX),
            ),
            ("apply_window_bytes_max", self.apply_window_bytes_max),
            ("persist_stall_max", usize::from(!self.persist_stall_max.is_zero())),
        ];
        match limits.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::Zero { name }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_takes_at_least_three_heartbeats() {
        let of = |heartbeat: u64, election: u64| Config {
            heartbeat_interval: Duration::from_millis(heartbeat),
            election_timeout: Duration::from_millis(election),
            ..Config::default()
        };
        assert_eq!(Config::default().validate(), Ok(()));
        assert_eq!(of(100, 300).validate(), Ok(()));
        for (heartbeat, election) in [(100, 299), (100, 50), (0, 300)] {
            let refused = of(heartbeat, election).validate();
            assert!(
                matches!(refused, Err(ConfigError::Heartbeat { .. })),
                "{heartbeat} {election}: {refused:?}"
            );
        }
    }

    #[test]
    fn no_payload_is_larger_than_an_entry_may_be() {
        let of = |given| Config { payload_bytes_max: given, ..Config::default() };
        assert_eq!(of(PAYLOAD_BYTES_MAX).validate(), Ok(()));
        let given = PAYLOAD_BYTES_MAX + 1;
        assert_eq!(of(given).validate(), Err(ConfigError::Payload { given }));
    }

    #[test]
    fn no_limit_is_zero() {
        let zero = |name, change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate(), Err(ConfigError::Zero { name }));
        };
        zero("append_entries_max", |config| config.append_entries_max = 0);
        zero("payload_bytes_max", |config| config.payload_bytes_max = 0);
        zero("append_bytes_max", |config| config.append_bytes_max = 0);
        zero("window_messages_max", |config| config.window_messages_max = 0);
        zero("window_bytes_max", |config| config.window_bytes_max = 0);
        zero("uncommitted_bytes_max", |config| config.uncommitted_bytes_max = 0);
        zero("apply_window_entries_max", |config| config.apply_window_entries_max = 0);
        zero("apply_window_bytes_max", |config| config.apply_window_bytes_max = 0);
        zero("persist_stall_max", |config| config.persist_stall_max = Duration::ZERO);
    }
}

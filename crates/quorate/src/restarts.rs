//! The restart rules, as one table: what restarts with what, how often, how fast, and why.
//!
//! `ra` of RabbitMQ once lost a thousand queues because one I/O fault climbed `one_for_all` to the root. Here a supervisor
//! gives up on no child but an applier whose machine panics at one entry again and again, and a child's end never ends its
//! siblings. What ends the node is [`NodeFailure`](crate::NodeFailure).

use std::time::Duration;

use quorate_core::Time;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct RestartRule {
    /// The child, by kind.
    pub actor: &'static str,
    /// The actor that restarts it.
    pub supervisor: &'static str,
    /// What happens to the others when it ends.
    pub with: &'static str,
    /// The first pause before a restart, doubled for each further one within the window.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Restarts further apart than this do not count together.
    pub window: Duration,
    /// The reason for this row.
    pub why: &'static str,
}

const fn rule(
    actor: &'static str,
    supervisor: &'static str,
    with: &'static str,
    backoff_ms: (u64, u64),
    why: &'static str,
) -> RestartRule {
    let (backoff_min, backoff_max) =
        (Duration::from_millis(backoff_ms.0), Duration::from_millis(backoff_ms.1));
    RestartRule { actor, supervisor, with, backoff_min, backoff_max, window: Duration::from_secs(10), why }
}

/// The root supervisor itself.
pub(crate) const NODE: RestartRule = rule(
    "Node",
    "the task that owns it",
    "all actors of the node",
    (10, 1_000),
    "what its children need is owned above it",
);
/// The log store's actor.
pub(crate) const LOG_STORE: RestartRule = rule(
    "LogStore",
    "Node",
    "all groups wait (standing Awaiting)",
    (0, 1_000),
    "database, anchor and I/O thread are owned above it: only its queue is lost, and roles resend that",
);
/// What asks the cluster to take this node in, where it was told to join one.
pub(crate) const JOINER: RestartRule =
    rule("Joiner", "Node", "none", (10, 1_000), "it asks again, and the leader answers as before");
/// The bridge's actor; it restarts its own Listener, Links and Sessions.
pub(crate) const BRIDGE: RestartRule = rule(
    "Bridge",
    "Node",
    "its connections end and are dialled again",
    (10, 1_000),
    "connections are all it loses",
);
/// A group's actor.
pub(crate) const GROUP: RestartRule = rule(
    "Group",
    "Node",
    "its role, replicators and applier",
    (0, 1_000),
    "they are reached through it alone",
);
/// A follower, candidate or leader.
pub(crate) const ROLE: RestartRule = rule(
    "Follower, Candidate, Leader",
    "Group",
    "a leader's replicators",
    (0, 1_000),
    "a role that panics is a Raft node that restarted: its state is read from disk under a new epoch",
);
/// An applier. After `machine_restarts_max` restarts at one entry it stays down: the replica is faulted.
pub(crate) const APPLIER: RestartRule = rule(
    "Applier",
    "Group",
    "none",
    (0, 1_000),
    "the machine is restored from the newest snapshot and the log replayed; a panicked machine is never used again",
);
/// A snapshotter.
pub(crate) const SNAPSHOTTER: RestartRule = rule(
    "Snapshotter",
    "Group",
    "none",
    (10, 1_000),
    "what is published is on disk; what it was writing or fetching is begun again",
);
/// A replicator.
pub(crate) const REPLICATOR: RestartRule = rule(
    "Replicator",
    "Leader",
    "none",
    (0, 0),
    "it owns a window and nothing else; a new replication session begins",
);

/// The whole table, as `docs/actors.md` prints it.
pub const RESTART_RULES: [RestartRule; 9] =
    [NODE, LOG_STORE, BRIDGE, JOINER, GROUP, ROLE, APPLIER, SNAPSHOTTER, REPLICATOR];

/// Counts the restarts of one child against its rule.
#[derive(Debug, Clone)]
pub(crate) struct Restarts {
    rule: RestartRule,
    recent: u32,
    total: u64,
    last: Option<Time>,
}

impl Restarts {
    pub(crate) fn new(rule: RestartRule) -> Self {
        Self { rule, recent: 0, total: 0, last: None }
    }

    /// Counts an end and returns the pause before the restart.
    pub(crate) fn pause(&mut self, now: Time) -> Duration {
        let apart = self.last.is_none_or(|last| now.since(last) > self.rule.window);
        self.recent = if apart { 0 } else { self.recent.saturating_add(1) };
        self.last = Some(now);
        self.total += 1;
        match self.recent {
            0 => self.rule.backoff_min,
            again => {
                let step = self.rule.backoff_min.max(Duration::from_millis(5)) * 2u32.pow(again.min(16) - 1);
                step.min(self.rule.backoff_max)
            }
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

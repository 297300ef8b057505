//! Why a group was not opened, and why a node had to stop.

use quorate_store::FailureKind;

/// Why a group was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The name is not allowed.
    #[error(transparent)]
    Name(#[from] quorate_core::NameError),
    /// The group is open on this node.
    #[error("group {name} is open on this node; clone its handle")]
    AlreadyOpen {
        /// The group.
        name: String,
    },
    /// The store refused the group.
    #[error("cannot open group {name}: {detail}")]
    Store {
        /// The group.
        name: String,
        /// The store's error.
        detail: String,
    },
    /// The first state of the group's machine could not be captured.
    #[error("cannot capture the first state of group {name}'s machine: {detail}")]
    Machine {
        /// The group.
        name: String,
        /// The reason.
        detail: String,
    },
    /// The node is stopping or has stopped.
    #[error("node stopped: {detail}")]
    Stopped {
        /// The reason.
        detail: String,
    },
}

/// Why a node had to stop by itself. It answers no call after that; callers that waited get *unknown*.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFailure {
    /// The disk failed: a sync is never tried twice (`docs/safety.md`).
    #[error("log store failed: {detail}; check the disk, then start the node again")]
    Store {
        /// Why, for a program that chooses what to do.
        kind: FailureKind,
        /// The store's error.
        detail: String,
    },
    /// A peer knows this node's name with another data directory: its disk was wiped or replaced.
    #[error("refused by {peer}: {detail}")]
    Replaced {
        /// The peer's id.
        peer: String,
        /// The peer's reason, with the remedy.
        detail: String,
    },
    /// A peer knows another process that used this boot number, or runs as an earlier start: there is a copy of this node's data
    /// directory.
    #[error("refused by {peer}: {detail}")]
    Twin {
        /// The peer's id.
        peer: String,
        /// The peer's reason, with the remedy.
        detail: String,
    },
    /// A peer knows a later start of this node's data directory: another process runs on a copy of it, or this one on an old copy.
    #[error(
        "refused by {peer}: {detail}. What this process has acknowledged may not be in the other one: keep its directory until that \
         is looked into"
    )]
    Outdated {
        /// The peer's id.
        peer: String,
        /// The peer's reason, with the remedy.
        detail: String,
    },
    /// An actor could not be kept alive.
    #[error("actor {actor} could not be restarted: {detail}")]
    Actor {
        /// The actor's name.
        actor: String,
        /// The reason.
        detail: String,
    },
}

//! How the binary ends: one number and one sentence.

use std::fmt;

/// The exit codes. Scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// Did not work, and none of the others.
    Failed,
    /// A wrong flag, variable, file, address or cluster list.
    Usage,
    /// The key, actor or directory is not there.
    NotFound,
    /// No leader, or nobody reached; a write did not happen.
    Unreachable,
    /// A write may have happened or may yet happen.
    Unknown,
    /// A compare-and-set found something else.
    Precondition,
    /// A health check failed.
    NotHealthy,
    /// The cluster has too much to do; a write did not happen.
    Busy,
    /// The disk is full.
    DiskFull,
    /// Ctrl-C, or a second signal.
    Interrupted,
}

impl Exit {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 11] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Unreachable,
        Self::Unknown,
        Self::Precondition,
        Self::NotHealthy,
        Self::Busy,
        Self::DiskFull,
        Self::Interrupted,
    ];

    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Unreachable => 4,
            Self::Unknown => 5,
            Self::Precondition => 6,
            Self::NotHealthy => 7,
            Self::Busy => 8,
            Self::DiskFull => 9,
            Self::Interrupted => 130,
        }
    }

    /// For the reference.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "did not work, for a reason that has no code of its own",
            Self::Usage => {
                "a wrong flag, variable, settings file, address or cluster list; nothing was tried"
            }
            Self::NotFound => "the key, actor or data directory is not there",
            Self::Unreachable => "no leader, or no endpoint reached; a write did not happen",
            Self::Unknown => "outcome unknown: a write may have happened or may yet happen",
            Self::Precondition => "a compare-and-set found something else; nothing changed",
            Self::NotHealthy => "a health check failed, or `health --wait` ran out of time",
            Self::Busy => "refused by load: the cluster has too much under way; nothing changed",
            Self::DiskFull => "the disk is full, the leader's or this node's; nothing changed",
            Self::Interrupted => "interrupted by Ctrl-C, or by a second signal while ending",
        }
    }
}

/// Why a command ended otherwise than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) exit: Exit,
    /// What is said on standard error: the mistake, and the remedy where there is one. Empty: nothing is said.
    pub(crate) message: String,
}

impl Failure {
    /// With a code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Without a code of its own.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A mistake in what was asked.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

//! How the binary ends: one number and one sentence.

use std::fmt;

use crate::settings::SettingError;

/// Name, code and meaning.
macro_rules! exits {
    ($($exit:ident $code:literal $about:literal;)+) => {
        /// The exit codes. Scripts depend on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Exit { $(#[doc = $about] $exit,)+ }

        impl Exit {
            /// All of them, in order.
            pub(crate) const ALL: [Self; [$($code),+].len()] = [$(Self::$exit),+];

            /// The process's exit code.
            pub(crate) fn code(self) -> u8 {
                match self { $(Self::$exit => $code,)+ }
            }

            /// As docs/reference/cli.md has it.
            pub(crate) fn about(self) -> &'static str {
                match self { $(Self::$exit => $about,)+ }
            }
        }
    };
}

exits! {
    Ok 0 "done";
    Failed 1 "did not work, for a reason that has no code of its own";
    Usage 2 "a wrong flag, variable, settings file, address or cluster list; nothing was tried";
    NotFound 3 "the key, member, actor or data directory is not there";
    Unreachable 4 "no leader, no endpoint reached, or no node of the cluster to join; a write did not happen";
    Unknown 5 "outcome unknown: a write may have happened or may yet happen";
    Precondition 6 "a compare-and-set found something else, another membership than `--expect` names, or leadership that cannot be handed over now; nothing changed";
    NotHealthy 7 "a health check failed, or `health --wait` or the wait for a voter ran out of time";
    Busy 8 "refused by load: the cluster has too much under way; nothing changed";
    DiskFull 9 "the disk is full, the leader's or this node's; nothing changed";
    NotPrinted 10 "done, a write too, but what it prints could not be written to standard output";
    Interrupted 130 "interrupted by Ctrl-C, or by a second signal while ending";
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For standard error: the mistake, and the remedy where there is one. Nothing is printed if it is empty.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A failure that has no code of its own.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The line for standard error; none if there is nothing to say.
    pub(crate) fn line(&self) -> Option<String> {
        (!self.message.is_empty()).then(|| format!("error: {}", self.message))
    }

    /// A mistake in flags, variables or files.
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

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::usage(error.to_string())
    }
}

//! The words of `quorate member`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::settings::parse_span;

/// About members.
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// List them, with how far each is, and the processes that wait to be taken in
    ///
    /// Without a leader they are printed as one node knows them, and the exit code is 4.
    List,
    /// Take in a new member: a learner, and a voter once its process has caught up
    ///
    /// A process that was started with `quorate serve --join` asks for that itself. This is for one that is to be known before it starts.
    Add {
        /// Its id, and where the other nodes dial it
        #[arg(value_name = "ID=HOST:PORT")]
        member: String,
        /// Where its API is
        #[arg(long, value_name = "HOST:PORT", display_order = 10)]
        api: Option<String>,
        #[command(flatten)]
        guard: Guard,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Make a learner a voter; refused while it lacks much of the log
    Promote {
        /// The learner
        id: String,
        #[command(flatten)]
        guard: Guard,
    },
    /// Make a voter a learner: it receives the log and has no vote
    ///
    /// Only `quorate member promote` gives the vote back, whatever flags its process has.
    Demote {
        /// The voter
        id: String,
        #[command(flatten)]
        guard: Guard,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove a member, a voter or a learner: also the leader, or one that is gone
    Remove {
        /// The member
        id: String,
        #[command(flatten)]
        guard: Guard,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Take in the process that waits under a member's id, in its place: a node whose disk is lost
    ///
    /// Start the node with an empty data directory and --join first: it waits. What the old data directory held counts no more.
    Replace {
        /// The member
        id: String,
        #[command(flatten)]
        guard: Guard,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Tell the cluster where a member has moved to
    ///
    /// A process that was started with `quorate serve --join` does so itself.
    Readdress {
        /// The member, and where the other nodes dial it from now on
        #[arg(value_name = "ID=HOST:PORT")]
        member: String,
        /// Where its API is from now on; if not given, it stays what it was
        #[arg(long, value_name = "HOST:PORT", display_order = 10)]
        api: Option<String>,
        #[command(flatten)]
        guard: Guard,
    },
}

/// Against the change of another operator.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Guard {
    /// Only if the membership in force is the one of this index, as `member list -o json` shows it; exit 6 if it is not
    #[arg(long, value_name = "INDEX", display_order = 11)]
    pub(crate) expect: Option<u64>,
}

/// Until the member is a voter.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Waiting {
    /// Do not wait until the member is a voter
    #[arg(long, display_order = 12)]
    pub(crate) no_wait: bool,
    /// How long to wait until the member is a voter, as 30s or 10m; exit 7 if it is not by then
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_span, display_order = 13)]
    pub(crate) within: Duration,
}

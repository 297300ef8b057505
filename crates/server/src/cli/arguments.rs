//! Commands, flags and their words. The flags that are settings too come from the table of settings.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use quorate_server::http::escape;

use super::member_arguments::Member;
use crate::settings::{Place, flags};

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    Cli::command().args(flags(Place::Global)).mut_subcommands(|command| match command.get_name() {
        "serve" => command.args(flags(Place::Serve)),
        "dev" => command.args(flags(Place::Dev)),
        "log" => command.mut_subcommands(|verb| verb.args(flags(Place::Log))),
        "snapshot" => command.mut_subcommands(|verb| match verb.get_name() {
            "restore" => verb.args(flags(Place::Serve)),
            _ => verb,
        }),
        "config" => command.mut_subcommands(|verb| verb.args(flags(Place::Serve))),
        _ => command,
    })
}

/// A replicated key-value store and counter, and the tool to run and ask it.
///
/// Data goes to standard output, messages to standard error. Every setting is a flag, a QUORATE_* variable, a key of
/// the TOML file named by --config, or its default, in this order.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, term_width = 100, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node of a cluster
    Serve,
    /// Run a whole cluster in this process, for a first look and for development
    Dev,
    /// Read and write keys
    #[command(subcommand)]
    Kv(Kv),
    /// Read and add to counters
    #[command(subcommand)]
    Counter(Counter),
    /// Every node's role, term and indexes
    Status,
    /// Ask each endpoint whether it is ready; exit 7 if one is not
    Health(Health),
    /// The members of the cluster
    #[command(subcommand)]
    Member(Member),
    /// The leader of the cluster
    #[command(subcommand)]
    Leader(Leader),
    /// End one node in order: leadership is handed over, then it is not ready, then its process ends
    ///
    /// From the node's own machine; with --endpoints naming that node alone. Refused, with nothing changed, while the others could commit
    /// nothing without it, or none of them can lead. To restart a node see docs/how-to/restart.md.
    Drain(Drain),
    /// The actors of a node
    #[command(subcommand)]
    Actors(Actors),
    /// Look at the log of a node that is not running
    #[command(subcommand)]
    Log(Log),
    /// Take a snapshot, save it as a backup, look at one, or make a new cluster of it
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Measure a running cluster
    #[command(subcommand)]
    Bench(Bench),
    /// What the settings of `serve` come to
    #[command(subcommand)]
    Config(Config),
    /// Print the help of a command
    Help {
        /// The command's words, as `kv put`
        command: Vec<String>,
    },
    /// Print the version
    Version,
    /// Print a completion script
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a page of docs/reference
    #[command(hide = true)]
    Reference {
        /// Which page
        page: Page,
    },
}

/// About keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Print a key's value; exit 3 if it has none
    Get {
        /// The key
        key: String,
        #[command(flatten)]
        reading: Reading,
    },
    /// Set a key
    #[command(visible_alias = "set")]
    Put {
        /// The key
        key: String,
        /// The value; `-` reads it from standard input, `--` goes before one that begins with a hyphen
        #[arg(allow_negative_numbers = true, required_unless_present = "file", conflicts_with = "file")]
        value: Option<String>,
        /// Read the value from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete a key; one that is not there may be deleted too
    #[command(visible_aliases = ["rm", "del"])]
    Delete {
        /// The key
        key: String,
        /// Do not ask; only a person at a terminal is asked
        #[arg(short, long)]
        yes: bool,
    },
    /// Set a key if it is as expected; exit 6 if it is not
    #[command(override_usage = "quorate kv cas [OPTIONS] <KEY> <EXPECTED> <VALUE>\n       \
                                quorate kv cas [OPTIONS] --absent <KEY> <VALUE>")]
    Cas {
        /// The key
        key: String,
        /// What is there, and what to set; `-` reads one of them from standard input
        #[arg(num_args = 0..=2, allow_negative_numbers = true, value_names = ["EXPECTED", "VALUE"])]
        values: Vec<String>,
        /// What is there
        #[arg(long, conflicts_with_all = ["absent", "expected_file"], allow_hyphen_values = true)]
        expected: Option<String>,
        /// Nothing is there
        #[arg(long, conflicts_with = "expected_file")]
        absent: bool,
        /// Read what is there from this file
        #[arg(long, value_name = "FILE")]
        expected_file: Option<PathBuf>,
        /// Read what to set from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List keys in order
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        listing: Listing,
        /// Leave the values out
        #[arg(long)]
        keys_only: bool,
    },
}

/// Which part of a list.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Names that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// How many, 1 to 1000
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

impl Listing {
    /// `prefix=..&limit=..`
    pub(crate) fn query(&self) -> String {
        let cursor = self.cursor.iter().map(|cursor| format!("&cursor={}", escape(cursor)));
        let (prefix, cursor) = (escape(&self.prefix), cursor.collect::<String>());
        format!("prefix={prefix}&limit={}{cursor}&{}", self.limit, self.reading.query())
    }
}

/// How fresh an answer must be.
#[derive(Debug, Args)]
pub(crate) struct Reading {
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value = "linearizable")]
    pub(crate) consistency: Consistency,
}

impl Reading {
    /// `consistency=...`
    pub(crate) fn query(&self) -> &'static str {
        match self.consistency {
            Consistency::Linearizable => "consistency=linearizable",
            Consistency::Stale => "consistency=stale",
        }
    }
}

/// The words of `?consistency=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// Reflects every write acknowledged before
    Linearizable,
    /// What the node that answers holds; may be old
    Stale,
}

/// About counters.
#[derive(Debug, Subcommand)]
pub(crate) enum Counter {
    /// Print a counter; one that was never added to is 0
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        reading: Reading,
    },
    /// Add to a counter and print what it is then
    Add {
        /// Its name
        name: String,
        /// How much; takes away if negative
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        amount: i64,
    },
    /// Set a counter, whatever it is
    Set {
        /// Its name
        name: String,
        /// What it is to be
        #[arg(allow_negative_numbers = true)]
        value: i64,
    },
    /// List counters in order of their names
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Delete a counter: it is 0 then, and not listed
    #[command(visible_aliases = ["rm", "del"])]
    Delete {
        /// Its name
        name: String,
        /// Do not ask; only a person at a terminal is asked
        #[arg(short, long)]
        yes: bool,
    },
}

/// Of `health`.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Ask again until all are ready or --timeout has passed
    #[arg(long)]
    pub(crate) wait: bool,
}

/// About the leader.
#[derive(Debug, Subcommand)]
pub(crate) enum Leader {
    /// Print the leader; exit 4 if there is none
    Show,
    /// Hand leadership to another voter; exit 6 if it is refused, 5 if no other leads in time
    Transfer {
        /// Who is to lead; the voter that can lead best, if not given
        #[arg(long, value_name = "NODE", display_order = 10)]
        to: Option<String>,
    },
}

/// Of `drain`.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// How long the node goes on while /readyz says 503, as 5s; the node's --drain-delay if not given
    #[arg(long, value_name = "TIME", value_parser = crate::settings::parse_span, display_order = 10)]
    pub(crate) delay: Option<std::time::Duration>,
    /// Also if the others can commit nothing without it, or none of them can lead now
    #[arg(long, display_order = 11)]
    pub(crate) force: bool,
    /// Do not ask; only a person at a terminal is asked
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// About actors.
#[derive(Debug, Subcommand)]
pub(crate) enum Actors {
    /// Print the supervision tree of the first endpoint's node
    Tree,
    /// Stop an actor, to see its supervisor start it again
    Stop {
        /// Its name, as `actors tree -o plain` prints it
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// About a log on disk.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Print entries
    Inspect {
        /// The group
        #[arg(long, default_value = "main", display_order = 10)]
        group: String,
        /// The first index
        #[arg(
            long,
            default_value_t = 0,
            hide_default_value = true,
            value_name = "INDEX",
            display_order = 11
        )]
        from: u64,
        /// How many entries, at most
        #[arg(long, default_value_t = 100, value_name = "NUMBER", display_order = 12)]
        limit: u64,
    },
    /// Read every entry and check the hash chain; exit 1 if anything is damaged
    Verify,
}

/// About snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Have a node take one now, of all that was acknowledged before
    Take {
        /// Of what the node has applied; no leader is asked
        #[arg(long, display_order = 11)]
        stale: bool,
    },
    /// Have a node take one, and write it to a file; service goes on meanwhile
    ///
    /// The endpoints are tried in turn, each with all of --timeout, until one has given a whole snapshot. Where one sends nothing more for 60 s,
    /// the next one is asked.
    Save {
        /// The file, which must not be there
        file: PathBuf,
        /// Of what the node has applied; no leader is asked
        #[arg(long, display_order = 11, conflicts_with = "latest")]
        stale: bool,
        /// The newest that the node has, without taking one
        #[arg(long, display_order = 10)]
        latest: bool,
    },
    /// Read all of a snapshot file, and print what it is of; exit 1 if it is damaged
    Inspect {
        /// The file, as it was saved or lies in `snapshots` of a data directory
        file: PathBuf,
    },
    /// Make the data directory of one node of a new cluster; then start it with `quorate serve`, without --cluster and --cluster-token
    ///
    /// Do it for each node of the list with the same file: a node that was not restored is of another cluster. The new cluster has an id of its
    /// own, of its list, of --cluster-token and of the snapshot, and goes on at the index of the snapshot. Without --cluster it is a cluster of
    /// this node alone. The directory must not be there.
    Restore {
        /// The file
        file: PathBuf,
    },
}

/// What is measured.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Bench {
    /// Writes per second; the keys have a prefix of their own and are deleted at the end
    Put(Load),
    /// Reads per second, of keys that are written before and deleted at the end
    Get(Load),
}

/// How much.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Load {
    /// Clients; each has one request under way at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) clients: u32,
    /// How long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub(crate) value: u32,
    /// How many keys are used
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keys: u32,
    /// By which way
    #[arg(long, value_enum, default_value = "bridge")]
    pub(crate) via: Via,
    /// Connections to each node that the clients share; by bridge only
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) connections: u32,
}

/// The ways into a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// The protocol nodes speak, as `quorate::Client` does
    Bridge,
    /// HTTP
    Rest,
}

/// About settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether they go together; ports and the data directory are not looked at
    Check,
    /// Print every setting, its value, and where it comes from
    Print,
}

/// Pages of docs/reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// Commands and flags
    Cli,
    /// Settings
    Config,
    /// The table of errors
    Errors,
}

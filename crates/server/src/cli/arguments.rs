//! Commands, flags and their words: the only place that knows clap's attributes.
//!
//! Flags that are settings too are texts here; the settings table says what they may be, so that a mistake is told in
//! the same words wherever it was made.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Flags;

/// A replicated key-value store and counter, and the tool to run and ask it.
///
/// Data goes to standard output, messages to standard error. Every setting is a flag, a QUORATE_* variable, a key of
/// the TOML file named by --config, or its default, in this order.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, term_width = 100, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// REST addresses of the cluster, between commas; tried in turn while nothing was sent
    #[arg(long, global = true, help_heading = "Global options", value_name = "URL,...")]
    pub(crate) endpoints: Option<String>,
    /// How data is printed: table, json, jsonl or plain
    #[arg(short, long, global = true, help_heading = "Global options", value_name = "FORMAT")]
    pub(crate) output: Option<String>,
    /// How long a command may take, as 5s or 300ms
    #[arg(long, global = true, help_heading = "Global options", value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// No messages but errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// The TOML file with settings
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub(crate) config: Option<String>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node of a cluster
    Serve(Serve),
    /// Run a whole cluster in this process, for a first look and for development
    Dev(Dev),
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
    /// The actors of a node
    #[command(subcommand)]
    Actors(Actors),
    /// Look at the log of a node that is not running
    #[command(subcommand)]
    Log(Log),
    /// Measure a running cluster
    #[command(subcommand)]
    Bench(Bench),
    /// What the settings of `serve` come to
    #[command(subcommand)]
    Config(Config),
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

/// Settings of one node.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// This node: selects its entry of --cluster [default: node0]
    #[arg(long)]
    id: Option<String>,
    /// Name or interface to bind for both ports; may be a wildcard [default: localhost, all its addresses]
    #[arg(long)]
    host: Option<String>,
    /// Port for the other nodes [default: that of the entry, or 7000]
    #[arg(long)]
    port: Option<String>,
    /// The initial nodes: id=host:port, or host:port, then named node0, node1, ... in order
    ///
    /// Read at the first start only: afterwards the replicated membership is the truth.
    #[arg(long, value_name = "NODE,...")]
    cluster: Option<String>,
    /// Keeps apart clusters with the same list
    #[arg(long, value_name = "TEXT")]
    cluster_token: Option<String>,
    /// What other nodes dial [default: this node's entry]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Port for REST and the dashboard [default: 8000]
    #[arg(long, value_name = "PORT")]
    api_port: Option<String>,
    /// What clients are told to dial [default: the host of the entry with --api-port]
    #[arg(long, value_name = "HOST:PORT")]
    api_advertise: Option<String>,
    /// Where this node keeps its data [default: quorate-data/<id>]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    #[command(flatten)]
    node: NodeFlags,
}

/// Settings of a cluster in one process.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// How many nodes [default: 3]
    #[arg(long, value_name = "NUMBER")]
    nodes: Option<String>,
    /// Name or interface to bind [default: localhost]
    #[arg(long)]
    host: Option<String>,
    /// The first node's port for the others; the next nodes take the next ones [default: 7000]
    #[arg(long)]
    port: Option<String>,
    /// The first node's port for REST; the next nodes take the next ones [default: 8000]
    #[arg(long, value_name = "PORT")]
    api_port: Option<String>,
    /// Keep the data here [default: a temporary directory, deleted at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    #[command(flatten)]
    node: NodeFlags,
}

/// What `serve`, `dev` and `config` share.
#[derive(Debug, Args)]
pub(crate) struct NodeFlags {
    /// A tuning setting; `quorate config print` lists them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Which messages are logged [default: info for serve, warn for dev]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How messages are logged: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
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
    Put {
        /// The key
        key: String,
        /// The value; `-` reads it from standard input, `--` goes before one that begins with a hyphen
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Delete a key; one that is not there may be deleted too
    Delete {
        /// The key
        key: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Set a key if it is as expected; exit 6 if it is not
    #[command(override_usage = "quorate kv cas [OPTIONS] <KEY> <EXPECTED> <VALUE>\n       \
                                quorate kv cas [OPTIONS] --absent <KEY> <VALUE>")]
    Cas {
        /// The key
        key: String,
        /// What is there, and what to set
        #[arg(num_args = 1..=2, required = true, allow_negative_numbers = true, value_names = ["EXPECTED", "VALUE"])]
        values: Vec<String>,
        /// What is there
        #[arg(long, conflicts_with = "absent", allow_hyphen_values = true)]
        expected: Option<String>,
        /// Nothing is there
        #[arg(long)]
        absent: bool,
    },
    /// List keys in order
    List {
        /// Keys that begin with this
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
    },
}

/// How fresh an answer must be.
#[derive(Debug, Args)]
pub(crate) struct Reading {
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value = "linearizable")]
    pub(crate) consistency: Consistency,
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
    /// Print a counter; one that nobody added to stands at 0
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
}

/// Of `health`.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Ask again until all are ready or --timeout has passed
    #[arg(long)]
    pub(crate) wait: bool,
}

/// About members.
#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// List them
    List,
}

/// About the leader.
#[derive(Debug, Subcommand)]
pub(crate) enum Leader {
    /// Print who leads; exit 4 if nobody does
    Show,
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
        #[command(flatten)]
        place: Place,
        /// The group
        #[arg(long, default_value = "main")]
        group: String,
        /// The first index
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "INDEX")]
        from: u64,
        /// How many entries, at most
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: u64,
    },
    /// Read every entry and check the hash chain; exit 1 if anything is damaged
    Verify {
        #[command(flatten)]
        place: Place,
    },
}

/// Whose log.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The node's data directory [default: quorate-data/<id>]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The node, if its directory is the default one
    #[arg(long)]
    id: Option<String>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Bench {
    /// Writes per second
    Put(Load),
    /// Reads per second
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
    /// Say whether `serve` could start with them
    Check(Box<Serve>),
    /// Print every setting, its value, and where it comes from
    Print(Box<Serve>),
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

impl Command {
    /// The flags of the command that are settings, and its `--set`.
    pub(crate) fn flags(&self) -> (Flags, Vec<String>) {
        match self {
            Self::Serve(serve) => serve.flags(),
            Self::Config(Config::Check(serve) | Config::Print(serve)) => serve.flags(),
            Self::Dev(dev) => dev.flags(),
            Self::Log(Log::Inspect { place, .. } | Log::Verify { place }) => {
                (vec![("data_dir", place.data_dir.clone()), ("id", place.id.clone())], Vec::new())
            }
            Self::Kv(_)
            | Self::Counter(_)
            | Self::Status
            | Self::Health(_)
            | Self::Member(_)
            | Self::Leader(_)
            | Self::Actors(_)
            | Self::Bench(_)
            | Self::Completion { .. }
            | Self::Reference { .. } => (Vec::new(), Vec::new()),
        }
    }
}

impl Serve {
    fn flags(&self) -> (Flags, Vec<String>) {
        let mut flags = vec![
            ("id", self.id.clone()),
            ("host", self.host.clone()),
            ("port", self.port.clone()),
            ("cluster", self.cluster.clone()),
            ("cluster_token", self.cluster_token.clone()),
            ("advertise", self.advertise.clone()),
            ("api_port", self.api_port.clone()),
            ("api_advertise", self.api_advertise.clone()),
            ("data_dir", self.data_dir.clone()),
        ];
        flags.extend(self.node.flags());
        (flags, self.node.assignments.clone())
    }
}

impl Dev {
    fn flags(&self) -> (Flags, Vec<String>) {
        let mut flags = vec![
            ("nodes", self.nodes.clone()),
            ("host", self.host.clone()),
            ("port", self.port.clone()),
            ("api_port", self.api_port.clone()),
            ("data_dir", self.data_dir.clone()),
        ];
        flags.extend(self.node.flags());
        (flags, self.node.assignments.clone())
    }
}

impl NodeFlags {
    fn flags(&self) -> Flags {
        vec![("log", self.log.clone()), ("log_format", self.log_format.clone())]
    }
}

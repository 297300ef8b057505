//! What a served node is started with: plain data, already parsed. Flags, variables and files are read by the binary.

use std::path::PathBuf;

use quorate::Config;

use crate::address::Listed;
use crate::api::ApiOptions;

/// [`ServeOptions::raft_connections_max`] where nothing else is set: members, and the clients that speak the bridge.
pub(crate) const RAFT_CONNECTIONS_MAX: usize = 1_024;

/// Settings of one served node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// This node's id; one of `cluster`, if that is not empty.
    pub id: String,
    /// The name or interface to bind, for both ports; may be a wildcard (`0.0.0.0`, `::`). `localhost` is all its
    /// addresses.
    pub host: String,
    /// The port to listen at for peers; 0 takes a free one (only for a cluster of one). Peers dial that of the entry in `cluster`,
    /// which differs behind address translation.
    pub port: u16,
    /// Nodes listen at the port by which the members know this one, where the data directory has one: `port` was not chosen.
    pub port_as_founded: bool,
    /// The port of the API; 0 takes a free one.
    pub api_port: u16,
    /// All nodes of the cluster as it is founded, this one included. Once it has taken part its data directory has the members,
    /// and a list that differs is warned of. Empty: those of the directory, or a cluster of this node alone.
    pub cluster: Vec<Listed>,
    /// `host:port` of nodes of a cluster that this one joins, in place of `cluster`.
    pub join: Vec<String>,
    /// It stays a learner then, until it is promoted by command.
    pub learner: bool,
    /// Distinguishes clusters that have the same list.
    pub cluster_token: String,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// `host:port` that peers dial: this node's entry in `cluster`, if there is one.
    pub advertise: Option<String>,
    /// `host:port` where clients reach the API; by default the host of the entry, or of `advertise`, and the port of the API.
    pub api_advertise: Option<String>,
    /// The settings of the node.
    pub config: Config,
    /// The settings of the API.
    pub api: ApiOptions,
    /// Connections of peers and clients at the port of the nodes, at most.
    pub raft_connections_max: usize,
}

impl ServeOptions {
    /// A node with this id and directory, alone, on free ports of the loopback; set what differs.
    pub fn new(id: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            id: id.into(),
            host: "localhost".into(),
            port: 0,
            port_as_founded: false,
            api_port: 0,
            cluster: Vec::new(),
            join: Vec::new(),
            learner: false,
            cluster_token: String::new(),
            data_dir: data_dir.into(),
            advertise: None,
            api_advertise: None,
            config: Config::default(),
            api: ApiOptions::default(),
            raft_connections_max: RAFT_CONNECTIONS_MAX,
        }
    }
}

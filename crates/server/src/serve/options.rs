//! What a served node is started with: plain data, already parsed; where it came from (flag, variable, file) is the
//! business of the binary.

use std::path::PathBuf;
use std::time::Duration;

use quorate::Config;

/// A node of the cluster as it was founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The host its peers dial.
    pub host: String,
    /// The port its peers dial.
    pub port: u16,
}

impl Listed {
    /// `host:port`, with brackets where the host is an IPv6 address.
    pub fn address(&self) -> String {
        join(&self.host, self.port)
    }
}

/// Settings of one served node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// This node's id; one of `cluster`, if that is not empty.
    pub id: String,
    /// The name or interface to bind, for both ports; may be a wildcard (`0.0.0.0`, `::`). `localhost` is all its
    /// addresses.
    pub host: String,
    /// The port peers dial; 0 takes a free one (only for a cluster of one).
    pub port: u16,
    /// The port of the API; 0 takes a free one.
    pub api_port: u16,
    /// All nodes of the cluster as it was founded, this one included; read at the first start only. Empty: a cluster of
    /// this node alone.
    pub cluster: Vec<Listed>,
    /// Keeps apart clusters with the same list.
    pub cluster_token: String,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// `host:port` that peers dial; by default this node's entry in `cluster`.
    pub advertise: Option<String>,
    /// `host:port` where clients reach the API; by default the host of the entry and the port of the API.
    pub api_advertise: Option<String>,
    /// The settings of the node.
    pub config: Config,
    /// The settings of the API.
    pub api: ApiOptions,
}

impl ServeOptions {
    /// A node with this id and directory, alone, on free ports of the loopback; set what differs.
    pub fn new(id: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            id: id.into(),
            host: "localhost".into(),
            port: 0,
            api_port: 0,
            cluster: Vec::new(),
            cluster_token: String::new(),
            data_dir: data_dir.into(),
            advertise: None,
            api_advertise: None,
            config: Config::default(),
            api: ApiOptions::default(),
        }
    }
}

/// Bounds of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOptions {
    /// Open connections, at most; more wait to be accepted.
    pub connections_max: usize,
    /// The longest body of a JSON request, in bytes.
    pub json_bytes_max: usize,
    /// How long a request may take to arrive, headers and body each.
    pub read_timeout: Duration,
    /// The deadline of a request that names none.
    pub call_timeout: Duration,
    /// The latest deadline a request may name.
    pub call_timeout_max: Duration,
    /// How long one peer is waited for when it is asked for its status.
    pub peer_timeout: Duration,
    /// How long requests under way may go on once the node ends.
    pub drain_timeout: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            json_bytes_max: 8 << 20,
            read_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            call_timeout_max: Duration::from_secs(60),
            peer_timeout: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(crate) fn join(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

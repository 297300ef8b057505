//! A whole cluster in one process, for a first look and for work on an application.

use std::path::{Path, PathBuf};

use quorate::Config;

use crate::serve::{Ended, Running, ServeError};

/// Settings of a cluster in one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevOptions {
    /// How many nodes: `node0`, `node1`, ...
    pub nodes: u16,
    /// The name or interface to bind.
    pub host: String,
    /// The first node's port for peers; the others take the next ones. 0: free ones.
    pub port: u16,
    /// The first node's port for the API; the others take the next ones. 0: free ones.
    pub api_port: u16,
    /// Where the data is; `None`: a temporary directory that is deleted at the end.
    pub data_dir: Option<PathBuf>,
    /// The settings of every node.
    pub config: Config,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            host: "localhost".into(),
            port: 7_000,
            api_port: 8_000,
            data_dir: None,
            config: Config::default(),
        }
    }
}

/// A cluster that is running. Dropping it ends it without order.
#[derive(Debug)]
pub struct RunningDev {
    nodes: Vec<Running>,
    data_dir: PathBuf,
}

/// Starts all nodes; returns once all their ports are bound.
pub async fn dev(options: DevOptions) -> Result<RunningDev, ServeError> {
    let _ = options;
    todo!()
}

impl RunningDev {
    /// The nodes, in order of their numbers.
    pub fn nodes(&self) -> &[Running] {
        &self.nodes
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Waits until any node ends.
    pub async fn wait(&self) -> Ended {
        todo!()
    }

    /// Ends all nodes.
    pub async fn shutdown(&self, graceful: bool) {
        let _ = graceful;
        todo!()
    }

    /// Serves until the process is told to end, as [`Running::until_signal`].
    pub async fn until_signal(self) -> Ended {
        todo!()
    }
}

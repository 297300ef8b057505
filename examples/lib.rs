//! One idea a file: every example is under `examples/` and runs in CI. Here is only what several of them need.

use std::net::TcpListener;

use quorate::Config;
use tracing_subscriber::EnvFilter;

/// Shows what the nodes log where `RUST_LOG` asks for it (`RUST_LOG=quorate=info`).
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    // A second one in a process is refused, and not needed.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Addresses of the loopback that are free now, for nodes that must know each other before they start.
pub fn free_addresses(count: usize) -> std::io::Result<Vec<String>> {
    let bound: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    bound.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

/// Elections in tenths of a second, so that an example shows one without a wait. The defaults suit real networks.
pub fn quick() -> Config {
    let mut config = Config::default();
    config.cluster.election_timeout_ms = 300;
    config.node.heartbeat_interval_ms = 50;
    config
}

//! One idea a file: every example is under `examples/` and runs in CI. Here is only what several of them need.

use std::net::TcpListener;

use quorate::Config;

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

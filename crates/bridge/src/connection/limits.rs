//! The bounds and times of one connection, from the bridge's options.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) control_bytes_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) calls_inbound_max: usize,
    pub(crate) monitors_max: usize,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
}

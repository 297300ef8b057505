//! What the owner of a bridge may choose. Validated once, at start.

use crate::error::StartError;
use crate::frame::{NODE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::identity::{Admission, AdmitAll, Identity, PeerKind};
use crate::net::{Net, TokioNet};
use std::sync::Arc;

/// Everything a bridge is started with. Start from [`BridgeOptions::new`] and change fields.
#[derive(Clone)]
pub struct BridgeOptions {
    /// Prefix of every actor name: node and instance, since ractor's registry is one per process.
    pub name_prefix: String,
    /// Who we are.
    pub identity: Identity,
    /// `host:port` to listen on (port 0: any free one); `None` for a process that only dials.
    pub listen: Option<String>,
    /// Decides which nodes may connect. By default all.
    pub admission: Arc<dyn Admission>,
    /// How connections are made.
    pub net: Arc<dyn Net>,
    /// The only source of randomness (backoff jitter).
    pub seed: u64,
    /// Time between two pings of a connection.
    pub keepalive_interval_ms: u64,
    /// Silence after which a connection is given up, even if TCP reports nothing.
    pub keepalive_timeout_ms: u64,
    /// Longest time to resolve an address and connect.
    pub connect_timeout_ms: u64,
    /// Longest time from connected to both Hellos exchanged, admission not counted.
    pub handshake_timeout_ms: u64,
    /// Longest time for [`Admission::admit`].
    pub admission_timeout_ms: u64,
    /// First pause before a reconnect.
    pub backoff_min_ms: u64,
    /// Longest pause before a reconnect.
    pub backoff_max_ms: u64,
    /// Bulk bytes queued per connection; above, casts and calls are refused as `Busy`.
    pub queue_bytes_max: usize,
    /// Control bytes queued per connection; above, the oldest messages are dropped for the newest.
    pub control_bytes_max: usize,
    /// Longest message sent or accepted, in bytes.
    pub message_bytes_max: usize,
    /// Calls of one inbound connection that may wait for their reply; above, `Busy` is answered.
    pub calls_inbound_max: usize,
    /// Inbound connections of clients at a time; above, new ones are refused. Nodes have places of their own.
    pub sessions_max: usize,
    /// Inbound connections at a time that have not said who they are; above, the oldest of them is closed.
    pub handshakes_max: usize,
    /// Names one inbound connection may monitor.
    pub monitors_max: usize,
    /// First pause before a crashed child is started again; doubles per crash within a minute.
    pub restart_min_ms: u64,
    /// Longest pause before a crashed child is started again.
    pub restart_max_ms: u64,
    /// Oldest protocol version spoken. Tests narrow it; leave it otherwise.
    pub protocol_min: u16,
    /// Newest protocol version spoken.
    pub protocol_max: u16,
}

/// Oldest protocol version this build speaks.
const PROTOCOL_MIN: u16 = 1;
/// A day: what is added to a clock must not pass its end.
const TIME_MS_MAX: u64 = 86_400_000;
/// Newest protocol version this build speaks.
const PROTOCOL_MAX: u16 = 1;

impl BridgeOptions {
    /// Defaults for a local network; no listener.
    pub fn new(name_prefix: impl Into<String>, identity: Identity) -> Self {
        Self {
            name_prefix: name_prefix.into(),
            identity,
            listen: None,
            admission: Arc::new(AdmitAll),
            net: Arc::new(TokioNet::default()),
            seed: 0,
            keepalive_interval_ms: 250,
            keepalive_timeout_ms: 1_500,
            connect_timeout_ms: 2_000,
            handshake_timeout_ms: 2_000,
            admission_timeout_ms: 3_000,
            backoff_min_ms: 50,
            backoff_max_ms: 2_000,
            queue_bytes_max: 32 << 20,
            control_bytes_max: 256 << 10,
            message_bytes_max: 16 << 20,
            calls_inbound_max: 4_096,
            sessions_max: 1_024,
            handshakes_max: 256,
            monitors_max: 4_096,
            restart_min_ms: 10,
            restart_max_ms: 2_000,
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
        }
    }

    /// The first option out of range, if any.
    pub fn validate(&self) -> Result<(), StartError> {
        check_identity(&self.identity)?;
        let positive = [
            ("keepalive_interval_ms", self.keepalive_interval_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("handshake_timeout_ms", self.handshake_timeout_ms),
            ("admission_timeout_ms", self.admission_timeout_ms),
            ("backoff_min_ms", self.backoff_min_ms),
            ("restart_min_ms", self.restart_min_ms),
            ("calls_inbound_max", self.calls_inbound_max as u64),
            ("sessions_max", self.sessions_max as u64),
            ("handshakes_max", self.handshakes_max as u64),
        ];
        if let Some((option, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return fail(option, "is 0, must be at least 1");
        }
        let times = [
            ("keepalive_interval_ms", self.keepalive_interval_ms),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("handshake_timeout_ms", self.handshake_timeout_ms),
            ("admission_timeout_ms", self.admission_timeout_ms),
            ("backoff_max_ms", self.backoff_max_ms),
            ("restart_max_ms", self.restart_max_ms),
        ];
        if let Some((option, value)) = times.into_iter().find(|(_, value)| *value > TIME_MS_MAX) {
            return fail(option, format!("is {value}, must be at most {TIME_MS_MAX}"));
        }
        let (timeout, interval) = (self.keepalive_timeout_ms, self.keepalive_interval_ms);
        if timeout < 2 * interval {
            let problem = format!(
                "is {timeout}, must be at least twice keepalive_interval_ms ({interval}) or one late ping ends a link"
            );
            return fail("keepalive_timeout_ms", problem);
        }
        if self.backoff_max_ms < self.backoff_min_ms {
            return fail("backoff_max_ms", format!("is {}, below backoff_min_ms", self.backoff_max_ms));
        }
        if self.restart_max_ms < self.restart_min_ms {
            return fail("restart_max_ms", format!("is {}, below restart_min_ms", self.restart_max_ms));
        }
        let (message, queue) = (self.message_bytes_max, self.queue_bytes_max);
        if !(1024..=1 << 30).contains(&message) {
            return fail("message_bytes_max", format!("is {message}, must be 1 KiB to 1 GiB"));
        }
        if queue < message {
            let problem =
                format!("is {queue}, below message_bytes_max: the largest message would never be sent");
            return fail("queue_bytes_max", problem);
        }
        if self.control_bytes_max < 4096 {
            let problem = format!("is {}, must be at least 4096", self.control_bytes_max);
            return fail("control_bytes_max", problem);
        }
        if self.protocol_min > self.protocol_max {
            return fail("protocol_min", format!("is {}, above protocol_max", self.protocol_min));
        }
        Ok(())
    }
}

fn fail<T>(option: &'static str, problem: impl Into<String>) -> Result<T, StartError> {
    Err(StartError::Options { option, problem: problem.into() })
}

fn check_identity(identity: &Identity) -> Result<(), StartError> {
    let length = identity.node.len();
    match identity.kind {
        PeerKind::Client if length > 0 => {
            return fail("identity.node", "is set, but a client has no node id");
        }
        PeerKind::Peer | PeerKind::Joiner if !(1..=NODE_BYTES_MAX).contains(&length) => {
            return fail("identity.node", format!("has {length} bytes, must have 1 to {NODE_BYTES_MAX}"));
        }
        PeerKind::Client | PeerKind::Peer | PeerKind::Joiner => {}
    }
    let length = identity.api_address.len();
    if length > TEXT_BYTES_MAX {
        let problem = format!("has {length} bytes, must have at most {TEXT_BYTES_MAX}");
        return fail("identity.api_address", problem);
    }
    Ok(())
}

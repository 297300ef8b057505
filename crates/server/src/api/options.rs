//! The bounds of the API.

use std::time::Duration;

/// Bounds of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOptions {
    /// Open connections, at most. One on which no request is under way then gives its place to a new one; if there is none, the new
    /// one waits.
    pub connections_max: usize,
    /// Whether an actor may be stopped by `POST /v1/actors/{name}:stop`, and the node drained from other machines.
    pub actions: bool,
    /// Names that the node knows itself by, from its own settings.
    pub hosts: Vec<String>,
    /// Names by which the API is reached beside those that the node knows itself: of a load balancer, or an alias. `*`: any.
    pub allowed_hosts: Vec<String>,
    /// The longest body of a JSON request, in bytes.
    pub json_bytes_max: usize,
    /// The bodies of all requests under way together, in bytes.
    pub bodies_bytes_max: usize,
    /// Pages of keys and counters that are put together at a time; further requests wait, for as long as they may take. As many
    /// again of stale reads and of the log, which wait for no majority. Each has 4 MiB of `answers_bytes_max` meanwhile.
    pub pages_max: usize,
    /// The long answers of all requests together that are being put together, or that their clients have not taken yet, in bytes.
    pub answers_bytes_max: usize,
    /// How long a client may take nothing of its answer before its connection is closed.
    pub write_timeout: Duration,
    /// How long the body of a request may take to arrive.
    pub read_timeout: Duration,
    /// How long a connection is kept while no request has arrived on it: pools of clients keep theirs for 60 to 90 seconds. The
    /// headers of a request have to arrive in this time, too: a client that sends them slowly costs no more than an idle one.
    pub idle_timeout: Duration,
    /// How long the one request of a connection without a place may take, from its first bytes to the end of its answer.
    pub lobby_timeout: Duration,
    /// The deadline of a request that names none.
    pub call_timeout: Duration,
    /// The latest deadline a request may name.
    pub call_timeout_max: Duration,
    /// How long one peer is waited for when it is asked for its status.
    pub peer_timeout: Duration,
    /// How long the API goes on and `/readyz` says 503 before the node ends in order, so that balancers see it.
    pub drain_delay: Duration,
    /// How long requests under way may go on once the node ends.
    pub drain_timeout: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            actions: false,
            hosts: Vec::new(),
            allowed_hosts: Vec::new(),
            json_bytes_max: 8 << 20,
            bodies_bytes_max: 64 << 20,
            // So all of them find room as long as clients take their answers.
            pages_max: 8,
            answers_bytes_max: 64 << 20,
            write_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            lobby_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(5),
            call_timeout_max: Duration::from_secs(60),
            peer_timeout: Duration::from_secs(1),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

//! How far the API is from its end, for those that accept and serve connections.

use tokio::sync::watch;

/// How far the API is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// Connections are accepted.
    Accepting,
    /// No connection is accepted; requests under way are answered.
    Draining,
    /// Requests under way are dropped.
    Closed,
}

/// Returns too if the sender is dropped.
pub(super) async fn until_draining(listening: &mut watch::Receiver<Listening>) {
    drop(listening.wait_for(|listening| *listening != Listening::Accepting).await);
}

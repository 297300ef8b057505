//! Sends messages of a role or replicator to its peers.
//!
//! A full queue or a link that is down loses a message; that is ordinary, and Raft sends again. A message that can never be
//! sent would stop its group in silence, so it is logged; config validation must exclude it
//! (`crate::config`). Bound: it keeps a count.

use quorate_bridge::{CastError, RemoteRef};
use quorate_core::Message;

use crate::error::BROKEN_TARGET;
use crate::protocol::GroupProtocol;
use crate::role::codec::encode_message;

/// What one role or replicator sends.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    unsendable: u64,
}

impl Outbound {
    /// Queues a message for its peer.
    pub(crate) fn send(&mut self, remote: &RemoteRef<GroupProtocol>, message: &Message) {
        let Err(CastError::Malformed { detail }) = remote.cast(&encode_message(message)) else { return };
        self.unsendable += 1;
        // It is resent after every timeout: the first, second, fourth .. are logged.
        if self.unsendable.is_power_of_two() {
            let (peer, count) = (&message.to, self.unsendable);
            tracing::error!(target: BROKEN_TARGET, %peer, count, detail, "a message to a peer can never be sent");
        }
    }
}

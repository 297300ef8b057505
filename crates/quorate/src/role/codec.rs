//! The messages between the roles of a group, as bytes: the bridge, the door and Group carry them unread.

use bytes::Bytes;
use quorate_core::{Message, MessageError};

use crate::protocol::Request;

/// The protocols by which a group can agree, as numbers on the wire.
const RAFT: u8 = 1;

/// Why bytes from another node are not for the roles of this build.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsensusError {
    #[error("protocol {protocol} is not known to this build; upgrade this node")]
    Protocol { protocol: u8 },
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl ConsensusError {
    /// Whether it is about entries of a build that knows more than this one.
    pub(crate) fn is_newer(&self) -> bool {
        matches!(self, Self::Message(MessageError::Entries { error, .. }) if error.is_newer())
    }
}

/// A message as a request to the group on another node.
pub(crate) fn encode_message(message: &Message) -> Request {
    Request::Consensus { protocol: RAFT, message: message.encode() }
}

/// The message in such a request.
pub(crate) fn decode_message(protocol: u8, message: &Bytes) -> Result<Message, ConsensusError> {
    if protocol != RAFT {
        return Err(ConsensusError::Protocol { protocol });
    }
    Ok(Message::decode(message)?)
}

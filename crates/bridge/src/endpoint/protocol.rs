//! What two nodes agree on about one actor: message type, reply type, name, version; and what arrives.

use super::reply::ReplyPort;
use crate::frame::Encoding;
use crate::identity::PeerInfo;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// The contract of a remote actor.
///
/// ```
/// use quorate_bridge::Protocol;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Ask { Ping { n: u64 } }
/// #[derive(Serialize, Deserialize)]
/// struct Pong { n: u64 }
///
/// struct PingPong;
/// impl Protocol for PingPong {
///     type Message = Ask;
///     type Reply = Pong;
///     const NAME: &'static str = "ping-pong";
///     const VERSION: u16 = 1;
/// }
/// ```
///
/// Payload fields of bytes should use `serde_bytes` (or `bytes::Bytes`): without it MessagePack is 37 times slower.
pub trait Protocol: 'static {
    /// The type of casts and calls. Adding variants or defaulted fields is compatible under [`Encoding::Named`].
    type Message: Serialize + DeserializeOwned + Send + 'static;
    /// The type of replies; `()` for a protocol of casts only.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// Identifies the contract; a message of another one is refused as `Unsupported`.
    const NAME: &'static str;
    /// The version this side sends.
    const VERSION: u16;
    /// The oldest version this side still understands.
    const VERSION_MIN: u16 = Self::VERSION;
    /// How structs are written. Both are understood on receipt.
    const ENCODING: Encoding = Encoding::Named;
}

/// One message that arrived for an exposed actor.
pub struct Inbound<P: Protocol> {
    /// The node that sent it.
    pub from: Arc<PeerInfo>,
    /// The message, decoded.
    pub message: P::Message,
    /// `Some` for a call. Dropping it unanswered ends the call as `Died`.
    pub reply: Option<ReplyPort<P::Reply>>,
}

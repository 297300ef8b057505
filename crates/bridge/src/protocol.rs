//! What two nodes agree on about one actor: message type, reply type, name, version; and what arrives.

use crate::error::ReplyError;
use crate::frame::{FailCode, encode_payload};
use crate::wire::Wire;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::time::Instant;

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
    /// What is cast or called. Adding variants or defaulted fields is compatible under [`Encoding::Named`].
    type Message: Serialize + DeserializeOwned + Send + 'static;
    /// What a call is answered with; `()` for protocols of casts only.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// Says which contract this is; a message of another one is refused as `Unsupported`.
    const NAME: &'static str;
    /// The version this side sends.
    const VERSION: u16;
    /// The oldest version this side still understands.
    const VERSION_MIN: u16 = Self::VERSION;
    /// How structs are written. Both are understood on receipt.
    const ENCODING: Encoding = Encoding::Named;
}

/// How a protocol's structs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Maps with field names: fields may be added and reordered. The default.
    Named,
    /// Arrays: smaller and 45 % cheaper, but any change of fields needs a new `VERSION`. For hot records only.
    Positional,
}

/// The lane a message travels in. Order is kept within a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Small and urgent (votes, heartbeats). Goes before bulk; has its own reserve of bytes; when that is full the
    /// oldest control message gives way to the newest.
    Control,
    /// Everything else. Refused as `Busy` when the peer's queue is full.
    Bulk,
}

impl Class {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Class::Control => 0,
            Class::Bulk => 1,
        }
    }

    pub(crate) fn from_wire(value: u8) -> Option<Self> {
        match value {
            0 => Some(Class::Control),
            1 => Some(Class::Bulk),
            _ => None,
        }
    }
}

/// What a process is to the one it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A node of the cluster, with id, incarnation and boot number.
    Peer,
    /// No id; learns the cluster id from the answering Hello.
    Client,
    /// A node that is not a member yet. Knows its id and, if it was told, the cluster's.
    Joiner,
}

/// Who is at the other end of a connection, as it said in its Hello and as admission accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its node id; empty for a client.
    pub node: String,
    /// What it is.
    pub kind: Kind,
    /// Made when its data directory was; another one under the same name is another node.
    pub incarnation: u64,
    /// Counts its starts.
    pub boot: u64,
    /// Of the configuration that must agree.
    pub fingerprint: u64,
    /// The cluster it belongs to.
    pub cluster: [u8; 32],
    /// Where its API listens, for redirects; may be empty.
    pub api_address: String,
    /// The socket address of this connection's other end.
    pub address: String,
    /// Protocol version both ends speak on this connection.
    pub protocol: u16,
    /// The longest message it accepts.
    pub message_bytes_max: u64,
}

/// One message that arrived for an exposed actor.
pub struct Inbound<P: Protocol> {
    /// Who sent it.
    pub from: Arc<PeerInfo>,
    /// The message.
    pub message: P::Message,
    /// `Some` for a call. Dropping it unanswered tells the caller `Died`.
    pub reply: Option<ReplyPort<P::Reply>>,
}

/// Answers one call, over the connection it came on.
pub struct ReplyPort<R> {
    raw: RawReply,
    encoding: Encoding,
    reply: PhantomData<fn(R)>,
}

impl<R: Serialize> ReplyPort<R> {
    pub(crate) fn new(raw: RawReply, encoding: Encoding) -> Self {
        Self { raw, encoding, reply: PhantomData }
    }

    /// Sends the answer. On an error the caller is told `Died` (or finds its link lost): it always gets one end.
    pub fn send(self, reply: &R) -> Result<(), ReplyError> {
        self.raw.answer(|buffer| encode_payload(buffer, self.encoding, reply))
    }

    /// True once the caller has stopped waiting; the answer would be thrown away.
    pub fn is_expired(&self) -> bool {
        self.raw.deadline.is_some_and(|deadline| deadline <= Instant::now()) || self.raw.wire.is_closed()
    }

    /// When the caller stops waiting, by this side's clock (the way here is not counted); `None`: far away.
    pub fn deadline(&self) -> Option<Instant> {
        self.raw.deadline
    }
}

/// The untyped half of a reply port. One slot of the connection's inbound calls is free again when it goes.
pub(crate) struct RawReply {
    pub(crate) wire: Arc<Wire>,
    pub(crate) call: u64,
    pub(crate) class: Class,
    pub(crate) deadline: Option<Instant>,
    pub(crate) answered: bool,
}

impl RawReply {
    fn answer(
        mut self,
        encode: impl FnOnce(bytes::BytesMut) -> Result<bytes::BytesMut, rmp_serde::encode::Error>,
    ) -> Result<(), ReplyError> {
        self.answered = true;
        let result = self.wire.send_reply(self.call, self.class, encode);
        if let Err(error) = &result {
            self.wire.send_call_failed(self.call, FailCode::Died, &error.to_string());
        }
        result
    }

    /// Ends the call without an actor having seen it.
    pub(crate) fn refuse(mut self, code: FailCode, detail: &str) {
        self.answered = true;
        self.wire.send_call_failed(self.call, code, detail);
    }
}

impl Drop for RawReply {
    fn drop(&mut self) {
        if !self.answered {
            self.wire.send_call_failed(self.call, FailCode::Died, "the actor dropped the call unanswered");
        }
        self.wire.inbound_call_ended();
    }
}

//! What a name stands for: a sink, or an actor behind one.

use super::protocol::{Inbound, Protocol};
use super::reply::{RawReply, ReplyPort};
use crate::frame::{PayloadError, decode};
use crate::identity::PeerInfo;
use ractor::{ActorCell, ActorRef, Message};
use std::sync::Arc;

/// A sink's receiver has ended: the name it is exposed under is down until it is exposed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of this sink has ended")]
pub struct SinkClosed;

/// What a name stands for: made by [`Exposed::actor`] or [`Exposed::sink`].
pub struct Exposed {
    contract: Contract,
    new_batch: NewBatch,
    cell: Option<ActorCell>,
}

/// The protocol an exposed name speaks.
#[derive(Clone, Copy)]
struct Contract {
    tag: u32,
    name: &'static str,
    version_min: u16,
    version: u16,
}

impl Exposed {
    /// An actor whose message type can be made from a batch. It gets one message per socket read and connection, and
    /// its end is reported to all that monitor the name.
    pub fn actor<P, M>(actor: ActorRef<M>) -> Self
    where
        P: Protocol,
        M: Message + From<Vec<Inbound<P>>>,
    {
        let cell = actor.get_cell();
        let sink = move |batch| actor.send_message(M::from(batch)).map_err(|_| SinkClosed);
        Self { cell: Some(cell), ..Self::sink::<P>(sink) }
    }

    /// A function called with each batch on the connection's reading task, so it must not block or wait: it is for
    /// routing without a hop. After [`SinkClosed`] the name is down until it is exposed again.
    pub fn sink<P: Protocol>(
        sink: impl Fn(Vec<Inbound<P>>) -> Result<(), SinkClosed> + Send + Sync + 'static,
    ) -> Self {
        let sink: Sink<P> = Arc::new(sink);
        let new_batch = move || -> Box<dyn Batch> {
            Box::new(SinkBatch::<P> { sink: sink.clone(), messages: Vec::new() })
        };
        let contract = Contract {
            tag: crc32fast::hash(P::NAME.as_bytes()),
            name: P::NAME,
            version_min: P::VERSION_MIN,
            version: P::VERSION,
        };
        Self { contract, new_batch: Arc::new(new_batch), cell: None }
    }

    pub(crate) fn under(self, name: &str, generation: u64) -> Exposure {
        let Self { contract, new_batch, cell } = self;
        Exposure { name: name.into(), generation, contract, new_batch, cell, ended: None }
    }
}

/// One exposed name, from `expose` until it ends or is exposed again.
#[derive(Clone)]
pub(crate) struct Exposure {
    pub(crate) name: Arc<str>,
    /// Unique in this bridge: a name that is exposed again gets another one.
    pub(crate) generation: u64,
    contract: Contract,
    new_batch: NewBatch,
    /// The actor behind it; `None` for a sink.
    pub(crate) cell: Option<ActorCell>,
    /// How it ended; `None` while it can be reached.
    pub(crate) ended: Option<Arc<str>>,
}

impl Exposure {
    pub(crate) fn new_batch(&self) -> Box<dyn Batch> {
        (self.new_batch)()
    }

    /// The same exposure, ended.
    pub(crate) fn end(&self, how: &str) -> Self {
        Self { ended: Some(how.into()), ..self.clone() }
    }

    /// Checks that it speaks the sender's protocol in the sender's version.
    pub(crate) fn check_protocol(&self, tag: u32, version: u32) -> Result<(), String> {
        let Contract { tag: own_tag, name: protocol, version_min: min, version: max } = self.contract;
        if tag != own_tag {
            return Err(format!("{} speaks protocol {protocol}, not the sender's", self.name));
        }
        if !(u32::from(min)..=u32::from(max)).contains(&version) {
            let known =
                if min == max { format!("version {max}") } else { format!("versions {min} to {max}") };
            return Err(format!("{} speaks {known} of {protocol}, not version {version}", self.name));
        }
        Ok(())
    }
}

type NewBatch = Arc<dyn Fn() -> Box<dyn Batch> + Send + Sync>;
type Sink<P> = Arc<dyn Fn(Vec<Inbound<P>>) -> Result<(), SinkClosed> + Send + Sync>;

/// The messages of one socket read for one exposure; hides the protocol's types.
pub(crate) trait Batch: Send {
    /// Decodes and adds a message. Gives the reply port back if it does not decode.
    fn push(
        &mut self,
        from: &Arc<PeerInfo>,
        payload: &[u8],
        reply: Option<RawReply>,
    ) -> Result<(), (PayloadError, Option<RawReply>)>;
    fn deliver(self: Box<Self>) -> Result<(), SinkClosed>;
}

struct SinkBatch<P: Protocol> {
    sink: Sink<P>,
    messages: Vec<Inbound<P>>,
}

impl<P: Protocol> Batch for SinkBatch<P> {
    fn push(
        &mut self,
        from: &Arc<PeerInfo>,
        payload: &[u8],
        reply: Option<RawReply>,
    ) -> Result<(), (PayloadError, Option<RawReply>)> {
        match decode::<P::Message>(payload) {
            Ok(message) => {
                let reply = reply.map(|raw| ReplyPort::new(raw, P::ENCODING));
                self.messages.push(Inbound { from: from.clone(), message, reply });
                Ok(())
            }
            Err(error) => Err((error, reply)),
        }
    }

    fn deliver(self: Box<Self>) -> Result<(), SinkClosed> {
        (self.sink)(self.messages)
    }
}

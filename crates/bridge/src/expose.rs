//! The export table: names that can be reached from other nodes, and nothing else.
//!
//! Owned above the Bridge actor; a new version of the table is published for each change, so that a connection reads
//! it without a lock and its monitors see every change.

use crate::error::Sent;
use crate::frame::{self, Down, Kind, Name, PayloadError, decode_payload};
use crate::protocol::{Inbound, PeerInfo, Protocol, RawReply, ReplyPort};
use crate::wire::Wire;
use ractor::{ActorCell, ActorRef, Message};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// The receiver of a sink is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver is gone")]
pub struct Gone;

impl Gone {
    /// The batch was handed to the sink, which may have done something with it.
    pub fn outcome(self) -> Sent {
        Sent::Unknown
    }
}

/// What a name stands for: made by [`Exposed::actor`] or [`Exposed::sink`].
pub struct Exposed {
    pub(crate) protocol: u32,
    protocol_name: &'static str,
    versions: (u16, u16),
    target: Arc<dyn Target>,
    cell: Option<ActorCell>,
}

impl Exposed {
    /// An actor whose message type can be made from a batch. It gets one message per socket read and connection, and
    /// its end is reported to everyone who monitors the name.
    pub fn actor<P, M>(actor: ActorRef<M>) -> Self
    where
        P: Protocol,
        M: Message + From<Vec<Inbound<P>>>,
    {
        let cell = actor.get_cell();
        let mut exposed = Self::sink::<P>(move |batch| actor.send_message(M::from(batch)).map_err(|_| Gone));
        exposed.cell = Some(cell);
        exposed
    }

    /// A function called with each batch on the connection's reading task, so it must not block and must not wait:
    /// it is for routing without a hop. [`Gone`] marks the name as dead until it is exposed again.
    pub fn sink<P: Protocol>(
        sink: impl Fn(Vec<Inbound<P>>) -> Result<(), Gone> + Send + Sync + 'static,
    ) -> Self {
        Self {
            protocol: crc32fast::hash(P::NAME.as_bytes()),
            protocol_name: P::NAME,
            versions: (P::VERSION_MIN, P::VERSION),
            target: Arc::new(SinkTarget { sink: Arc::new(sink), protocol: PhantomData }),
            cell: None,
        }
    }

    pub(crate) fn under(self, name: &str, generation: u64) -> Exposure {
        let Self { protocol, protocol_name, versions, target, cell } = self;
        Exposure {
            name: name.into(),
            generation,
            protocol,
            protocol_name,
            versions,
            target,
            cell,
            gone: None,
        }
    }
}

/// An exposed name, one life of it.
#[derive(Clone)]
pub(crate) struct Exposure {
    pub(crate) name: Arc<str>,
    /// Unique in this process: a name exposed again is another life.
    pub(crate) generation: u64,
    protocol: u32,
    protocol_name: &'static str,
    versions: (u16, u16),
    pub(crate) target: Arc<dyn Target>,
    pub(crate) cell: Option<ActorCell>,
    /// How it ended.
    pub(crate) gone: Option<Arc<str>>,
}

impl Exposure {
    pub(crate) fn dead(&self, how: &str) -> Self {
        Self { gone: Some(how.into()), ..self.clone() }
    }

    pub(crate) fn understands(&self, protocol: u32, version: u32) -> Result<(), String> {
        let (min, max) = self.versions;
        if protocol != self.protocol {
            return Err(format!("{} speaks protocol {}, not the sender's", self.name, self.protocol_name));
        }
        if !(u32::from(min)..=u32::from(max)).contains(&version) {
            return Err(format!(
                "{} speaks version {min} to {max} of {}, not {version}",
                self.name, self.protocol_name
            ));
        }
        Ok(())
    }
}

/// By name.
pub(crate) type Table = Arc<BTreeMap<Arc<str>, Arc<Exposure>>>;

/// Where batches for one exposure are made.
pub(crate) trait Target: Send + Sync {
    fn batch(&self) -> Box<dyn TargetBatch>;
}

/// Messages of one socket read for one target.
pub(crate) trait TargetBatch: Send {
    fn push(
        &mut self,
        from: &Arc<PeerInfo>,
        payload: &[u8],
        reply: Option<RawReply>,
    ) -> Result<(), (PayloadError, Option<RawReply>)>;
    fn len(&self) -> usize;
    fn deliver(self: Box<Self>) -> Result<(), Gone>;
}

type Sink<P> = Arc<dyn Fn(Vec<Inbound<P>>) -> Result<(), Gone> + Send + Sync>;

struct SinkTarget<P: Protocol> {
    sink: Sink<P>,
    protocol: PhantomData<fn(P)>,
}

impl<P: Protocol> Target for SinkTarget<P> {
    fn batch(&self) -> Box<dyn TargetBatch> {
        Box::new(SinkBatch::<P> { sink: self.sink.clone(), messages: Vec::new() })
    }
}

struct SinkBatch<P: Protocol> {
    sink: Sink<P>,
    messages: Vec<Inbound<P>>,
}

impl<P: Protocol> TargetBatch for SinkBatch<P> {
    fn push(
        &mut self,
        from: &Arc<PeerInfo>,
        payload: &[u8],
        reply: Option<RawReply>,
    ) -> Result<(), (PayloadError, Option<RawReply>)> {
        match decode_payload::<P::Message>(payload) {
            Ok(message) => {
                let reply = reply.map(|raw| ReplyPort::new(raw, P::ENCODING));
                self.messages.push(Inbound { from: from.clone(), message, reply });
                Ok(())
            }
            Err(error) => Err((error, reply)),
        }
    }

    fn len(&self) -> usize {
        self.messages.len()
    }

    fn deliver(self: Box<Self>) -> Result<(), Gone> {
        (self.sink)(self.messages)
    }
}

/// Tells the other end how `name` stands now, and from now on.
pub(crate) fn tell_state(wire: &Wire, name: &str, table: &Table) {
    let mut watched = wire.watched().lock();
    match table.get(name) {
        Some(exposure) if exposure.gone.is_none() => {
            wire.send_system(frame::cold(Kind::Up, &Name { name: name.into() }));
            watched.0.insert(name.into(), Some(exposure.generation));
        }
        dead => {
            let (reason, detail) = how_gone(dead, "not_exposed");
            wire.send_system(frame::cold(Kind::Down, &Down { name: name.into(), reason, detail }));
            watched.0.insert(name.into(), None);
        }
    }
}

/// Tells the other end what changed among the names it monitors. A life that ended unseen between two versions of the
/// table still gives its Down, before the Up of the next.
pub(crate) fn tell_changes(wire: &Wire, table: &Table) {
    let mut watched = wire.watched().lock();
    for (name, told) in &mut watched.0 {
        let now = table.get(name.as_str());
        let alive = now.filter(|exposure| exposure.gone.is_none()).map(|exposure| exposure.generation);
        if *told == alive {
            continue;
        }
        if told.is_some() {
            let (reason, detail) = how_gone(now, "withdrawn");
            wire.send_system(frame::cold(Kind::Down, &Down { name: name.clone(), reason, detail }));
        }
        if alive.is_some() {
            wire.send_system(frame::cold(Kind::Up, &Name { name: name.clone() }));
        }
        *told = alive;
    }
}

fn how_gone(exposure: Option<&Arc<Exposure>>, absent: &str) -> (String, String) {
    match exposure {
        Some(exposure) => {
            let detail = exposure.gone.as_deref().unwrap_or("replaced by a new life of the name");
            ("died".into(), detail.to_owned())
        }
        None => (absent.into(), String::new()),
    }
}

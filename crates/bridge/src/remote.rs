//! A typed reference to an actor on another node.

use crate::error::{CallError, CastError, NameError, Sent, Stage, check_name};
use crate::event::{MonitorEvent, MonitorId};
use crate::frame::{self, CallBody, CastBody, Kind, NAME_BYTES_MAX, decode_payload, encode_payload};
use crate::protocol::{Class, Protocol};
use crate::slot::Slot;
use crate::task::OwnedTask;
use crate::wire::{CallEnd, Refused, Wire};
use bytes::{Bytes, BytesMut};
use ractor::{ActorRef, Message};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// An actor on another node, by node and name; what the name stands for is found there, at each message.
///
/// - At most once: a message is never sent again by the bridge.
/// - Order: what one sender sends to one target over refs of the same [`Class`] arrives in that order, as long as the
///   same connection lasts. A new connection never overtakes an old one; what was lost between is told by
///   [`crate::LinkEvent`], never hidden.
/// - It outlives the connection, the Link and the Bridge actor. Cloning is cheap.
pub struct RemoteRef<P: Protocol> {
    slot: Arc<Slot>,
    name: Arc<str>,
    class: Class,
    incarnation: Option<u64>,
    protocol_tag: u32,
    protocol: PhantomData<fn(P)>,
}

impl<P: Protocol> Clone for RemoteRef<P> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone(), name: self.name.clone(), ..*self }
    }
}

impl<P: Protocol> std::fmt::Debug for RemoteRef<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteRef<{}>({}@{})", P::NAME, self.name, self.slot.node)
    }
}

/// A cast encoded once, to be sent to the actor of one name on several nodes.
#[derive(Clone)]
pub struct Parcel<P: Protocol> {
    frame: Bytes,
    protocol: PhantomData<fn(P)>,
}

impl<P: Protocol> Parcel<P> {
    /// Encodes `message` for the actor called `name`, wherever it is sent.
    pub fn new(name: &str, message: &P::Message) -> Result<Self, CastError> {
        check_name("actor name", name, NAME_BYTES_MAX)
            .map_err(|error: NameError| CastError::Malformed { detail: error.to_string() })?;
        let tag = crc32fast::hash(P::NAME.as_bytes());
        Ok(Self { frame: encode_cast::<P>(name, tag, message)?, protocol: PhantomData })
    }

    /// Bytes it takes on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.frame.len()
    }
}

impl<P: Protocol> RemoteRef<P> {
    pub(crate) fn new(slot: Arc<Slot>, name: &str) -> Self {
        let protocol_tag = crc32fast::hash(P::NAME.as_bytes());
        Self {
            slot,
            name: name.into(),
            class: Class::Bulk,
            incarnation: None,
            protocol_tag,
            protocol: PhantomData,
        }
    }

    /// The same actor over the lane of `class`. Refs start as [`Class::Bulk`].
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The same actor, but only while the node is of this incarnation; `NotConnected` otherwise.
    #[must_use]
    pub fn pinned(mut self, incarnation: u64) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// The node it is on.
    pub fn node(&self) -> &str {
        &self.slot.node
    }

    /// The name it is exposed under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if a message would be queued now.
    pub fn is_connected(&self) -> bool {
        self.wire().is_ok()
    }

    /// Sends `message` and forgets it. `Ok` means queued, nothing more. Does not wait.
    pub fn cast(&self, message: &P::Message) -> Result<(), CastError> {
        let wire = self.wire()?;
        let frame = encode_cast::<P>(&self.name, self.protocol_tag, message)?;
        self.queue_cast(&wire, frame)
    }

    /// Sends what was encoded before. It goes to the name the parcel was made for.
    pub fn cast_parcel(&self, parcel: &Parcel<P>) -> Result<(), CastError> {
        let wire = self.wire()?;
        self.queue_cast(&wire, parcel.frame.clone())
    }

    fn queue_cast(&self, wire: &Wire, frame: Bytes) -> Result<(), CastError> {
        check_length(wire, frame.len())?;
        wire.send_cast(self.class, frame).map_err(|refused| self.refused(refused))
    }

    /// Sends `message` and waits for its reply, at most `timeout`.
    pub async fn call(&self, message: &P::Message, timeout: Duration) -> Result<P::Reply, CallError> {
        self.start_call(message, timeout)?.finish().await
    }

    /// Sends `message` now; its end is cast to `actor` as `to_message` makes it. For actors, which must not wait in a
    /// handler. An error means that nothing was sent and nothing will be cast.
    pub fn call_then<M: Message>(
        &self,
        message: &P::Message,
        timeout: Duration,
        actor: ActorRef<M>,
        to_message: impl FnOnce(Result<P::Reply, CallError>) -> M + Send + 'static,
    ) -> Result<(), CallError> {
        let call = self.start_call(message, timeout)?;
        // Bounded: it ends with the call, `timeout` from now at the latest.
        OwnedTask::spawn(async move {
            let end = call.finish().await;
            // A dead actor has no use for its reply.
            let _ = actor.send_message(to_message(end));
        })
        .detach();
        Ok(())
    }

    /// Tells `subscriber` how the actor fares: now, and at each change. See `BridgeHandle::monitor`.
    pub fn monitor(&self, subscriber: impl Fn(MonitorEvent) + Send + Sync + 'static) -> MonitorId {
        let id = self.slot.monitor(&self.name, Arc::new(subscriber));
        MonitorId { node: self.slot.node.to_string(), id }
    }

    fn start_call(&self, message: &P::Message, timeout: Duration) -> Result<Call<P>, CallError> {
        let wire = self.wire()?;
        let after_ms = timeout.as_millis() as u64;
        let (call, ended) = wire.open_call(self.name.clone()).map_err(|refused| self.refused(refused))?;
        // From here on the guard gives the call id back, however this ends.
        let mut guard = Call {
            wire: wire.clone(),
            to: self.clone(),
            id: call,
            ended,
            sequence: 0,
            after_ms,
            deadline: Instant::now() + timeout.min(Duration::from_secs(86_400 * 365)),
            done: false,
        };
        let mut buffer = frame::open(256);
        let version = u32::from(P::VERSION);
        let at =
            CallBody::open(&mut buffer, (call, self.class, after_ms), &self.name, self.protocol_tag, version);
        let frame = finish_frame::<P>(buffer, at, Kind::Call, message)?;
        check_length(&wire, frame.len())?;
        guard.sequence = wire.send_call(self.class, call, frame).map_err(|refused| self.refused(refused))?;
        Ok(guard)
    }

    fn wire(&self) -> Result<Arc<Wire>, CastError> {
        let node = || self.slot.node.to_string();
        let Some(wire) = self.slot.current() else {
            return Err(CastError::NotConnected { node: node(), reason: self.slot.why_not_connected() });
        };
        match self.incarnation {
            Some(pinned) if pinned != wire.peer.incarnation => {
                let found = wire.peer.incarnation;
                let reason = format!("it is incarnation {found:x} now, this ref is pinned to {pinned:x}");
                Err(CastError::NotConnected { node: node(), reason })
            }
            Some(_) | None => Ok(wire),
        }
    }

    fn refused(&self, refused: Refused) -> CastError {
        let node = self.slot.node.to_string();
        match refused {
            Refused::Full { queued, max } => CastError::Busy {
                node,
                detail: format!("{queued} of {max} bytes wait in its queue; try again later"),
            },
            Refused::Closed { reason } => CastError::NotConnected { node, reason: reason.to_string() },
        }
    }
}

/// A call under way. Dropping it gives it up.
struct Call<P: Protocol> {
    wire: Arc<Wire>,
    to: RemoteRef<P>,
    id: u64,
    ended: oneshot::Receiver<CallEnd>,
    sequence: u64,
    after_ms: u64,
    deadline: Instant,
    done: bool,
}

impl<P: Protocol> Call<P> {
    async fn finish(mut self) -> Result<P::Reply, CallError> {
        let end = timeout_at(self.deadline, &mut self.ended).await;
        self.done = end.is_ok();
        match end {
            Ok(Ok(Ok(payload))) => decode_payload(&payload)
                .map_err(|error| CallError::Malformed { stage: Stage::Reply, detail: error.to_string() }),
            Ok(Ok(Err(error))) => Err(error),
            // The wire tells every call how it ended before it forgets it; said without a promise all the same.
            Ok(Err(_)) => {
                let (node, reason) = (self.to.node().to_owned(), "closed".to_owned());
                Err(CallError::LinkLost { node, reason, sent: Sent::Unknown })
            }
            Err(_) => {
                let sent = self.wire.abandon_call(self.to.class, self.id, self.sequence);
                let (node, name) = (self.to.node().to_owned(), self.to.name().to_owned());
                Err(CallError::TimedOut { node, name, after_ms: self.after_ms, sent })
            }
        }
    }
}

impl<P: Protocol> Drop for Call<P> {
    fn drop(&mut self) {
        if !self.done {
            self.wire.abandon_call(self.to.class, self.id, self.sequence);
        }
    }
}

fn encode_cast<P: Protocol>(name: &str, tag: u32, message: &P::Message) -> Result<Bytes, CastError> {
    let mut buffer = frame::open(256);
    let at = CastBody::open(&mut buffer, name, tag, u32::from(P::VERSION));
    finish_frame::<P>(buffer, at, Kind::Cast, message)
}

fn finish_frame<P: Protocol>(
    buffer: BytesMut,
    at: usize,
    kind: Kind,
    message: &P::Message,
) -> Result<Bytes, CastError> {
    let mut buffer = encode_payload(buffer, P::ENCODING, message)
        .map_err(|error| CastError::Malformed { detail: format!("does not serialise: {error}") })?;
    frame::pack::close_bin(&mut buffer, at);
    Ok(frame::seal(buffer, kind))
}

fn check_length(wire: &Wire, length: usize) -> Result<(), CastError> {
    let max = wire.message_bytes_max();
    if length <= max {
        return Ok(());
    }
    let detail = format!(
        "{length} bytes are above message_bytes_max ({max}): send it in parts, or raise it on both nodes"
    );
    Err(CastError::Malformed { detail })
}

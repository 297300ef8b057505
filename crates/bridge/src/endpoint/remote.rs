//! A typed reference to an actor on another node.

use super::call::Call;
use super::peer::Peer;
use super::protocol::Protocol;
use crate::connection::{Connection, ItemKind, PushError};
use crate::error::{CallError, CallStep, CastError};
use crate::frame::{self, CallBody, CastBody, Class, FrameKind, close_bin, decode, encode_payload};
use crate::identity::PeerInfo;
use bytes::{Bytes, BytesMut};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// An actor on another node, by node and name. That node looks the name up for each message.
///
/// - At most once: the bridge never resends a message.
/// - Order: what one sender sends to one target over refs of the same [`Class`] arrives in that order, as long as the
///   same connection lasts. A new connection never overtakes an old one; messages lost between them are reported by
///   [`crate::LinkEvent`].
/// - It outlives the connection, the Link and the Bridge actor. Cloning is cheap.
pub struct RemoteRef<P: Protocol> {
    peer: Arc<Peer>,
    name: Arc<str>,
    class: Class,
    protocol_tag: u32,
    protocol: PhantomData<fn(P)>,
}

impl<P: Protocol> Clone for RemoteRef<P> {
    fn clone(&self) -> Self {
        Self { peer: self.peer.clone(), name: self.name.clone(), ..*self }
    }
}

impl<P: Protocol> std::fmt::Debug for RemoteRef<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteRef<{}>({}@{})", P::NAME, self.name, self.peer.node)
    }
}

impl<P: Protocol> RemoteRef<P> {
    pub(crate) fn new(peer: Arc<Peer>, name: &str) -> Self {
        let protocol_tag = crc32fast::hash(P::NAME.as_bytes());
        Self { peer, name: name.into(), class: Class::Bulk, protocol_tag, protocol: PhantomData }
    }

    /// The same actor over the lane of `class`. Refs start as [`Class::Bulk`].
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The node it is on.
    pub fn node(&self) -> &str {
        &self.peer.node
    }

    /// Why the link is not up; `None` while it is.
    pub fn why_not_connected(&self) -> Option<String> {
        self.connection().is_err().then(|| self.peer.why_not_connected())
    }

    /// Sends `message` without waiting. `Ok` means that it is queued, nothing more.
    pub fn cast(&self, message: &P::Message) -> Result<(), CastError> {
        self.cast_over(&self.connection()?, message)
    }

    /// As [`cast`](Self::cast), if the node that the link leads to now is the one that is meant. It is *not connected* otherwise.
    pub fn cast_to(
        &self,
        message: &P::Message,
        is_meant: impl FnOnce(&Arc<PeerInfo>) -> bool,
    ) -> Result<(), CastError> {
        let connection = self.connection()?;
        if !is_meant(&connection.peer) {
            let reason = "another data directory has the node's name".to_owned();
            return Err(CastError::NotConnected { node: self.peer.node.to_string(), reason });
        }
        self.cast_over(&connection, message)
    }

    fn cast_over(&self, connection: &Arc<Connection>, message: &P::Message) -> Result<(), CastError> {
        let mut buffer = frame::open(256);
        let at = CastBody::open(&mut buffer, &self.name, self.protocol_tag, u32::from(P::VERSION));
        let frame = finish_frame::<P>(buffer, at, FrameKind::Cast, message)?;
        check_length(connection, frame.len())?;
        connection.send(self.class, ItemKind::Cast, frame).map_err(|error| self.cast_error(error))?;
        Ok(())
    }

    /// Sends `message` and waits for its reply, at most `timeout`.
    pub async fn call(&self, message: &P::Message, timeout: Duration) -> Result<P::Reply, CallError> {
        let payload = self.start_call(message, timeout)?.finish().await?;
        decode(&payload)
            .map_err(|error| CallError::Malformed { step: CallStep::Reply, detail: error.to_string() })
    }

    fn start_call(&self, message: &P::Message, timeout: Duration) -> Result<Call, CallError> {
        let connection = self.connection()?;
        let to = (self.peer.node.clone(), self.name.clone());
        let mut call = Call::open(connection.clone(), to, self.class, timeout)
            .map_err(|error| self.cast_error(error))?;
        let mut buffer = frame::open(256);
        let head = (call.id, self.class, call.after_ms);
        let at = CallBody::open(&mut buffer, head, &self.name, self.protocol_tag, u32::from(P::VERSION));
        let frame = finish_frame::<P>(buffer, at, FrameKind::Call, message)?;
        check_length(&connection, frame.len())?;
        call.sequence = connection
            .send(self.class, ItemKind::Call(call.id), frame)
            .map_err(|error| self.cast_error(error))?;
        Ok(call)
    }

    fn connection(&self) -> Result<Arc<Connection>, CastError> {
        self.peer.current().ok_or_else(|| CastError::NotConnected {
            node: self.peer.node.to_string(),
            reason: self.peer.why_not_connected(),
        })
    }

    fn cast_error(&self, error: PushError) -> CastError {
        let node = self.peer.node.to_string();
        match error {
            PushError::Full { queued, max } => CastError::Busy {
                node,
                detail: format!("{queued} of {max} bytes wait in its queue; try again later"),
            },
            PushError::Closed { reason } => CastError::NotConnected { node, reason: reason.to_string() },
        }
    }
}

fn finish_frame<P: Protocol>(
    buffer: BytesMut,
    at: usize,
    kind: FrameKind,
    message: &P::Message,
) -> Result<Bytes, CastError> {
    let mut buffer = encode_payload(buffer, P::ENCODING, message)
        .map_err(|error| CastError::Malformed { detail: format!("does not serialise: {error}") })?;
    close_bin(&mut buffer, at);
    Ok(frame::seal(buffer, kind))
}

fn check_length(connection: &Connection, length: usize) -> Result<(), CastError> {
    let max = connection.message_bytes_max;
    if length <= max {
        return Ok(());
    }
    let detail = format!(
        "{length} bytes are above message_bytes_max ({max}): send it in parts, or raise it on both nodes"
    );
    Err(CastError::Malformed { detail })
}

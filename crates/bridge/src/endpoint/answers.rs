//! The side that dialled: replies, failures and monitor events.

use super::peer::Peer;
use crate::connection::{CallEnd, Connection, Receiver, serve};
use crate::frame::{
    CallFailed, CastFailed, Down, FailCode, FrameError, FrameKind, NAME_BYTES_MAX, Name, ReplyBody,
    TEXT_BYTES_MAX, cap_text, read_cold,
};
use crate::net::Stream;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// Serves an outbound connection to `peer` until it ends; returns the reason. `buffer` holds what arrived after the
/// Hello.
pub(crate) async fn serve_outbound(
    peer: Arc<Peer>,
    connection: Arc<Connection>,
    stream: Stream,
    buffer: BytesMut,
) -> String {
    let receiver = AnswerReceiver { connection: connection.clone(), peer };
    serve(&connection, stream, buffer, receiver).await
}

struct AnswerReceiver {
    connection: Arc<Connection>,
    peer: Arc<Peer>,
}

impl Receiver for AnswerReceiver {
    fn frame(&mut self, kind: FrameKind, body: &Bytes) -> Result<bool, FrameError> {
        match kind {
            FrameKind::Reply => {
                let ReplyBody { call, payload } = ReplyBody::read(body)?;
                // The caller decodes, on its own task; it gets a view of the buffer, not a copy.
                self.connection.end_call(call, CallEnd::Reply(body.slice_ref(payload)));
            }
            FrameKind::CallFailed => {
                let CallFailed { call, code, detail } = read_cold(kind, body)?;
                cap_text(kind, "detail", &detail, TEXT_BYTES_MAX)?;
                self.connection.end_call(call, CallEnd::Failed { code, detail });
            }
            FrameKind::CastFailed => {
                let CastFailed { name, code, count, detail } = read_cold(kind, body)?;
                cap_text(kind, "name", &name, NAME_BYTES_MAX)?;
                cap_text(kind, "detail", &detail, TEXT_BYTES_MAX)?;
                self.peer.counters.casts_undelivered.add(count);
                tracing::debug!(node = %self.peer.node, %name, count, %detail, "casts not delivered");
                if code == FailCode::Unsupported {
                    self.peer.speaks_otherwise(&self.connection, &detail);
                }
            }
            FrameKind::Down => self.peer.actor_down(&self.connection, Down::read(body)?),
            FrameKind::Up => self.peer.actor_up(&self.connection, &Name::read(kind, body)?),
            FrameKind::Hello
            | FrameKind::Refused
            | FrameKind::Cast
            | FrameKind::Call
            | FrameKind::Ping
            | FrameKind::Pong
            | FrameKind::Monitor
            | FrameKind::Demonitor
            | FrameKind::Unsupported
            | FrameKind::Fragment => return Ok(false),
        }
        Ok(true)
    }
}

//! The reading half: all complete frames of one socket read are checked, then each target gets one batch.

use super::{Wire, batch::Gathering, serve::Side};
use crate::core::Core;
use crate::error::{CallError, Stage};
use crate::expose::tell_changes;
use crate::frame::{
    self, CallFailed, CastFailed, Down, FailCode, Frame, FrameError, Kind, NAME_BYTES_MAX, Name, Reassembly,
    ReplyBody, TEXT_BYTES_MAX, Token, Unsupported, WIRE_FRAME_BYTES_MAX, cap_text, read_cold,
};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room asked for before a read; the buffer never holds much more than one frame beyond it.
const READ_BYTES: usize = 128 * 1024;

/// Reads until the connection ends; gives the reason.
pub(super) async fn read_loop(
    core: &Arc<Core>,
    wire: &Arc<Wire>,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    mut buffer: BytesMut,
    side: &Side,
) -> String {
    let mut reassembly = Reassembly::new(wire.limits.message_bytes_max);
    // Position in the stream, for whoever reads the log next to a packet capture.
    let mut offset = 0;
    loop {
        let before = buffer.len();
        if let Err(error) = take_frames(core, wire, &mut buffer, &mut reassembly, side) {
            let at = offset + (before - buffer.len()) as u64;
            wire.counters.malformed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                node = %wire.peer.node, address = %wire.peer.address, offset = at, what = %error,
                remedy = "compare the versions of both nodes; if they agree, check memory and network hardware",
                "malformed frame, connection closed"
            );
            return format!("malformed frame at offset {at}: {error}");
        }
        offset += (before - buffer.len()) as u64;
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) if buffer.is_empty() && reassembly.held_bytes() == 0 => {
                return "closed by the other end".into();
            }
            Ok(0) => return format!("closed by the other end inside a frame (offset {offset})"),
            Ok(count) => {
                wire.heard();
                wire.counters.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) => return format!("read failed: {error}"),
        }
    }
}

/// Handles every complete frame in `buffer`. What was gathered before a malformed one is still delivered.
fn take_frames(
    core: &Arc<Core>,
    wire: &Arc<Wire>,
    buffer: &mut BytesMut,
    reassembly: &mut Reassembly,
    side: &Side,
) -> Result<(), FrameError> {
    let table = core.exposures.borrow().clone();
    let mut gathering = Gathering::new(wire, &table);
    let result = loop {
        let frame = match frame::next_frame(buffer, WIRE_FRAME_BYTES_MAX) {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let handled = if frame.kind == Kind::Fragment as u8 {
            match reassembly.add(&frame.body) {
                Ok(Some(whole)) => handle(core, wire, &mut gathering, &whole, side),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            }
        } else {
            handle(core, wire, &mut gathering, &frame, side)
        };
        if let Err(error) = handled {
            break Err(error);
        }
    };
    gathering.deliver(&mut |exposure| core.exposure_gone(exposure, "its mailbox is closed"));
    result
}

fn handle(
    core: &Arc<Core>,
    wire: &Arc<Wire>,
    gathering: &mut Gathering<'_>,
    frame: &Frame,
    side: &Side,
) -> Result<(), FrameError> {
    let body = &frame.body;
    let Some(kind) = Kind::from_wire(frame.kind) else {
        tracing::debug!(node = %wire.peer.node, kind = frame.kind, "unknown frame kind, answered Unsupported");
        return unsupported(wire, frame.kind);
    };
    match (kind, side) {
        (Kind::Ping, _) => {
            let Token { token } = read_cold(kind, body)?;
            wire.send_system(frame::cold(Kind::Pong, &Token { token }));
        }
        (Kind::Pong, _) => wire.pong(read_cold::<Token>(kind, body)?.token),
        (Kind::Unsupported, _) => {
            let Unsupported { kind } = read_cold(kind, body)?;
            tracing::warn!(node = %wire.peer.node, kind, "the peer does not know a frame kind we sent: upgrade it");
        }
        (Kind::Refused, _) => {
            let refused: frame::Refused = read_cold(kind, body)?;
            let said = format!("{}: {}; {}", refused.code, refused.detail, refused.remedy);
            wire.close(&format!("refused by the other end: {}", super::clip(&said)));
        }
        (Kind::Cast, Side::Acceptor) => gathering.cast(body)?,
        (Kind::Call, Side::Acceptor) => gathering.call(body)?,
        (Kind::Monitor, Side::Acceptor) => {
            let name = Name::read(kind, body)?;
            let mut watched = wire.watched.lock();
            if watched.0.len() >= wire.limits.monitors_max && !watched.0.contains_key(&name) {
                drop(watched);
                wire.close("more names monitored than monitors_max allows");
                return Ok(());
            }
            // Told Down first and forgotten, so that the answer is sent even if the peer asks twice.
            watched.0.remove(&name);
            drop(watched);
            wire.watch(&name, &core.exposures.borrow().clone());
        }
        (Kind::Demonitor, Side::Acceptor) => {
            wire.watched.lock().0.remove(&Name::read(kind, body)?);
        }
        (Kind::Reply, Side::Dialler(_)) => reply(wire, frame)?,
        (Kind::CallFailed, Side::Dialler(_)) => call_failed(wire, read_cold(kind, body)?)?,
        (Kind::CastFailed, Side::Dialler(slot)) => {
            let failed: CastFailed = read_cold(kind, body)?;
            cap_text(kind, "name", &failed.name, NAME_BYTES_MAX)?;
            cap_text(kind, "detail", &failed.detail, TEXT_BYTES_MAX)?;
            core.casts_undelivered(slot, wire, &failed);
        }
        (Kind::Down, Side::Dialler(slot)) => slot.remote_down(wire, Down::read(body)?),
        (Kind::Up, Side::Dialler(slot)) => slot.remote_up(wire, &Name::read(kind, body)?),
        (Kind::Hello | Kind::Fragment, _)
        | (Kind::Cast | Kind::Call | Kind::Monitor | Kind::Demonitor, Side::Dialler(_))
        | (Kind::Reply | Kind::CallFailed | Kind::CastFailed | Kind::Down | Kind::Up, Side::Acceptor) => {
            return unsupported(wire, frame.kind);
        }
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the value of a match arm")]
fn unsupported(wire: &Wire, kind: u8) -> Result<(), FrameError> {
    wire.counters.unsupported.fetch_add(1, Ordering::Relaxed);
    wire.send_system(frame::cold(Kind::Unsupported, &Unsupported { kind }));
    Ok(())
}

fn reply(wire: &Wire, frame: &Frame) -> Result<(), FrameError> {
    let ReplyBody { call, payload } = ReplyBody::read(&frame.body)?;
    // The caller decodes, on its own time; it gets a view of the buffer, not a copy.
    let payload = frame.body.slice_ref(payload);
    wire.end_call(call, |_| Ok(payload));
    Ok(())
}

fn call_failed(wire: &Wire, failed: CallFailed) -> Result<(), FrameError> {
    let CallFailed { call, code, detail } = failed;
    cap_text(Kind::CallFailed, "detail", &detail, TEXT_BYTES_MAX)?;
    let node = wire.peer.node.clone();
    wire.end_call(call, |name| {
        let name = name.to_string();
        Err(match code {
            FailCode::NoSuchActor => CallError::NoSuchActor { node, name },
            FailCode::Busy => CallError::Busy { node, detail },
            FailCode::Unsupported => CallError::Unsupported { node, name, detail },
            FailCode::Malformed => CallError::Malformed { stage: Stage::Request, detail },
            // A reason we do not know may mean anything: the one that promises nothing.
            FailCode::Died | FailCode::Other => CallError::Died { node, name, detail },
        })
    });
    Ok(())
}

impl Wire {
    /// Starts to report about `name`, with its state now.
    fn watch(&self, name: &str, table: &crate::expose::Table) {
        crate::expose::tell_state(self, name, table);
        tell_changes(self, table);
    }

    pub(crate) fn watched(&self) -> &crate::lock::Lock<super::Watched> {
        &self.watched
    }
}

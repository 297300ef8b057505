//! The reading half: all complete frames of one socket read are checked and handed to the receiver.

use super::receiver::Receiver;
use super::shared::Connection;
use crate::frame::{
    self, Frame, FrameError, FrameKind, Reassembly, Refused, Token, Unsupported, WIRE_FRAME_BYTES_MAX,
    clip_text, read_cold,
};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room reserved before a read; the buffer never holds much more than one frame beyond it.
const READ_BYTES: usize = 128 * 1024;

/// Reads until the connection ends; returns the reason.
pub(super) async fn read_loop(
    connection: &Connection,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    mut buffer: BytesMut,
    receiver: &mut impl Receiver,
) -> String {
    let mut reassembly = Reassembly::new(connection.options.message_bytes_max);
    // Position in the stream: the log can be compared with a packet capture.
    let mut offset = 0;
    loop {
        let before = buffer.len();
        receiver.begin();
        let result = take_frames(connection, &mut buffer, &mut reassembly, receiver);
        // What came before a malformed frame is still delivered.
        receiver.finish();
        offset += (before - buffer.len()) as u64;
        if let Err(error) = result {
            connection.counters.malformed.add(1);
            tracing::warn!(
                node = %connection.peer.node, address = %connection.peer.address, offset, what = %error,
                remedy = "compare the versions of both nodes; if they agree, check memory and network hardware",
                "malformed frame, connection closed"
            );
            return format!("malformed frame at offset {offset}: {error}");
        }
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => {
                connection.record_closed_by_peer();
                return if buffer.is_empty() && reassembly.held_bytes() == 0 {
                    "closed by the other end".into()
                } else {
                    format!("closed by the other end inside a frame (offset {offset})")
                };
            }
            Ok(count) => {
                connection.record_received();
                connection.counters.bytes_in.add(count as u64);
            }
            Err(error) => {
                connection.record_failed(&error);
                return format!("read failed: {error}");
            }
        }
    }
}

fn take_frames(
    connection: &Connection,
    buffer: &mut BytesMut,
    reassembly: &mut Reassembly,
    receiver: &mut impl Receiver,
) -> Result<(), FrameError> {
    while let Some(frame) = frame::next_frame(buffer, WIRE_FRAME_BYTES_MAX)? {
        if frame.kind != FrameKind::Fragment as u8 {
            handle(connection, &frame, receiver)?;
        } else if let Some(whole) = reassembly.add(&frame.body)? {
            handle(connection, &whole, receiver)?;
        }
    }
    Ok(())
}

fn handle(connection: &Connection, frame: &Frame, receiver: &mut impl Receiver) -> Result<(), FrameError> {
    let body = &frame.body;
    let Some(kind) = FrameKind::from_wire(frame.kind) else {
        tracing::debug!(node = %connection.peer.node, kind = frame.kind, "unknown frame kind, answered Unsupported");
        send_unsupported(connection, frame.kind);
        return Ok(());
    };
    match kind {
        FrameKind::Ping => {
            let Token { token } = read_cold(kind, body)?;
            connection.send_system(frame::cold(FrameKind::Pong, &Token { token }));
        }
        FrameKind::Pong => connection.pong(read_cold::<Token>(kind, body)?.token),
        FrameKind::Unsupported => {
            let Unsupported { kind } = read_cold(kind, body)?;
            tracing::warn!(node = %connection.peer.node, kind, "the peer does not know a frame kind we sent: upgrade it");
        }
        FrameKind::Refused => {
            let Refused { code, detail, remedy } = read_cold(kind, body)?;
            let refusal = clip_text(&format!("{code}: {detail}; {remedy}"));
            connection.close(&format!("refused by the other end: {refusal}"));
        }
        FrameKind::Hello | FrameKind::Fragment => send_unsupported(connection, frame.kind),
        FrameKind::Cast
        | FrameKind::Call
        | FrameKind::Monitor
        | FrameKind::Demonitor
        | FrameKind::Reply
        | FrameKind::CallFailed
        | FrameKind::CastFailed
        | FrameKind::Down
        | FrameKind::Up => {
            if !receiver.frame(kind, body)? {
                send_unsupported(connection, frame.kind);
            }
        }
    }
    Ok(())
}

fn send_unsupported(connection: &Connection, kind: u8) {
    connection.send_system(frame::cold(FrameKind::Unsupported, &Unsupported { kind }));
}

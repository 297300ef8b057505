//! Runs an admitted connection until it ends: the calling task reads; a task of its own writes and keeps alive.

use super::keepalive::keepalive;
use super::read::read_loop;
use super::receiver::Receiver;
use super::shared::Connection;
use super::write::write_loop;
use crate::net::Stream;
use crate::task::OwnedTask;
use bytes::BytesMut;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Closes the connection when the serving task ends, by abort or panic too.
struct CloseOnDrop<'a>(&'a Connection);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close("the actor of this connection was stopped");
    }
}

/// Serves `connection` until it ends; returns the reason. `buffer` holds what arrived after the Hello.
pub(crate) async fn serve(
    connection: &Arc<Connection>,
    stream: Stream,
    buffer: BytesMut,
    mut receiver: impl Receiver,
) -> String {
    let _close = CloseOnDrop(connection);
    let Stream { mut reader, mut writer, .. } = stream;
    let (write_ended, mut writing) = oneshot::channel();
    let sending = connection.clone();
    // Two tasks and not one: each has its own share of tokio's budget, so a flood one way cannot starve the other.
    let _writer = OwnedTask::spawn(async move {
        let reason = tokio::select! {
            biased;
            reason = keepalive(&sending) => reason,
            reason = write_loop(&sending, &mut writer) => reason,
        };
        let _ = write_ended.send(reason);
    });
    let reason = tokio::select! {
        biased;
        reason = &mut writing => reason.unwrap_or_else(|_| "the writing task panicked".into()),
        () = connection.closed() => "closed".into(),
        reason = read_loop(connection, &mut *reader, buffer, &mut receiver) => reason,
    };
    connection.close(&reason);
    connection.close_reason().map_or(reason, |reason| reason.to_string())
}

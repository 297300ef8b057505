//! Runs an admitted connection until it ends: the calling task reads, a task of its own writes and keeps alive.

use super::{Wire, read, write};
use crate::net::Connection;
use crate::slot::Slot;
use crate::task::OwnedTask;
use crate::{core::Core, expose::tell_changes};
use bytes::BytesMut;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Which end of the connection we are. Requests are taken only from a dialler.
pub(crate) enum Side {
    /// We dialled: replies and monitor events arrive.
    Dialler(Arc<Slot>),
    /// We were dialled: casts, calls and monitor requests arrive.
    Acceptor,
}

/// Closes the wire when the serving task ends, by abort or panic too.
struct CloseOnDrop<'a>(&'a Wire);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close("the actor of this connection was stopped");
    }
}

/// Serves `wire` until it ends; gives the reason. `buffer` holds what arrived behind the Hello.
pub(crate) async fn serve(
    core: Arc<Core>,
    wire: Arc<Wire>,
    connection: Connection,
    buffer: BytesMut,
    side: Side,
) -> String {
    let _close = CloseOnDrop(&wire);
    let Connection { mut reader, mut writer, .. } = connection;
    let (write_ended, mut writing) = oneshot::channel();
    let sending = wire.clone();
    // Two tasks and not one: each has its own share of tokio's budget, so a flood one way cannot starve the other.
    let _writer = OwnedTask::spawn(async move {
        let reason = tokio::select! {
            biased;
            reason = write::keepalive(&sending) => reason,
            reason = write::write_loop(&sending, &mut writer) => reason,
        };
        let _ = write_ended.send(reason);
    });
    let watching = async {
        let mut table = core.exposures.subscribe();
        while table.changed().await.is_ok() {
            let now = table.borrow_and_update().clone();
            tell_changes(&wire, &now);
        }
    };
    let closed = async {
        let mut notified = std::pin::pin!(wire.gone.notified());
        notified.as_mut().enable();
        if !wire.is_closed() {
            notified.await;
        }
    };
    let reason = tokio::select! {
        biased;
        reason = &mut writing => reason.unwrap_or_else(|_| "the writing task died".into()),
        () = closed => "closed".into(),
        () = watching => "the bridge is gone".into(),
        reason = read::read_loop(&core, &wire, &mut *reader, buffer, &side) => reason,
    };
    wire.close(&reason);
    wire.close_reason().map_or(reason, |reason| reason.to_string())
}

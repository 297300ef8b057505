//! One outbound call, from its reserved id to its end. Dropping it gives it up.

use crate::connection::{CallEnd, Connection, PushError};
use crate::error::{CallError, CallStep, Sent};
use crate::frame::{Class, FailCode};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The longest timeout: longer ones are cut to it, so that the deadline can be represented.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400 * 365);

pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) after_ms: u64,
    /// Of the frame in the send queue, once it is there.
    pub(crate) sequence: u64,
    connection: Arc<Connection>,
    /// The peer's name as the caller knows it.
    node: Arc<str>,
    name: Arc<str>,
    class: Class,
    ended: oneshot::Receiver<CallEnd>,
    deadline: Instant,
    done: bool,
}

impl Call {
    /// Reserves a call id. From here on the id is given back on drop.
    pub(crate) fn open(
        connection: Arc<Connection>,
        (node, name): (Arc<str>, Arc<str>),
        class: Class,
        timeout: Duration,
    ) -> Result<Self, PushError> {
        let (id, ended) = connection.open_call()?;
        let after_ms = timeout.as_millis() as u64;
        let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
        Ok(Self { id, after_ms, sequence: 0, connection, node, name, class, ended, deadline, done: false })
    }

    /// Waits for the reply's bytes, not decoded yet.
    pub(crate) async fn finish(mut self) -> Result<Bytes, CallError> {
        let end = timeout_at(self.deadline, &mut self.ended).await;
        self.done = end.is_ok();
        let name = || self.name.to_string();
        let node = || self.connection.peer.node.clone();
        Err(match end {
            Ok(Ok(CallEnd::Reply(payload))) => return Ok(payload),
            Ok(Ok(CallEnd::Failed { code, detail })) => match code {
                FailCode::NoSuchActor => CallError::NoSuchActor { node: node(), name: name() },
                FailCode::Busy => CallError::Busy { node: node(), detail },
                FailCode::Unsupported => CallError::Unsupported { node: node(), name: name(), detail },
                FailCode::Malformed => CallError::Malformed { step: CallStep::Request, detail },
                // The code of a newer version may mean anything: mapped to the error that promises least.
                FailCode::Died | FailCode::Other => CallError::Died { node: node(), name: name(), detail },
            },
            Ok(Ok(CallEnd::Displaced)) => {
                let detail = "a newer control message took its place in the full queue".into();
                CallError::Busy { node: node(), detail }
            }
            Ok(Ok(CallEnd::Closed { reason, sent })) => {
                CallError::LinkLost { node: node(), reason: reason.to_string(), sent }
            }
            // Not reached: a connection ends every pending call before it is dropped.
            Ok(Err(_)) => CallError::LinkLost { node: node(), reason: "closed".into(), sent: Sent::Unknown },
            Err(_) => {
                let sent = self.connection.abandon_call(self.class, self.id, self.sequence);
                let (node, name) = (self.node.to_string(), name());
                self.done = true;
                CallError::TimedOut { node, name, after_ms: self.after_ms, sent }
            }
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.done {
            self.connection.abandon_call(self.class, self.id, self.sequence);
        }
    }
}

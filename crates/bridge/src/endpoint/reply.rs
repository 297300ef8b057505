//! The answer to one inbound call.

use crate::connection::{Connection, ItemKind, PushError};
use crate::error::ReplyError;
use crate::frame::{
    self, CallFailed, Class, Encoding, FailCode, FrameKind, ReplyBody, clip_text, close_bin, encode_payload,
};
use bytes::{Bytes, BytesMut};
use serde::Serialize;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::time::Instant;

/// Answers one call, over the connection it came on.
pub struct ReplyPort<R> {
    raw: RawReply,
    encoding: Encoding,
    reply: PhantomData<fn(R)>,
}

impl<R: Serialize> ReplyPort<R> {
    pub(crate) fn new(raw: RawReply, encoding: Encoding) -> Self {
        Self { raw, encoding, reply: PhantomData }
    }

    /// Sends the answer. On an error the call ends as `Died`, or as `LinkLost` if its connection has ended.
    pub fn send(self, reply: &R) -> Result<(), ReplyError> {
        let Self { raw, encoding, .. } = self;
        match raw.frame(|buffer| encode_payload(buffer, encoding, reply)) {
            Ok(frame) => {
                let queued = raw.connection.send(raw.class, ItemKind::Reply, frame);
                raw.end(queued.as_ref().err())
            }
            Err(error) => {
                raw.refuse(FailCode::Died, &error.to_string());
                Err(error)
            }
        }
    }

    /// Writes the answer now, and sends it with the others of `replies`. On an error the call ends as by [`send`](Self::send).
    pub fn send_with(self, reply: &R, replies: &mut Replies) -> Result<(), ReplyError> {
        match self.raw.frame(|buffer| encode_payload(buffer, self.encoding, reply)) {
            Ok(frame) => {
                replies.add(self.raw, frame);
                Ok(())
            }
            Err(error) => {
                self.raw.refuse(FailCode::Died, &error.to_string());
                Err(error)
            }
        }
    }

    /// True once the caller has stopped waiting: work for the answer can be skipped. By this side's clock; the time
    /// the call took to arrive is not counted.
    pub fn is_expired(&self) -> bool {
        self.raw.deadline.is_some_and(|deadline| deadline <= Instant::now())
            || self.raw.connection.is_closed()
    }
}

/// The untyped half of a reply port. Dropping it frees its place among the connection's inbound calls.
pub(crate) struct RawReply {
    connection: Arc<Connection>,
    call: u64,
    class: Class,
    /// `None`: too far away to be represented.
    deadline: Option<Instant>,
    answered: bool,
}

impl RawReply {
    /// For a call that `inbound_call_starts` has counted.
    pub(crate) fn new(
        connection: Arc<Connection>,
        call: u64,
        class: Class,
        deadline: Option<Instant>,
    ) -> Self {
        Self { connection, call, class, deadline, answered: false }
    }

    fn frame(
        &self,
        encode: impl FnOnce(BytesMut) -> Result<BytesMut, rmp_serde::encode::Error>,
    ) -> Result<Bytes, ReplyError> {
        let mut buffer = frame::open(64);
        let at = ReplyBody::open(&mut buffer, self.call);
        let mut buffer = encode(buffer)
            .map_err(|error| ReplyError::Malformed { detail: format!("does not serialise: {error}") })?;
        close_bin(&mut buffer, at);
        let (length, max) = (buffer.len(), self.connection.message_bytes_max);
        if length > max {
            let detail = format!("{length} bytes are above message_bytes_max ({max}): answer in parts");
            return Err(ReplyError::Malformed { detail });
        }
        Ok(frame::seal(buffer, FrameKind::Reply))
    }

    /// The reply was queued, or why it was not.
    fn end(mut self, refused: Option<&PushError>) -> Result<(), ReplyError> {
        self.answered = true;
        let error = match refused {
            None => return Ok(()),
            Some(PushError::Full { queued, .. }) => ReplyError::Busy { queued: *queued },
            Some(PushError::Closed { .. }) => ReplyError::LinkLost,
        };
        send_call_failed(&self.connection, self.call, FailCode::Died, &error.to_string());
        Err(error)
    }

    /// Ends the call; no actor has seen it.
    pub(crate) fn refuse(mut self, code: FailCode, detail: &str) {
        self.answered = true;
        send_call_failed(&self.connection, self.call, code, detail);
    }
}

impl Drop for RawReply {
    fn drop(&mut self) {
        if !self.answered {
            let detail = "the actor dropped the call unanswered";
            send_call_failed(&self.connection, self.call, FailCode::Died, detail);
        }
        self.connection.inbound_call_ended();
    }
}

/// Answers that leave together: one lock and one wake for each connection, however many there are. Those that are still in it
/// when it is dropped are sent. Bound: a megabyte and one answer; above that they are sent as they come.
#[derive(Default)]
pub struct Replies {
    /// In the order in which the calls' connections were first met. There are few.
    connections: Vec<OfConnection>,
    bytes: usize,
}

/// Above this they are sent at once, so that the bounds of their connections are asked.
const REPLIES_BYTES_MAX: usize = 1 << 20;

struct OfConnection {
    connection: Arc<Connection>,
    replies: Vec<(RawReply, Bytes)>,
}

impl Replies {
    fn add(&mut self, raw: RawReply, frame: Bytes) {
        self.bytes += frame.len();
        let known = self.connections.iter_mut().find(|of| Arc::ptr_eq(&of.connection, &raw.connection));
        if let Some(of) = known {
            of.replies.push((raw, frame));
        } else {
            let connection = raw.connection.clone();
            self.connections.push(OfConnection { connection, replies: vec![(raw, frame)] });
        }
        if self.bytes > REPLIES_BYTES_MAX {
            // The caller was told if its answer could not be queued.
            let _ = self.send();
        }
    }

    /// Sends them all, and leaves none. A call whose answer could not be queued ends as `Died`, or as `LinkLost`; the first
    /// such error is returned.
    pub fn send(&mut self) -> Result<(), ReplyError> {
        let mut first = Ok(());
        self.bytes = 0;
        for OfConnection { connection, replies } in self.connections.drain(..) {
            let (raws, frames): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
            let refused = connection.send_replies(raws.iter().map(|raw| raw.class).zip(frames));
            for (raw, refused) in raws.into_iter().zip(refused) {
                first = first.and(raw.end(refused.as_ref()));
            }
        }
        first
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        // The caller was told if its answer could not be queued.
        let _ = self.send();
    }
}

pub(crate) fn send_call_failed(connection: &Connection, call: u64, code: FailCode, detail: &str) {
    let detail = clip_text(detail);
    connection.send_system(frame::cold(FrameKind::CallFailed, &CallFailed { call, code, detail }));
}

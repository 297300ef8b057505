//! The answer to one inbound call.

use crate::connection::{Connection, ItemKind, PushError};
use crate::error::ReplyError;
use crate::frame::{
    self, CallFailed, Class, Encoding, FailCode, FrameKind, ReplyBody, clip_text, close_bin, encode_payload,
};
use bytes::BytesMut;
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
        self.raw.answer(|buffer| encode_payload(buffer, self.encoding, reply))
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

    fn answer(
        mut self,
        encode: impl FnOnce(BytesMut) -> Result<BytesMut, rmp_serde::encode::Error>,
    ) -> Result<(), ReplyError> {
        self.answered = true;
        let result = self.encode_and_send(encode);
        if let Err(error) = &result {
            send_call_failed(&self.connection, self.call, FailCode::Died, &error.to_string());
        }
        result
    }

    fn encode_and_send(
        &self,
        encode: impl FnOnce(BytesMut) -> Result<BytesMut, rmp_serde::encode::Error>,
    ) -> Result<(), ReplyError> {
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
        match self.connection.send(self.class, ItemKind::Reply, frame::seal(buffer, FrameKind::Reply)) {
            Ok(_) => Ok(()),
            Err(PushError::Full { queued, .. }) => Err(ReplyError::Busy { queued }),
            Err(PushError::Closed { .. }) => Err(ReplyError::LinkLost),
        }
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

pub(crate) fn send_call_failed(connection: &Connection, call: u64, code: FailCode, detail: &str) {
    let detail = clip_text(detail);
    connection.send_system(frame::cold(FrameKind::CallFailed, &CallFailed { call, code, detail }));
}

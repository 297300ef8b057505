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
        let mut buffer = BytesMut::new();
        match raw.frame(&mut buffer, ROOM, |buffer| encode_payload(buffer, encoding, reply)) {
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
        let (buffer, room) = replies.of(&self.raw.connection).room();
        match self.raw.frame(buffer, room, |buffer| encode_payload(buffer, self.encoding, reply)) {
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

    /// The frame of an answer, written in `rest`, which is made new if it has less than `room`.
    fn frame(
        &self,
        rest: &mut BytesMut,
        room: usize,
        encode: impl FnOnce(BytesMut) -> Result<BytesMut, rmp_serde::encode::Error>,
    ) -> Result<Bytes, ReplyError> {
        let mut buffer = frame::open_in(rest, room);
        let at = ReplyBody::open(&mut buffer, self.call);
        let mut buffer = encode(buffer)
            .map_err(|error| ReplyError::Malformed { detail: format!("does not serialise: {error}") })?;
        close_bin(&mut buffer, at);
        let (length, max) = (buffer.len(), self.connection.message_bytes_max);
        if length > max {
            let detail = format!("{length} bytes are above message_bytes_max ({max}): answer in parts");
            return Err(ReplyError::Malformed { detail });
        }
        Ok(frame::seal_in(buffer, FrameKind::Reply, rest))
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

/// Bytes for one answer, to begin with.
const ROOM: usize = 64;
/// The first piece of memory for answers that leave together, and the longest.
const PIECE_BYTES: usize = 512;
const PIECE_BYTES_MAX: usize = 16 << 10;

/// Above this they are sent at once, so that the bounds of their connections are asked.
const REPLIES_BYTES_MAX: usize = 1 << 20;

struct OfConnection {
    connection: Arc<Connection>,
    replies: Vec<(RawReply, Bytes)>,
    /// Where the next one is written: one piece of memory for many of them. Of this connection alone: answers that it does not
    /// take keep no others in memory.
    buffer: BytesMut,
    /// The size of the last piece.
    piece: usize,
}

impl OfConnection {
    /// Where an answer is written, and how much room there has to be.
    fn room(&mut self) -> (&mut BytesMut, usize) {
        if self.buffer.capacity() < PIECE_BYTES / 2 {
            self.piece = (self.piece * 2).clamp(PIECE_BYTES, PIECE_BYTES_MAX);
            return (&mut self.buffer, self.piece);
        }
        (&mut self.buffer, ROOM)
    }
}

impl Replies {
    fn of(&mut self, connection: &Arc<Connection>) -> &mut OfConnection {
        let known = self.connections.iter().position(|of| Arc::ptr_eq(&of.connection, connection));
        let at = known.unwrap_or_else(|| {
            let (replies, buffer) = Default::default();
            self.connections.push(OfConnection { connection: connection.clone(), replies, buffer, piece: 0 });
            self.connections.len() - 1
        });
        &mut self.connections[at]
    }

    fn add(&mut self, raw: RawReply, frame: Bytes) {
        self.bytes += frame.len();
        let connection = raw.connection.clone();
        self.of(&connection).replies.push((raw, frame));
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
        for OfConnection { connection, replies, .. } in self.connections.drain(..) {
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

//! A connection: made after the handshake, ended with its byte streams, never reused.
//!
//! It is shared by the refs that send, the two tasks that read and write, and the reply ports of inbound calls. All
//! that waits on it ends when it closes: calls still queued as `NotSent`, the others as `Unknown`.
//!
//! Locks: `state` is held for pushes and pops only. `gate` is held while a batch is delivered to actors, so that after
//! `close` and `wait_for_delivery` nothing more is delivered from this connection: a newer connection of the same node
//! waits for that, which keeps order across the replacement.

use super::counters::Counters;
use super::queue::{ItemKind, Piece, PushError, Queue};
use crate::error::Sent;
use crate::event::Gap;
use crate::frame::{self, Class, FailCode, FrameKind, Token};
use crate::identity::PeerInfo;
use crate::lock::Lock;
use crate::options::BridgeOptions;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How an outbound call ends.
pub(crate) enum CallEnd {
    /// The reply's bytes, not decoded yet.
    Reply(Bytes),
    Failed {
        code: FailCode,
        detail: String,
    },
    /// A newer control message took its place in the full queue.
    Displaced,
    /// The connection closed.
    Closed {
        reason: Arc<str>,
        sent: Sent,
    },
}

struct State {
    queue: Queue,
    /// Outbound calls that have not ended, by call id.
    pending: BTreeMap<u64, oneshot::Sender<CallEnd>>,
    /// Why the connection closed.
    closed: Option<Arc<str>>,
    next_call: u64,
    ping: Ping,
}

/// The last ping sent, and what its answer proves.
#[derive(Default)]
struct Ping {
    token: u64,
    /// `None` once it is answered.
    sent_at: Option<Instant>,
    /// Casts handed to the writer before that ping: once it is answered they have all arrived.
    casts_before: u64,
    casts_confirmed: u64,
}

pub(crate) struct Connection {
    pub(crate) peer: Arc<PeerInfo>,
    pub(crate) options: Arc<BridgeOptions>,
    pub(crate) counters: Arc<Counters>,
    /// The longest message that both ends allow.
    pub(crate) message_bytes_max: usize,
    state: Lock<State>,
    /// Something was queued, or the connection closed.
    pub(super) wake: Notify,
    ended: Notify,
    is_closed: AtomicBool,
    /// The other end closed it, before anything here did.
    is_closed_by_peer: AtomicBool,
    gate: Lock<()>,
    started: Instant,
    /// When bytes last arrived, in milliseconds after `started`.
    received_ms: AtomicU64,
    /// When a write that had to wait was last taken, likewise.
    taken_ms: AtomicU64,
    /// Pings that were answered.
    pongs: AtomicU64,
    inbound_calls: AtomicUsize,
}

impl Connection {
    pub(crate) fn new(peer: PeerInfo, options: Arc<BridgeOptions>, counters: Arc<Counters>) -> Arc<Self> {
        let peer_bytes_max = usize::try_from(peer.message_bytes_max).unwrap_or(usize::MAX);
        let state = State {
            queue: Queue::new(options.control_bytes_max, options.queue_bytes_max),
            pending: BTreeMap::new(),
            closed: None,
            next_call: 0,
            ping: Ping::default(),
        };
        Arc::new(Self {
            peer: Arc::new(peer),
            message_bytes_max: options.message_bytes_max.min(peer_bytes_max),
            options,
            counters,
            state: Lock::new(state),
            wake: Notify::new(),
            ended: Notify::new(),
            is_closed: AtomicBool::new(false),
            is_closed_by_peer: AtomicBool::new(false),
            gate: Lock::default(),
            started: Instant::now(),
            received_ms: AtomicU64::new(0),
            taken_ms: AtomicU64::new(0),
            pongs: AtomicU64::new(0),
            inbound_calls: AtomicUsize::new(0),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Whether the other end closed it, before anything here did.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.is_closed_by_peer.load(Ordering::Acquire)
    }

    /// The other end has closed its byte stream.
    pub(super) fn record_closed_by_peer(&self) {
        if !self.is_closed() {
            self.is_closed_by_peer.store(true, Ordering::Release);
        }
    }

    /// The byte stream failed: was that the other end? A network that does not answer is not.
    pub(super) fn record_failed(&self, error: &std::io::Error) {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof) {
            self.record_closed_by_peer();
        }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.lock().queue.bytes()
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>, PushError> {
        let state = self.state.lock();
        match &state.closed {
            Some(reason) => Err(PushError::Closed { reason: reason.clone() }),
            None => Ok(state),
        }
    }

    /// Queues a frame of the system lane. A peer that lets too many pile up is cut off.
    pub(crate) fn send_system(&self, frame: Bytes) {
        let Ok(mut state) = self.open_state() else { return };
        let fits = state.queue.push_system(frame);
        drop(state);
        self.wake.notify_one();
        if !fits {
            self.close("the peer does not read: keepalive and answers pile up");
        }
    }

    /// Queues a cast, call or reply; returns its sequence in the queue.
    pub(crate) fn send(&self, class: Class, kind: ItemKind, frame: Bytes) -> Result<u64, PushError> {
        let mut state = self.open_state()?;
        let (sequence, displaced) = state.queue.push(class, kind, frame)?;
        let ended: Vec<_> = displaced.calls.iter().filter_map(|call| state.pending.remove(call)).collect();
        drop(state);
        self.wake.notify_one();
        self.counters.control_dropped.add(displaced.casts + ended.len() as u64);
        for end in ended {
            let _ = end.send(CallEnd::Displaced);
        }
        Ok(sequence)
    }

    /// Queues replies, in order, with one wake for all; says of each why it was not queued.
    pub(crate) fn send_replies(
        &self,
        replies: impl Iterator<Item = (Class, Bytes)>,
    ) -> Vec<Option<PushError>> {
        let mut state = self.state.lock();
        let State { queue, closed, .. } = &mut *state;
        let push = |(class, frame)| match closed {
            Some(reason) => Some(PushError::Closed { reason: reason.clone() }),
            None => queue.push(class, ItemKind::Reply, frame).err(),
        };
        let refused = replies.map(push).collect();
        drop(state);
        self.wake.notify_one();
        refused
    }

    /// Reserves a call id and the place its end goes to.
    pub(crate) fn open_call(&self) -> Result<(u64, oneshot::Receiver<CallEnd>), PushError> {
        let mut state = self.open_state()?;
        let (end, ended) = oneshot::channel();
        state.next_call += 1;
        let call = state.next_call;
        state.pending.insert(call, end);
        Ok((call, ended))
    }

    /// The caller stopped waiting. `NotSent` if the whole call was still queued here; it is then never sent.
    pub(crate) fn abandon_call(&self, class: Class, call: u64, sequence: u64) -> Sent {
        let mut state = self.state.lock();
        state.pending.remove(&call);
        if state.queue.take_back(class, sequence) { Sent::NotSent } else { Sent::Unknown }
    }

    /// Gives a call its end. A late answer to an abandoned call is dropped.
    pub(crate) fn end_call(&self, call: u64, end: CallEnd) {
        let pending = self.state.lock().pending.remove(&call);
        if let Some(pending) = pending {
            let _ = pending.send(end);
        }
    }

    /// Counts an inbound call; false if `calls_inbound_max` already wait for their reply.
    pub(crate) fn inbound_call_starts(&self) -> bool {
        let before = self.inbound_calls.fetch_add(1, Ordering::AcqRel);
        if before >= self.options.calls_inbound_max {
            self.inbound_call_ended();
            return false;
        }
        true
    }

    pub(crate) fn inbound_call_ended(&self) {
        self.inbound_calls.fetch_sub(1, Ordering::AcqRel);
    }

    /// Bytes arrived: the peer is alive.
    pub(super) fn record_received(&self) {
        self.received_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long nothing has arrived.
    pub(super) fn silence(&self) -> Duration {
        let received = Duration::from_millis(self.received_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(received)
    }

    /// The other end has taken what was written, after a wait.
    pub(super) fn record_taken(&self) {
        self.taken_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago the other end took what was written, after a wait; no end if it never had to wait.
    pub(super) fn since_taken(&self) -> Duration {
        match self.taken_ms.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            taken => self.started.elapsed().saturating_sub(Duration::from_millis(taken)),
        }
    }

    /// Sends a ping unless one is unanswered, whose round trip a second one would falsify. Returns how long that one
    /// has been unanswered.
    pub(super) fn send_ping(&self) -> Duration {
        let token = {
            let mut state = self.state.lock();
            let casts_before = state.queue.casts_handed;
            if let Some(sent_at) = state.ping.sent_at {
                return sent_at.elapsed();
            }
            state.ping.token += 1;
            state.ping.sent_at = Some(Instant::now());
            state.ping.casts_before = casts_before;
            state.ping.token
        };
        self.send_system(frame::cold(FrameKind::Ping, &Token { token }));
        Duration::ZERO
    }

    pub(super) fn pong(&self, token: u64) {
        let mut state = self.state.lock();
        if state.ping.token != token {
            return;
        }
        if let Some(sent_at) = state.ping.sent_at.take() {
            self.pongs.fetch_add(1, Ordering::Relaxed);
            state.ping.casts_confirmed = state.ping.casts_before;
            let micros = sent_at.elapsed().as_micros() as u64;
            // 0 means "not measured yet" in the counters.
            self.counters.round_trip_us.set(micros.max(1));
        }
    }

    /// How many pings were answered. A second answer after some moment is to a ping that was sent after it.
    pub(super) fn pongs(&self) -> u64 {
        self.pongs.load(Ordering::Relaxed)
    }

    /// Moves what to write next to `pieces`; fails once the connection is closed.
    pub(super) fn take(&self, budget: usize, pieces: &mut Vec<Piece>) -> Result<(), PushError> {
        self.open_state()?.queue.take(budget, pieces);
        Ok(())
    }

    /// Held while a batch is delivered; `None` once the connection is closed.
    pub(crate) fn deliver(&self) -> Option<MutexGuard<'_, ()>> {
        let gate = self.gate.lock();
        (!self.is_closed()).then_some(gate)
    }

    /// Waits for the batch that is being delivered right now, if any.
    pub(crate) fn wait_for_delivery(&self) {
        drop(self.gate.lock());
    }

    /// Ends the connection: all that waits on it is told, and no batch is delivered from it afterwards. Later calls do
    /// nothing.
    pub(crate) fn close(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let (pending, unsent, gap) = {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(reason.clone());
            let unsent = state.queue.clear();
            let casts_unknown = state.queue.casts_handed - state.ping.casts_confirmed;
            let gap = Gap { casts_unsent: unsent.casts, casts_unknown };
            (std::mem::take(&mut state.pending), unsent.calls, gap)
        };
        self.is_closed.store(true, Ordering::Release);
        self.ended.notify_waiters();
        self.wake.notify_one();
        self.counters.casts_lost.add(gap.casts_unsent);
        for (call, end) in pending {
            let sent = if unsent.contains(&call) { Sent::NotSent } else { Sent::Unknown };
            let _ = end.send(CallEnd::Closed { reason: reason.clone(), sent });
        }
        *self.counters.last_gap.lock() = gap;
    }

    /// Completes when the connection is closed.
    pub(super) async fn closed(&self) {
        let mut notified = std::pin::pin!(self.ended.notified());
        notified.as_mut().enable();
        if !self.is_closed() {
            notified.await;
        }
    }

    /// `None` while it is open.
    pub(crate) fn close_reason(&self) -> Option<Arc<str>> {
        self.state.lock().closed.clone()
    }
}

//! A wire: one admitted connection. Born after the handshake, gone with the socket, never reused.
//!
//! It is shared by the handles that send, the two tasks that read and write, and the reply ports of calls that
//! arrived. Everything waiting on it ends when it closes: calls still queued as `NotSent`, the others as `Unknown`.
//!
//! Locks: `state` is held for pushes and pops only. `gate` is held while a batch is delivered to actors, so that after
//! `close` returns nothing more is delivered from this connection: that keeps order across a replaced connection.

mod batch;
mod queue;
mod read;
mod serve;
mod watched;
mod write;

pub(crate) use queue::What;
pub(crate) use serve::{Side, serve};

use crate::error::{CallError, ReplyError, Sent};
use crate::frame::{self, CallFailed, CastFailed, FailCode, Kind, ReplyBody, Token};
use crate::lock::Lock;
use crate::options::BridgeOptions;
use crate::protocol::{Class, PeerInfo};
use crate::slot::Counters;
use bytes::{Bytes, BytesMut};
use queue::Queue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use watched::Watched;

/// How a call ends: the reply's bytes, not decoded yet.
pub(crate) type CallEnd = Result<Bytes, CallError>;

/// Why a push was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    Full { queued: usize, max: usize },
    Closed { reason: Arc<str> },
}

/// Bounds and times of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) message_bytes_max: usize,
    pub(crate) calls_inbound_max: usize,
    pub(crate) monitors_max: usize,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
}

impl Limits {
    pub(crate) fn new(options: &BridgeOptions) -> Self {
        Self {
            message_bytes_max: options.message_bytes_max,
            calls_inbound_max: options.calls_inbound_max,
            monitors_max: options.monitors_max,
            keepalive_interval: Duration::from_millis(options.keepalive_interval_ms),
            keepalive_timeout: options.keepalive_timeout(),
        }
    }
}

/// A call under way.
struct Pending {
    name: Arc<str>,
    end: oneshot::Sender<CallEnd>,
}

struct State {
    queue: Queue,
    pending: BTreeMap<u64, Pending>,
    closed: Option<Arc<str>>,
    next_call: u64,
    ping: Ping,
}

/// The last ping sent, and what its answer proves.
#[derive(Default)]
struct Ping {
    token: u64,
    sent_at: Option<Instant>,
    /// Casts handed over before that ping: once it is answered they have all arrived.
    casts_before: u64,
    casts_confirmed: u64,
}

/// What a closed wire leaves behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) casts_unsent: u64,
    pub(crate) casts_unknown: u64,
}

pub(crate) struct Wire {
    pub(crate) peer: Arc<PeerInfo>,
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    state: Lock<State>,
    wake: Notify,
    gone: Notify,
    is_closed: AtomicBool,
    gate: Lock<()>,
    started: Instant,
    heard_ms: AtomicU64,
    inbound_calls: AtomicUsize,
    watched: Lock<Watched>,
}

impl Wire {
    pub(crate) fn new(peer: PeerInfo, options: &BridgeOptions, counters: Arc<Counters>) -> Arc<Self> {
        let state = State {
            queue: Queue::new(options.control_bytes_max, options.queue_bytes_max),
            pending: BTreeMap::new(),
            closed: None,
            next_call: 0,
            ping: Ping::default(),
        };
        Arc::new(Self {
            peer: Arc::new(peer),
            limits: Limits::new(options),
            counters,
            state: Lock::new(state),
            wake: Notify::new(),
            gone: Notify::new(),
            is_closed: AtomicBool::new(false),
            gate: Lock::default(),
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            inbound_calls: AtomicUsize::new(0),
            watched: Lock::default(),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.state.lock().queue.bytes()
    }

    /// The longest payload-carrying frame both ends allow.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.limits.message_bytes_max.min(usize::try_from(self.peer.message_bytes_max).unwrap_or(usize::MAX))
    }

    /// Queues a frame of the system lane; a peer that does not read is cut off.
    pub(crate) fn send_system(&self, frame: Bytes) {
        let fits = {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }
            state.queue.push_system(frame)
        };
        self.wake.notify_one();
        if !fits {
            self.close("the peer does not read: keepalive and answers pile up");
        }
    }

    pub(crate) fn send_cast(&self, class: Class, frame: Bytes) -> Result<(), Refused> {
        self.push(class, What::Cast, frame).map(|_| ())
    }

    fn push(&self, class: Class, what: What, frame: Bytes) -> Result<u64, Refused> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(Refused::Closed { reason: reason.clone() });
        }
        let (sequence, displaced) = state.queue.push(class, what, frame)?;
        let ended: Vec<_> = displaced.calls.iter().filter_map(|call| state.pending.remove(call)).collect();
        drop(state);
        self.wake.notify_one();
        self.counters.control_dropped.fetch_add(displaced.casts + ended.len() as u64, Ordering::Relaxed);
        for pending in ended {
            let node = self.peer.node.clone();
            let detail = "a newer control message took its place in the full queue".into();
            let _ = pending.end.send(Err(CallError::Busy { node, detail }));
        }
        Ok(sequence)
    }

    /// Reserves a call id and where its end goes.
    pub(crate) fn open_call(&self, name: Arc<str>) -> Result<(u64, oneshot::Receiver<CallEnd>), Refused> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(Refused::Closed { reason: reason.clone() });
        }
        let (end, ended) = oneshot::channel();
        state.next_call += 1;
        let call = state.next_call;
        state.pending.insert(call, Pending { name, end });
        Ok((call, ended))
    }

    pub(crate) fn send_call(&self, class: Class, call: u64, frame: Bytes) -> Result<u64, Refused> {
        self.push(class, What::Call(call), frame).inspect_err(|_| {
            self.state.lock().pending.remove(&call);
        })
    }

    /// The caller stopped waiting: says whether the call was still entirely here (it never leaves then).
    pub(crate) fn abandon_call(&self, class: Class, call: u64, sequence: u64) -> Sent {
        let mut state = self.state.lock();
        state.pending.remove(&call);
        if state.queue.take_back(class, sequence) { Sent::NotSent } else { Sent::Unknown }
    }

    fn end_call(&self, call: u64, end: impl FnOnce(&Arc<str>) -> CallEnd) {
        let pending = self.state.lock().pending.remove(&call);
        // None: the caller gave up before. Late answers are nobody's.
        if let Some(pending) = pending {
            let _ = pending.end.send(end(&pending.name));
        }
    }

    pub(crate) fn send_reply(
        &self,
        call: u64,
        class: Class,
        encode: impl FnOnce(BytesMut) -> Result<BytesMut, rmp_serde::encode::Error>,
    ) -> Result<(), ReplyError> {
        let mut buffer = frame::open(64);
        let at = ReplyBody::open(&mut buffer, call);
        let mut buffer = encode(buffer)
            .map_err(|error| ReplyError::Malformed { detail: format!("does not serialise: {error}") })?;
        frame::pack::close_bin(&mut buffer, at);
        let (length, max) = (buffer.len(), self.message_bytes_max());
        if length > max {
            let detail = format!("{length} bytes are above message_bytes_max ({max}): answer in parts");
            return Err(ReplyError::Malformed { detail });
        }
        match self.push(class, What::Reply, frame::seal(buffer, Kind::Reply)) {
            Ok(_) => Ok(()),
            Err(Refused::Full { queued, .. }) => Err(ReplyError::Busy { queued }),
            Err(Refused::Closed { .. }) => Err(ReplyError::LinkLost),
        }
    }

    pub(crate) fn send_call_failed(&self, call: u64, code: FailCode, detail: &str) {
        let detail = clip(detail);
        self.send_system(frame::cold(Kind::CallFailed, &CallFailed { call, code, detail }));
    }

    pub(crate) fn send_cast_failed(&self, name: &str, code: FailCode, count: u64, detail: &str) {
        let (name, detail) = (name.to_owned(), clip(detail));
        self.send_system(frame::cold(Kind::CastFailed, &CastFailed { name, code, count, detail }));
    }

    /// Takes a slot for an inbound call, if there is one.
    pub(crate) fn inbound_call_starts(&self) -> bool {
        let taken = self.inbound_calls.fetch_add(1, Ordering::AcqRel);
        if taken >= self.limits.calls_inbound_max {
            self.inbound_calls.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        true
    }

    pub(crate) fn inbound_call_ended(&self) {
        self.inbound_calls.fetch_sub(1, Ordering::AcqRel);
    }

    /// Any bytes from the peer prove it is there.
    fn heard(&self) {
        self.heard_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(heard)
    }

    /// Pings, unless one is under way: its answer would be measured against a later one. Says how long that one is.
    fn send_ping(&self) -> Duration {
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
        self.send_system(frame::cold(Kind::Ping, &Token { token }));
        Duration::ZERO
    }

    fn pong(&self, token: u64) {
        let mut state = self.state.lock();
        if state.ping.token != token {
            return;
        }
        if let Some(sent_at) = state.ping.sent_at.take() {
            state.ping.casts_confirmed = state.ping.casts_before;
            let micros = sent_at.elapsed().as_micros() as u64;
            // 0 means "not measured yet" in the counters.
            self.counters.round_trip_us.store(micros.max(1), Ordering::Relaxed);
        }
    }

    /// Ends the wire: what waits on it is told, nothing is delivered from it afterwards. Later calls do nothing.
    pub(crate) fn close(&self, reason: &str) -> Loss {
        let reason: Arc<str> = reason.into();
        let (pending, unsent, loss) = {
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return Loss::default();
            }
            state.closed = Some(reason.clone());
            let unsent = state.queue.clear();
            let casts_unknown = state.queue.casts_handed - state.ping.casts_confirmed;
            let loss = Loss { casts_unsent: unsent.casts, casts_unknown };
            (std::mem::take(&mut state.pending), unsent.calls, loss)
        };
        self.is_closed.store(true, Ordering::Release);
        self.gone.notify_waiters();
        self.wake.notify_one();
        self.counters.casts_lost.fetch_add(loss.casts_unsent, Ordering::Relaxed);
        for (call, pending) in pending {
            let sent = if unsent.contains(&call) { Sent::NotSent } else { Sent::Unknown };
            let (node, reason) = (self.peer.node.clone(), reason.to_string());
            let _ = pending.end.send(Err(CallError::LinkLost { node, reason, sent }));
        }
        self.counters.last_loss.lock().clone_from(&loss);
        loss
    }

    /// Waits until a batch that is being delivered right now has been.
    pub(crate) fn wait_for_gate(&self) {
        drop(self.gate.lock());
    }

    pub(crate) fn close_reason(&self) -> Option<Arc<str>> {
        self.state.lock().closed.clone()
    }
}

pub(super) fn clip(text: &str) -> String {
    let mut end = text.len().min(frame::TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

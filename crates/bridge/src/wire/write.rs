//! The writing half: everything queued leaves in one write, up to a batch; keepalive runs beside it.

use super::{Wire, queue::Piece};
use crate::frame::fragment_head;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncWrite, AsyncWriteExt};

type BoxedWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// Bytes taken from the queue at a time: a control message waits for at most this much and what the kernel holds.
const BATCH_BYTES: usize = 256 * 1024;
/// Frames below this are copied together, so that many small messages cost one syscall.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// Writes until the wire closes; gives the reason.
pub(super) async fn write_loop(wire: &Wire, writer: &mut BoxedWriter) -> String {
    let mut pieces = Vec::new();
    let mut batch = Batch::default();
    loop {
        let empty = {
            let mut state = wire.state.lock();
            if let Some(reason) = &state.closed {
                return reason.to_string();
            }
            state.queue.take(BATCH_BYTES, &mut pieces);
            pieces.is_empty()
        };
        if empty {
            wire.wake.notified().await;
            continue;
        }
        batch.fill(&mut pieces);
        let bytes = batch.remaining() as u64;
        if let Err(error) = writer.write_all_buf(&mut batch).await {
            return format!("write failed: {error}");
        }
        // The transport may buffer (TLS does); TCP does not.
        if let Err(error) = writer.flush().await {
            return format!("write failed: {error}");
        }
        wire.counters.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Pings, and notices a peer that has gone silent. Gives the reason.
pub(super) async fn keepalive(wire: &Wire) -> String {
    let mut ticks = tokio::time::interval(wire.limits.keepalive_interval);
    // A stalled process must not send a burst of pings when it wakes.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let silence = wire.silence();
        if silence >= wire.limits.keepalive_timeout {
            return format!("nothing heard for {} ms: the node or the network is gone", silence.as_millis());
        }
        // It speaks but does not hear: cut one way, or stuck. Twice the time, since a ping waits behind bulk in the kernel.
        let unanswered = wire.send_ping();
        if unanswered >= wire.limits.keepalive_timeout * 2 {
            return format!("a ping is unanswered for {} ms: the node does not read", unanswered.as_millis());
        }
    }
}

/// What one write call gets: small frames copied together, large ones as they are.
#[derive(Default)]
struct Batch {
    slices: VecDeque<Bytes>,
    scratch: BytesMut,
}

impl Batch {
    fn fill(&mut self, pieces: &mut Vec<Piece>) {
        for piece in pieces.drain(..) {
            match piece {
                Piece::Whole(bytes) => self.add(bytes),
                Piece::Fragment { class, offset, total, bytes } => {
                    self.scratch.extend_from_slice(&fragment_head(class, offset, total, &bytes));
                    self.add(bytes);
                }
            }
        }
        self.flush_scratch();
    }

    fn add(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BYTES_MAX {
            self.scratch.extend_from_slice(&bytes);
        } else {
            self.flush_scratch();
            self.slices.push_back(bytes);
        }
    }

    fn flush_scratch(&mut self) {
        if !self.scratch.is_empty() {
            self.slices.push_back(self.scratch.split().freeze());
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map_or(&[], |bytes| &bytes[..])
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slot, bytes) in to.iter_mut().zip(&self.slices) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let front = self.slices.front_mut().expect("never advanced past the end");
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if front.is_empty() {
                self.slices.pop_front();
            }
        }
    }
}

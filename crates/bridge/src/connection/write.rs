//! The writing half: everything queued leaves in one write, up to a batch.

use super::queue::Piece;
use super::shared::Connection;
use crate::frame::fragment_head;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use tokio::io::{AsyncWrite, AsyncWriteExt};

type BoxedWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// Bytes taken from the queue at a time: a control message waits for at most these and what the kernel holds.
const BATCH_BYTES: usize = 256 * 1024;
/// Frames below this are copied together, so that many small messages cost one syscall.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// Writes until the connection closes; returns the reason.
pub(super) async fn write_loop(connection: &Connection, writer: &mut BoxedWriter) -> String {
    let mut pieces = Vec::new();
    let mut batch = Batch::default();
    loop {
        if connection.take(BATCH_BYTES, &mut pieces).is_err() {
            return "closed".into();
        }
        if pieces.is_empty() {
            connection.wake.notified().await;
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
        connection.counters.bytes_out.add(bytes);
    }
}

/// The bytes of one write: small frames copied together, large ones as they are.
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
        for (target, bytes) in to.iter_mut().zip(&self.slices) {
            *target = IoSlice::new(bytes);
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

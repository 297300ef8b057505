//! The writing half: everything queued leaves in one write, up to a batch. What is more urgent waits for the batch that is
//! being written, so a batch has no more bytes than the link takes in a short time.

use super::queue::Piece;
use super::shared::Connection;
use crate::frame::fragment_head;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

type BoxedWriter = Box<dyn AsyncWrite + Send + Unpin>;

/// Bytes taken from the queue at a time, at first: a control message waits for at most these and what the kernel holds.
const BATCH_BYTES: usize = 32 * 1024;
const BATCH_BYTES_MIN: usize = 8 * 1024;
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// A batch that took longer to write is followed by one of half its bytes, and a full one that took no time by one of twice as many.
const WRITE_TAKES: Duration = Duration::from_millis(50);
/// A write that took so long has waited for room: the other end has taken what was written before.
const WRITE_WAITS: Duration = Duration::from_millis(5);
/// Frames below this are copied together, so that many small messages cost one syscall.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// Writes until the connection closes; returns the reason.
pub(super) async fn write_loop(connection: &Connection, writer: &mut BoxedWriter) -> String {
    let mut pieces = Vec::new();
    let (mut batch, mut batch_bytes) = (Batch::default(), BATCH_BYTES);
    loop {
        if connection.take(batch_bytes, &mut pieces).is_err() {
            return "closed".into();
        }
        if pieces.is_empty() {
            connection.wake.notified().await;
            continue;
        }
        batch.fill(&mut pieces);
        let (bytes, began) = (batch.remaining() as u64, Instant::now());
        let mut written = write_batch(connection, writer, &mut batch).await;
        if written.is_ok() {
            // The transport may buffer (TLS does); TCP does not.
            written = writer.flush().await;
        }
        if let Err(error) = written {
            connection.record_failed(&error);
            return format!("write failed: {error}");
        }
        connection.counters.bytes_out.add(bytes);
        let took = began.elapsed();
        if took > WRITE_TAKES {
            batch_bytes = (batch_bytes / 2).max(BATCH_BYTES_MIN);
        } else if took < WRITE_TAKES / 4 && bytes >= batch_bytes as u64 {
            batch_bytes = (batch_bytes * 2).min(BATCH_BYTES_MAX);
        }
    }
}

/// Writes it all. That the other end takes it is noted at each step for which there was no room before.
async fn write_batch(
    connection: &Connection,
    writer: &mut BoxedWriter,
    batch: &mut Batch,
) -> std::io::Result<()> {
    while batch.has_remaining() {
        let began = Instant::now();
        if writer.write_buf(batch).await? == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        if began.elapsed() >= WRITE_WAITS {
            connection.record_taken();
        }
    }
    Ok(())
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

//! One direction of a socket between a process and its kernel: bytes in memory, so many at most.
//!
//! Either end sees that the other one is gone. tokio's `duplex` does not say so to an end that does not write just now, and a
//! kernel has to close a connection whose process has ended. Bound: [`BYTES_MAX`].

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::lock::lock;

/// Bytes that wait in a socket, at most.
const BYTES_MAX: usize = 64 << 10;

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
    /// Who waits for bytes, for room, and for the reader's end.
    waits_for_bytes: Option<Waker>,
    waits_for_room: Option<Waker>,
    waits_for_end: Option<Waker>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

pub(super) struct PipeReader(Arc<Mutex<State>>);

pub(super) struct PipeWriter(Arc<Mutex<State>>);

pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let state: Arc<Mutex<State>> = Arc::default();
    (PipeWriter(state.clone()), PipeReader(state))
}

impl PipeWriter {
    /// Ready once no one reads any more.
    pub(super) fn poll_reader_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.reader_gone {
            return Poll::Ready(());
        }
        state.waits_for_end = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.bytes.is_empty() {
            if state.writer_gone {
                return Poll::Ready(Ok(()));
            }
            state.waits_for_bytes = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, _) = state.bytes.as_slices();
        let count = front.len().min(into.remaining());
        into.put_slice(&front[..count]);
        state.bytes.drain(..count);
        wake(&mut state.waits_for_room);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        if state.reader_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(BYTES_MAX - state.bytes.len());
        if count == 0 && !bytes.is_empty() {
            state.waits_for_room = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend(&bytes[..count]);
        wake(&mut state.waits_for_bytes);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        state.writer_gone = true;
        wake(&mut state.waits_for_bytes);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.reader_gone = true;
        wake(&mut state.waits_for_room);
        wake(&mut state.waits_for_end);
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.writer_gone = true;
        wake(&mut state.waits_for_bytes);
    }
}

//! A connection whose client takes nothing for too long is closed: its answer would be held in memory without end.
//!
//! Owns: the stream, and a timer while a write waits. Any byte that is taken starts the time again; but of an answer that holds one of few
//! places, so many bytes have to be taken in the time that was spent waiting for the client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Over how much waiting for a client its rate is taken.
const RATE_OVER: Duration = Duration::from_secs(30);
/// A client that takes less of an answer that holds a place is closed.
const RATE_LEAST: u64 = 64 << 10;

/// Whether the answer that a connection sends holds one of few places.
#[derive(Debug, Clone, Default)]
pub(super) struct HoldsPlace(Arc<AtomicBool>);

impl HoldsPlace {
    pub(super) fn set(&self, holds: bool) {
        self.0.store(holds, Ordering::Relaxed);
    }
}

/// A stream whose writes do not wait for longer than a time.
pub(super) struct Stalling<S> {
    stream: S,
    time: Duration,
    holds_place: HoldsPlace,
    /// While a write waits: since when, and its timer.
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Spent waiting, and bytes taken, since the rate was looked at last.
    waited: Duration,
    taken: u64,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, time: Duration, holds_place: HoldsPlace) -> Self {
        Self { stream, time, holds_place, waits: None, waited: Duration::ZERO, taken: 0 }
    }

    /// As [`watched`](Self::watched), for what takes bytes.
    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let written = self.watched(cx, written);
        if let Poll::Ready(Ok(taken)) = &written {
            self.taken += *taken as u64;
            if self.is_slow() {
                return Poll::Ready(Err(too_slow()));
            }
        }
        written
    }

    /// What a write came to: still waiting, for too long, or done.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if let Some((since, _)) = self.waits.take() {
                self.waited += Instant::now().saturating_duration_since(since);
            }
            return written;
        }
        let time = self.time;
        let begin = || (Instant::now(), Box::pin(sleep_until(Instant::now() + time)));
        let (_, until) = self.waits.get_or_insert_with(begin);
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(too_slow()))
    }

    /// Whether its client took too little of what holds a place. The time that the node takes is not counted.
    fn is_slow(&mut self) -> bool {
        if self.waited < RATE_OVER {
            return false;
        }
        let least = self.waited.as_secs().saturating_mul(RATE_LEAST);
        let is_slow = self.taken < least && self.holds_place.0.load(Ordering::Relaxed);
        (self.waited, self.taken) = (Duration::ZERO, 0);
        is_slow
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watched(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (time, almost) = (Duration::from_secs(30), Duration::from_secs(29));
        let (mut client, server) = tokio::io::duplex(8);
        let mut server = Stalling::new(server, time, HoldsPlace::default());
        let slow = async {
            let mut taken = [0; 8];
            for _ in 0..4 {
                tokio::time::advance(almost).await;
                client.read_exact(&mut taken).await.expect("there is more");
            }
            client
        };
        let (sent, _client) = tokio::join!(server.write_all(&[7; 40]), slow);
        sent.expect("it went on all the time");
        let stalled = server.write_all(&[7; 9]).await.expect_err("no byte is taken");
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
    }

    /// Four of them kept every backup from a node, each with a byte now and then.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_holds_a_place_takes_at_the_least_rate_or_is_given_up() {
        const PIECE: usize = 64 << 10;
        // Seconds for each piece of one second's share.
        for (pause, holds, is_given_up) in
            [(1, true, false), (2, true, true), (20, true, true), (20, false, false)]
        {
            let (mut client, server) = tokio::io::duplex(PIECE);
            let place = HoldsPlace::default();
            place.set(holds);
            let mut server = Stalling::new(server, RATE_OVER, place);
            let slow = async {
                let mut taken = vec![0; PIECE];
                for _ in 0..90 {
                    tokio::time::advance(Duration::from_secs(pause)).await;
                    if client.read_exact(&mut taken).await.is_err() {
                        break;
                    }
                }
            };
            let sending = async {
                let sent = server.write_all(&vec![7; 90 * PIECE]).await;
                drop(server);
                sent
            };
            let (sent, ()) = tokio::join!(sending, slow);
            assert_eq!(sent.is_err(), is_given_up, "{PIECE} bytes in {pause} s, {holds}");
        }
    }
}

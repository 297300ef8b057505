//! How much the kernel holds of a TCP connection that it has not sent yet: no more than the link takes in a short time. What is
//! more urgent waits behind all of it, and behind 64 KiB it waits for half a second at 1 Mbit/s.
//!
//! Owns the writing half. The kernel takes a whole write as soon as it holds less than the limit, so on a slow link no write is
//! longer than that. And it does not look at the limit where it can add to the packet that it holds last, up to 64 KiB of it; so
//! there each write is a packet of its own (`MSG_EOR`). A link that takes much, or of which the limit is 0, is left alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;

/// The kernel may hold what the link takes in this time.
const HELD_FOR: Duration = Duration::from_millis(50);
/// A few packets: with less the link would stand still between two writes.
const BYTES_MIN: u32 = 8 << 10;
/// Before anything is known of the link.
const BYTES_AT_FIRST: u32 = 16 << 10;
/// Shorter writes may become a part of the packet before them.
#[cfg(target_os = "linux")]
const APART_BYTES_MIN: usize = 2 << 10;
/// Slices of one write.
#[cfg(target_os = "linux")]
const SLICES_MAX: usize = 64;
/// So many full writes without a wait, and the link takes more.
const FREE_WRITES: u32 = 3;

/// Writes, and has the limit of the socket follow what the link takes.
pub(super) struct LinkWriter {
    half: OwnedWriteHalf,
    unsent: Unsent,
}

impl LinkWriter {
    /// The kernel never holds more than this, unsent.
    pub(super) fn new(half: OwnedWriteHalf, bytes_max: u32) -> io::Result<Self> {
        let unsent = Unsent::new(bytes_max);
        set_limit(half.as_ref(), unsent.limit)?;
        Ok(Self { half, unsent })
    }

    /// Writes all of it, or on a slow link what is no more than the limit.
    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        #[cfg(target_os = "linux")]
        if self.unsent.limit < self.unsent.limit_max {
            let polled = write_apart(self.half.as_ref(), cx, &up_to(slices, self.unsent.limit as usize));
            return self.wrote(polled);
        }
        let polled = Pin::new(&mut self.half).poll_write_vectored(cx, slices);
        self.wrote(polled)
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        match polled {
            Poll::Pending => self.unsent.waits(),
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(bytes)) => {
                if let Some(limit) = self.unsent.takes(now, bytes) {
                    // Only how soon control messages leave depends on it.
                    let _ = set_limit(self.half.as_ref(), limit);
                }
            }
        }
        polled
    }
}

impl AsyncWrite for LinkWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.half.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.half).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

/// So many bytes of these slices, from the first one on. The kernel takes a thousand slices at a time at most.
#[cfg(target_os = "linux")]
fn up_to<'a>(slices: &'a [IoSlice<'_>], bytes: usize) -> Vec<IoSlice<'a>> {
    let mut left = bytes;
    let mut some = Vec::new();
    for slice in slices.iter().filter(|slice| !slice.is_empty()).take(SLICES_MAX) {
        if left == 0 {
            break;
        }
        let taken = slice.len().min(left);
        some.push(IoSlice::new(&slice[..taken]));
        left -= taken;
    }
    some
}

/// What is written next does not become a part of the same packet.
#[cfg(target_os = "linux")]
fn write_apart(stream: &TcpStream, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    /// As the standard library sends.
    const MSG_NOSIGNAL: i32 = 0x4000;
    const MSG_EOR: i32 = 0x80;
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    let flags = if bytes < APART_BYTES_MIN { MSG_NOSIGNAL } else { MSG_NOSIGNAL | MSG_EOR };
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let write = || socket2::SockRef::from(stream).send_vectored_with_flags(slices, flags);
        match stream.try_io(Interest::WRITABLE, write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

#[cfg_attr(not(target_os = "linux"), allow(unused_variables, clippy::unnecessary_wraps))]
fn set_limit(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes)?;
    Ok(())
}

/// What the link takes, from the end of one wait for room to the end of the next.
#[derive(Debug)]
struct Unsent {
    limit: u32,
    limit_max: u32,
    waits: bool,
    /// Full writes since the last wait.
    free: u32,
    /// Since when these bytes were written: since there was room again, or since the writer began again after a pause.
    since: Option<Instant>,
    bytes: u64,
    /// When it wrote last.
    last: Option<Instant>,
}

impl Unsent {
    fn new(limit_max: u32) -> Self {
        let limit = BYTES_AT_FIRST.min(limit_max);
        Self { limit, limit_max, waits: false, free: 0, since: None, bytes: 0, last: None }
    }

    /// There was no room.
    fn waits(&mut self) {
        self.waits = true;
    }

    /// There was room for so many bytes. Gives the limit where it is another one now: it changes by a factor of two, or to
    /// the least or the most.
    fn takes(&mut self, now: Instant, bytes: usize) -> Option<u32> {
        let has_waited = std::mem::take(&mut self.waits);
        let paused = self.last.replace(now).is_some_and(|last| now - last > HELD_FOR);
        if !has_waited {
            if paused {
                (self.since, self.bytes) = (None, 0);
            }
            self.since.get_or_insert(now);
            self.bytes += bytes as u64;
            self.free += u32::from(bytes >= self.limit as usize);
            if self.free < FREE_WRITES || self.limit == self.limit_max {
                return None;
            }
            self.free = 0;
            self.limit = self.limit.saturating_mul(2).min(self.limit_max);
            return Some(self.limit);
        }
        self.free = 0;
        let (since, of) = (self.since.replace(now), std::mem::replace(&mut self.bytes, bytes as u64));
        let took = since.map(|since| now - since).filter(|took| !took.is_zero())?;
        let least = BYTES_MIN.min(self.limit_max);
        let held = u128::from(of) * HELD_FOR.as_nanos() / took.as_nanos();
        let limit = held.clamp(least.into(), self.limit_max.into()) as u32;
        let is_far = limit >= self.limit.saturating_mul(2) || limit <= self.limit / 2;
        let is_last = limit == least || limit == self.limit_max;
        if limit == self.limit || !(is_far || is_last) {
            return None;
        }
        self.limit = limit;
        Some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes 8 KiB at a time over a link that takes so many bytes a second, each once there is room.
    fn over(unsent: &mut Unsent, bytes_per_s: u64, writes: u32) -> u32 {
        let began = Instant::now();
        for write in 1..=writes {
            unsent.waits();
            let at = began + Duration::from_micros(u64::from(write) * 8_192_000_000 / bytes_per_s);
            unsent.takes(at, 8_192);
        }
        unsent.limit
    }

    #[test]
    fn a_slow_link_leaves_little_in_the_kernel_and_a_quick_one_much() {
        let mut unsent = Unsent::new(64 << 10);
        assert_eq!(unsent.limit, 16 << 10, "nothing is known");
        assert_eq!(over(&mut unsent, 125_000, 4), 8 << 10, "1 Mbit/s");
        let held = over(&mut unsent, 500_000, 4);
        assert!((16 << 10..32 << 10).contains(&held), "4 Mbit/s: {held}");
        assert_eq!(over(&mut unsent, 25_000_000, 4), 64 << 10, "200 Mbit/s");
    }

    #[test]
    fn a_link_that_takes_all_at_once_may_hold_more() {
        let mut unsent = Unsent::new(64 << 10);
        let now = Instant::now();
        let limits: Vec<_> = (0..12).filter_map(|_| unsent.takes(now, 64 << 10)).collect();
        assert_eq!(limits, [32 << 10, 64 << 10]);
        assert_eq!((0..12).find_map(|_| unsent.takes(now, 100)), None, "short writes say nothing");
    }

    #[test]
    fn a_pause_of_the_writer_is_no_slow_link() {
        let mut unsent = Unsent::new(64 << 10);
        over(&mut unsent, 25_000_000, 4);
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(unsent.takes(later, 8_192), None, "there was room");
        unsent.waits();
        assert_eq!(unsent.takes(later + Duration::from_millis(1), 8_192), None, "8 MB a second");
        assert_eq!(unsent.limit, 64 << 10);
    }

    #[test]
    fn a_write_has_no_more_bytes_than_the_limit() {
        let slices = [&b"abc"[..], b"", b"def"].map(IoSlice::new);
        let of = |bytes| up_to(&slices, bytes).iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
        assert_eq!(
            (of(2), of(3), of(4), of(9)),
            (b"ab".into(), b"abc".into(), b"abcd".into(), b"abcdef".into())
        );
        assert_eq!(up_to(&slices, 3).len(), 1);
    }
}

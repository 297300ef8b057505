//! Room in memory for long answers: those that are being put together, and those that their clients have not taken.
//!
//! Room is reserved before what is answered is read, as much as the answer may need at most. Once it is put together the rest is given
//! back, and its own part is held until its last byte is written to the socket, or the connection is closed.
//!
//! What is reserved is free again soon, and is waited for. What clients have not taken may stay for as long as they may take: what has
//! no room beside it is refused at once, and nothing is read for it.
//!
//! Owns: both counts. Bound: [`ApiOptions::answers_bytes_max`](super::options::ApiOptions::answers_bytes_max) for both together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::code::Code;
use super::problem::Problem;

/// The room of one node's API. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rooms(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    taken: Mutex<Taken>,
    /// Told each time that some of it is free again.
    freed: Notify,
}

/// Bytes.
#[derive(Debug, Default)]
struct Taken {
    /// For answers that are being put together.
    reserved: usize,
    /// Of answers that clients have not taken.
    untaken: usize,
}

/// Room for an answer that is being put together.
#[derive(Debug)]
pub(crate) struct Reserved {
    rooms: Rooms,
    bytes: usize,
}

/// An answer that its client has not taken, with its room.
struct Untaken {
    rooms: Rooms,
    bytes: Bytes,
}

impl Rooms {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { bytes_max, taken: Mutex::default(), freed: Notify::new() }))
    }

    /// All of it.
    pub(crate) fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Reserves room, once answers that are being put together have given back theirs; until a deadline.
    pub(crate) async fn reserve(&self, bytes: usize, until: Instant) -> Result<Reserved, Problem> {
        loop {
            // A release between the look and the wait is heard.
            let freed = self.0.freed.notified();
            {
                let mut taken = self.lock();
                let left = self.0.bytes_max.saturating_sub(taken.untaken);
                if bytes > left {
                    break;
                }
                if bytes <= left.saturating_sub(taken.reserved) {
                    taken.reserved += bytes;
                    return Ok(Reserved { rooms: self.clone(), bytes });
                }
            }
            if timeout_at(until, freed).await.is_err() {
                break;
            }
        }
        let detail =
            "the answers that clients of this node have not taken yet are as long together as they may be";
        Err(Problem::new(Code::Busy, detail))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Becomes room for as much at least. What was reserved is given back first, so that two that need more do not wait for each other.
    pub(crate) async fn at_least(&mut self, bytes: usize, until: Instant) -> Result<(), Problem> {
        if bytes > self.bytes {
            self.give_back();
            *self = self.rooms.reserve(bytes, until).await?;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.rooms.lock().reserved -= std::mem::take(&mut self.bytes);
        self.rooms.0.freed.notify_waiters();
    }

    /// The answer is put together: its room is its own length from now on, and is held with it.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        debug_assert!(bytes.len() <= self.bytes, "{} of {}", bytes.len(), self.bytes);
        self.rooms.lock().untaken += bytes.len();
        let rooms = self.rooms.clone();
        drop(self);
        Bytes::from_owner(Untaken { rooms, bytes })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl AsRef<[u8]> for Untaken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.rooms.lock().untaken -= self.bytes.len();
        self.rooms.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    async fn poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_reserved_is_waited_for_and_what_is_not_taken_refuses() {
        let (rooms, until) = (Rooms::new(10), Instant::now() + Duration::from_secs(5));
        let first = rooms.reserve(7, until).await.expect("there is room");
        let mut second = pin!(rooms.reserve(7, until));
        assert!(poll(second.as_mut()).await.is_pending());
        let held = first.hold(Bytes::from_static(b"abc"));
        let Poll::Ready(Ok(second)) = poll(second.as_mut()).await else { panic!("the rest was given back") };
        let refused = rooms.reserve(8, until).await.expect_err("three bytes are not taken");
        assert_eq!(refused.code, Code::Busy);
        let late = rooms.reserve(1, until).await.expect_err("the deadline passes");
        assert_eq!((late.code, Instant::now() >= until), (Code::Busy, true));
        drop((second, held));
        assert_eq!(rooms.reserve(10, until).await.expect("all of it").bytes(), 10);
        assert_eq!(rooms.reserve(11, until).await.expect_err("never").code, Code::Busy);
    }

    #[tokio::test(start_paused = true)]
    async fn room_grows_without_its_own_part_in_the_way() {
        let (rooms, until) = (Rooms::new(10), Instant::now() + Duration::from_secs(5));
        let mut room = rooms.reserve(6, until).await.expect("there is room");
        room.at_least(4, until).await.expect("it has that");
        assert_eq!(room.bytes(), 6);
        room.at_least(10, until).await.expect("all of it");
        assert_eq!(room.bytes(), 10);
        let refused = room.at_least(11, until).await.expect_err("never");
        assert_eq!((refused.code, room.bytes()), (Code::Busy, 0));
        drop(room);
        let taken = rooms.lock();
        assert_eq!((taken.reserved, taken.untaken), (0, 0));
    }
}

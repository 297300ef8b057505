//! The lobby of the API: where a new connection stands while all [`places`](super::places) are taken. What it asks for is seen there,
//! so that a probe is answered although clients at work hold every place, and no client is kept from its place for it.
//!
//! A probe is answered and its connection closed. Of the others a few wait for a place, for as long as a call may take, and further
//! ones are told `busy`. Those that have not asked for anything yet give way to newer ones, so that a probe always gets in.
//!
//! Owns: which connections stand there. Bound: [`LOBBY_CONNECTIONS_MAX`] of them, of which [`WAITING_MAX`] wait for a place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::descriptors::LOBBY_CONNECTIONS_MAX;

/// Connections that wait for a place. The others leave soon: they are answered, or told that there are too many.
const WAITING_MAX: usize = LOBBY_CONNECTIONS_MAX / 2;

/// The lobby of one node's API. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Lobby(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Connections that have not asked for anything yet, in the order in which they came.
#[derive(Debug, Default)]
struct Silent {
    next: u64,
    told: BTreeMap<u64, Arc<Notify>>,
}

/// A connection in the lobby. It has not asked for anything until [`has_asked`](Self::has_asked).
#[derive(Debug)]
pub(super) struct Pass {
    lobby: Lobby,
    key: u64,
    told: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Lobby {
    pub(super) fn new() -> Self {
        let permits = Arc::new(Semaphore::new(LOBBY_CONNECTIONS_MAX));
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self(Arc::new(Shared { permits, waiting, silent: Mutex::default() }))
    }

    /// Lets a connection in, in the place of the oldest silent one if the lobby is full.
    pub(super) async fn enter(&self) -> Pass {
        let permits = &self.0.permits;
        let permit = if let Ok(permit) = permits.clone().try_acquire_owned() {
            permit
        } else {
            if let Some((_, told)) = lock(&self.0.silent).told.pop_first() {
                told.notify_one();
            }
            permits.clone().acquire_owned().await.expect("the semaphore is never closed")
        };
        let told = Arc::new(Notify::new());
        let mut silent = lock(&self.0.silent);
        let key = silent.next;
        silent.next += 1;
        silent.told.insert(key, told.clone());
        Pass { lobby: self.clone(), key, told, _permit: permit }
    }
}

impl Pass {
    /// Resolves when a newer connection needs to get in, and this one has asked for nothing.
    pub(super) async fn gives_way(&self) {
        self.told.notified().await;
    }

    /// From now on it gives way to none.
    pub(super) fn has_asked(&self) {
        lock(&self.lobby.0.silent).told.remove(&self.key);
    }

    /// Whether it may wait for a place; held meanwhile.
    pub(super) fn waits(&self) -> Option<OwnedSemaphorePermit> {
        self.lobby.0.waiting.clone().try_acquire_owned().ok()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.has_asked();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use super::*;

    async fn poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    #[tokio::test]
    async fn the_oldest_that_has_asked_for_nothing_gives_way() {
        let lobby = Lobby::new();
        let mut inside = Vec::new();
        for _ in 0..LOBBY_CONNECTIONS_MAX {
            inside.push(lobby.enter().await);
        }
        inside[0].has_asked();
        let mut newer = pin!(lobby.enter());
        assert!(poll(newer.as_mut()).await.is_pending());
        assert!(poll(pin!(inside[0].gives_way())).await.is_pending());
        assert!(poll(pin!(inside[1].gives_way())).await.is_ready());
        assert!(poll(pin!(inside[2].gives_way())).await.is_pending(), "one for one");
        drop(inside.remove(1));
        assert!(poll(newer.as_mut()).await.is_ready());
        drop(inside);
        assert!(lock(&lobby.0.silent).told.is_empty());
        assert_eq!(lobby.0.permits.available_permits(), LOBBY_CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn a_few_wait_for_a_place() {
        let pass = Lobby::new().enter().await;
        let waiting: Vec<_> = std::iter::from_fn(|| pass.waits()).take(LOBBY_CONNECTIONS_MAX).collect();
        assert_eq!(waiting.len(), WAITING_MAX);
        drop(waiting);
        assert!(pass.waits().is_some());
    }
}

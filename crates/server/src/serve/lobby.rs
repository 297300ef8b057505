//! The lobby of the API: where a new connection stands while all [`places`](super::places) are taken. What it asks for is seen there,
//! so that a probe is answered although clients at work hold every place, and no client is kept from its place for it.
//!
//! A probe is answered and its connection closed. Of the others a few wait for a place, for as long as a call may take, and further
//! ones are told `busy`. All but those that [stay](Pass::stays) give way to newer ones, the oldest first: a client that sends a part
//! of a request, or a body that does not end, keeps no probe out.
//!
//! Owns: which connections stand there, and which of them give way. Bound: [`LOBBY_CONNECTIONS_MAX`] of them, of which
//! [`WAITING_MAX`] wait for a place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    inside: Mutex<Inside>,
}

/// Connections by the order in which they came.
#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// Those that give way.
    give_way: BTreeMap<u64, watch::Sender<bool>>,
    /// Told to go, and still there.
    leaving: BTreeSet<u64>,
    /// New ones that find the lobby full.
    outside: usize,
}

/// A new connection that finds the lobby full, until this is dropped.
struct Outside<'a>(&'a Lobby);

/// A connection in the lobby. It gives way to newer ones, unless it [stays](Self::stays).
#[derive(Debug)]
pub(super) struct Pass {
    lobby: Lobby,
    key: u64,
    told: watch::Sender<bool>,
    _permit: OwnedSemaphorePermit,
}

/// A connection that gives way to none, until this is dropped.
#[derive(Debug)]
pub(super) struct Stays<'a> {
    pass: &'a Pass,
    _waits: Option<OwnedSemaphorePermit>,
}

impl Lobby {
    pub(super) fn new() -> Self {
        let permits = Arc::new(Semaphore::new(LOBBY_CONNECTIONS_MAX));
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self(Arc::new(Shared { permits, waiting, inside: Mutex::default() }))
    }

    /// Lets a connection in, in the place of the oldest that gives way if the lobby is full.
    pub(super) async fn enter(&self) -> Pass {
        let permits = &self.0.permits;
        let permit = if let Ok(permit) = permits.clone().try_acquire_owned() {
            permit
        } else {
            let _outside = Outside::begin(self);
            permits.clone().acquire_owned().await.expect("the semaphore is never closed")
        };
        let told = watch::Sender::new(false);
        let mut inside = lock(&self.0.inside);
        let key = inside.next;
        inside.next += 1;
        inside.give_way.insert(key, told.clone());
        Pass { lobby: self.clone(), key, told, _permit: permit }
    }
}

impl Inside {
    /// One for each that waits outside, and no other while those that were told are still there.
    fn oldest_give_way(&mut self) {
        while self.leaving.len() < self.outside {
            let Some((key, told)) = self.give_way.pop_first() else { return };
            self.leaving.insert(key);
            told.send_replace(true);
        }
    }
}

impl<'a> Outside<'a> {
    fn begin(lobby: &'a Lobby) -> Self {
        let mut inside = lock(&lobby.0.inside);
        inside.outside += 1;
        inside.oldest_give_way();
        Self(lobby)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        lock(&self.0.0.inside).outside -= 1;
    }
}

impl Pass {
    /// Resolves when a newer connection needs to get in, and this one does not stay.
    pub(super) fn gives_way(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut told = self.told.subscribe();
        // An error: the connection has ended.
        async move { drop(told.wait_for(|told| *told).await) }
    }

    /// From now on it gives way to none; if it was told to, another one goes.
    pub(super) fn stays(&self) -> Stays<'_> {
        self.stays_with(None)
    }

    /// Whether it may wait for a place; it stays meanwhile.
    pub(super) fn waits(&self) -> Option<Stays<'_>> {
        let waits = self.lobby.0.waiting.clone().try_acquire_owned().ok()?;
        Some(self.stays_with(Some(waits)))
    }

    /// Where the one [`Stays`] of a pass is made: a second one that is dropped would have it give way again.
    fn stays_with(&self, waits: Option<OwnedSemaphorePermit>) -> Stays<'_> {
        let mut inside = lock(&self.lobby.0.inside);
        inside.give_way.remove(&self.key);
        self.told.send_replace(false);
        if inside.leaving.remove(&self.key) {
            inside.oldest_give_way();
        }
        Stays { pass: self, _waits: waits }
    }
}

impl Drop for Stays<'_> {
    fn drop(&mut self) {
        let mut inside = lock(&self.pass.lobby.0.inside);
        inside.give_way.insert(self.pass.key, self.pass.told.clone());
        inside.oldest_give_way();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = lock(&self.lobby.0.inside);
        inside.give_way.remove(&self.key);
        inside.leaving.remove(&self.key);
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

    async fn is_told(pass: &Pass) -> bool {
        poll(pin!(pass.gives_way())).await.is_ready()
    }

    async fn full(lobby: &Lobby) -> Vec<Pass> {
        let mut inside = Vec::new();
        for _ in 0..LOBBY_CONNECTIONS_MAX {
            inside.push(lobby.enter().await);
        }
        inside
    }

    #[tokio::test]
    async fn the_oldest_that_does_not_stay_gives_way() {
        let lobby = Lobby::new();
        let mut inside = full(&lobby).await;
        let first = inside.remove(0);
        let stays = first.stays();
        let mut newer = pin!(lobby.enter());
        assert!(poll(newer.as_mut()).await.is_pending());
        assert!(!is_told(&first).await && is_told(&inside[0]).await);
        assert!(!is_told(&inside[1]).await, "one for one");
        drop(inside.remove(0));
        let Poll::Ready(newer) = poll(newer.as_mut()).await else { panic!("it gets in") };
        // Those that stay no more are the oldest again.
        drop(stays);
        let mut another = pin!(lobby.enter());
        assert!(poll(another.as_mut()).await.is_pending());
        assert!(is_told(&first).await && !is_told(&inside[0]).await);
        drop((first, inside, newer));
        assert!(poll(another.as_mut()).await.is_ready(), "there is room, and its pass is dropped at once");
        let Inside { give_way, leaving, outside, .. } = &*lock(&lobby.0.inside);
        assert_eq!((give_way.len(), leaving.len(), *outside), (0, 0, 0));
        assert_eq!(lobby.0.permits.available_permits(), LOBBY_CONNECTIONS_MAX);
    }

    /// It was told to go as the rest of its request came. If no other were told, the newer one would wait for the end of an answer.
    #[tokio::test]
    async fn another_one_goes_for_one_that_was_told_and_stays() {
        let lobby = Lobby::new();
        let inside = full(&lobby).await;
        let mut newer = pin!(lobby.enter());
        assert!(poll(newer.as_mut()).await.is_pending());
        let stays = inside[0].stays();
        assert!(!is_told(&inside[0]).await && is_told(&inside[1]).await);
        // No one is left who could go: the first that stays no more is told.
        let all: Vec<_> = inside[1..].iter().map(Pass::stays).collect();
        drop(stays);
        assert!(is_told(&inside[0]).await);
        drop(all);
    }

    /// They were told to go, which they do not hear, and no other was told in their place: no one got in any more.
    #[tokio::test]
    async fn those_that_wait_for_a_place_are_not_told_to_go() {
        let lobby = Lobby::new();
        let inside = full(&lobby).await;
        let waiting: Vec<_> = inside.iter().filter_map(Pass::waits).collect();
        assert_eq!(waiting.len(), WAITING_MAX);
        let mut newer = pin!(lobby.enter());
        assert!(poll(newer.as_mut()).await.is_pending());
        let mut told = Vec::new();
        for pass in &inside {
            told.push(is_told(pass).await);
        }
        assert_eq!(told.iter().position(|told| *told), Some(WAITING_MAX), "the oldest that does not wait");
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

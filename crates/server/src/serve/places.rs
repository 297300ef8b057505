//! Places of the API's connections. Once all are taken, a connection on which no request is under way gives its place to a new one:
//! pools of clients keep connections for a minute and more. Probes need no place: they are answered in the [`lobby`](super::lobby).
//!
//! The one that has been idle for longest gives way, and none that was idle for less than a second: a request that is on its way
//! while its connection is closed is lost, and a client that is at work sends the next one soon.
//!
//! Owns: the permits, and which connections are idle. Bound: the permits.

use std::collections::btree_map::OccupiedEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// A connection that was idle for less keeps its place.
const IDLE_MIN: Duration = Duration::from_secs(1);
/// How often a new connection looks for one that is idle.
const LOOK: Duration = Duration::from_millis(100);

/// All places of one node's API. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// Idle connections.
#[derive(Debug, Default)]
struct Idle {
    next: u64,
    /// In the order in which they became so.
    since: BTreeMap<u64, (Instant, Arc<Notify>)>,
    /// Told to give way, and still there.
    leaving: BTreeSet<u64>,
    /// New connections that wait for a place.
    waiting: usize,
}

/// A new connection that waits, until this is dropped.
struct Waits<'a>(&'a Places);

/// A taken place. It is free again once this and every [`Busy`] of it are dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Ticket>);

#[derive(Debug)]
struct Ticket {
    places: Places,
    /// Told to give way.
    told: Arc<Notify>,
    /// Requests under way, and the key among the idle ones while there are none.
    state: Mutex<TicketState>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct TicketState {
    requests: usize,
    idle: Option<u64>,
}

/// A request that is under way, until its answer is taken.
#[derive(Debug)]
pub(super) struct Busy(Arc<Ticket>);

impl Places {
    pub(super) fn new(count: usize) -> Self {
        let permits = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Shared { permits, idle: Mutex::default() }))
    }

    /// A free place. There is none while other connections wait for one.
    pub(super) fn free(&self) -> Option<Place> {
        let permit = self.0.permits.clone().try_acquire_owned().ok()?;
        Some(self.taken(permit))
    }

    /// A place for a new connection, of an idle one if there is no other. Waits while all are busy.
    pub(super) async fn take(&self) -> Place {
        if let Some(place) = self.free() {
            return place;
        }
        let _waits = Waits::begin(self);
        let mut freed = pin!(self.0.permits.clone().acquire_owned());
        loop {
            self.oldest_give_way();
            if let Ok(permit) = timeout(LOOK, freed.as_mut()).await {
                return self.taken(permit.expect("the semaphore is never closed"));
            }
        }
    }

    fn taken(&self, permit: OwnedSemaphorePermit) -> Place {
        let (told, state) = (Arc::default(), Mutex::default());
        let place = Place(Arc::new(Ticket { places: self.clone(), told, state, _permit: permit }));
        place.0.becomes_idle(&mut lock(&place.0.state));
        place
    }

    /// It is idle no more, or gone.
    fn forget(&self, key: u64) {
        let mut idle = lock(&self.0.idle);
        idle.since.remove(&key);
        idle.leaving.remove(&key);
    }

    /// One for each that waits, and no other while those that were told are still there.
    fn oldest_give_way(&self) {
        let mut idle = lock(&self.0.idle);
        while idle.leaving.len() < idle.waiting {
            let oldest = idle.since.first_entry().filter(|oldest| oldest.get().0.elapsed() >= IDLE_MIN);
            let Some((key, (_, told))) = oldest.map(OccupiedEntry::remove_entry) else { return };
            idle.leaving.insert(key);
            told.notify_one();
        }
    }
}

impl<'a> Waits<'a> {
    fn begin(places: &'a Places) -> Self {
        lock(&places.0.idle).waiting += 1;
        Self(places)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.0.0.idle).waiting -= 1;
    }
}

impl Place {
    /// A request has arrived.
    pub(super) fn busy(&self) -> Busy {
        let mut state = lock(&self.0.state);
        state.requests += 1;
        self.0.is_idle_no_more(&mut state);
        Busy(self.0.clone())
    }

    pub(super) fn is_busy(&self) -> bool {
        lock(&self.0.state).requests > 0
    }

    /// Resolves when a new connection needs this place.
    pub(super) async fn gives_way(&self) {
        self.0.told.notified().await;
    }
}

impl Ticket {
    fn becomes_idle(&self, state: &mut TicketState) {
        let mut idle = lock(&self.places.0.idle);
        let key = idle.next;
        idle.next += 1;
        idle.since.insert(key, (Instant::now(), self.told.clone()));
        state.idle = Some(key);
    }

    fn is_idle_no_more(&self, state: &mut TicketState) {
        if let Some(key) = state.idle.take() {
            self.places.forget(key);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.requests -= 1;
        if state.requests == 0 {
            self.0.becomes_idle(&mut state);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let key = lock(&self.state).idle;
        if let Some(key) = key {
            self.places.forget(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    async fn poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_gives_way_and_a_busy_one_does_not() {
        let places = Places::new(3);
        let (first, second, third) = (places.take().await, places.take().await, places.take().await);
        // It was idle for longest, and then had something to do.
        drop(first.busy());
        let under_way = third.busy();
        let mut fourth = pin!(places.take());
        assert!(poll(fourth.as_mut()).await.is_pending());
        assert!(poll(pin!(second.gives_way())).await.is_pending(), "it was idle for too short a time");
        tokio::time::advance(IDLE_MIN).await;
        assert!(poll(fourth.as_mut()).await.is_pending());
        assert!(poll(pin!(first.gives_way())).await.is_pending());
        assert!(poll(pin!(second.gives_way())).await.is_ready());
        drop(second);
        let Poll::Ready(fourth) = poll(fourth.as_mut()).await else { panic!("there is a place") };
        // All are busy: the first that is not any more gives way, a second later.
        let _busy = [first.busy(), fourth.busy()];
        let mut fifth = pin!(places.take());
        assert!(poll(fifth.as_mut()).await.is_pending());
        drop(under_way);
        tokio::time::advance(IDLE_MIN).await;
        assert!(poll(fifth.as_mut()).await.is_pending());
        assert!(poll(pin!(third.gives_way())).await.is_ready() && !third.is_busy() && first.is_busy());
    }

    /// Each look told one more to go, for a single connection that waited.
    #[tokio::test(start_paused = true)]
    async fn no_more_are_told_to_go_than_wait() {
        let places = Places::new(4);
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(places.take().await);
        }
        assert!(places.free().is_none());
        tokio::time::advance(IDLE_MIN).await;
        // None goes for one that finds a place.
        drop(taken.pop());
        taken.push(places.take().await);
        assert!(lock(&places.0.idle).leaving.is_empty());
        let mut new = pin!(places.take());
        for _ in 0..10 {
            assert!(poll(new.as_mut()).await.is_pending());
            tokio::time::advance(LOOK).await;
        }
        let mut told = Vec::new();
        for place in &taken {
            told.push(poll(pin!(place.gives_way())).await.is_ready());
        }
        assert_eq!(told, [true, false, false, false]);
        // It has a request before it hears of that: another one goes for the one that waits.
        let under_way = taken[0].busy();
        tokio::time::advance(LOOK).await;
        assert!(poll(new.as_mut()).await.is_pending());
        assert!(poll(pin!(taken[1].gives_way())).await.is_ready());
        drop(taken.remove(1));
        assert!(poll(new.as_mut()).await.is_ready());
        drop(under_way);
        let idle = lock(&places.0.idle);
        assert_eq!((idle.waiting, idle.leaving.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_has_ended_is_not_asked() {
        let places = Places::new(1);
        drop(places.take().await);
        let place = places.take().await;
        assert_eq!(lock(&places.0.idle).since.len(), 1);
        drop(place);
        assert!(lock(&places.0.idle).since.is_empty());
    }
}

//! The channel of routes: published by Group, awaited by handles. Owned above the group's actor, so handles live through
//! its restarts.
//!
//! Waiters are woken in the order in which they began to wait. The wakers of a `watch` alone are woken in random order:
//! callers that waited for a leader would overtake each other, and one seed of a simulation would have many traces.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::route::Route;

/// The newest route; can wait for the next one.
#[derive(Debug, Clone)]
pub(crate) struct RouteReceiver {
    newest: watch::Receiver<Route>,
    turn: Arc<Notify>,
}

/// Publishes routes. Waiters are also woken when it is dropped.
#[derive(Debug)]
pub(crate) struct RouteSender {
    newest: watch::Sender<Route>,
    turn: Arc<Notify>,
}

/// The sender is dropped: the node has ended, and no other route will be published.
#[derive(Debug)]
pub(crate) struct RouteClosed;

impl RouteReceiver {
    pub(crate) fn borrow(&self) -> watch::Ref<'_, Route> {
        self.newest.borrow()
    }

    pub(crate) fn borrow_and_update(&mut self) -> watch::Ref<'_, Route> {
        self.newest.borrow_and_update()
    }

    /// Waits for a route that this receiver has not seen.
    pub(crate) async fn changed(&mut self) -> Result<(), RouteClosed> {
        loop {
            let mut turn = std::pin::pin!(self.turn.notified());
            // Registered before the check, so that no publication between check and wait is missed.
            turn.as_mut().enable();
            if self.newest.has_changed().map_err(|_| RouteClosed)? {
                self.newest.mark_unchanged();
                return Ok(());
            }
            turn.await;
        }
    }

    pub(crate) async fn wait_for(&mut self, holds: impl Fn(&Route) -> bool) -> Result<Route, RouteClosed> {
        loop {
            let route = self.borrow_and_update().clone();
            if holds(&route) {
                return Ok(route);
            }
            self.changed().await?;
        }
    }
}

impl RouteSender {
    /// With an empty route.
    pub(crate) fn new() -> Self {
        Self { newest: watch::channel(Route::empty()).0, turn: Arc::default() }
    }

    pub(crate) fn subscribe(&self) -> RouteReceiver {
        RouteReceiver { newest: self.newest.subscribe(), turn: self.turn.clone() }
    }

    pub(crate) fn borrow(&self) -> watch::Ref<'_, Route> {
        self.newest.borrow()
    }

    pub(crate) fn send_replace(&self, route: Route) {
        self.newest.send_replace(route);
        self.turn.notify_waiters();
    }

    pub(crate) fn send_modify(&self, change: impl FnOnce(&mut Route)) {
        self.newest.send_modify(change);
        self.turn.notify_waiters();
    }
}

impl Drop for RouteSender {
    fn drop(&mut self) {
        // Closes the channel first, so that a waiter that is woken sees it closed.
        self.newest = watch::channel(Route::empty()).0;
        self.turn.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// With the wakers of a watch alone, eight waiters woken in order would be a rare chance.
    #[tokio::test]
    async fn waiters_for_a_route_are_woken_in_order_and_hear_of_its_end() {
        let sender = RouteSender::new();
        let woken = Rc::new(RefCell::new(Vec::new()));
        let waiter = |n: u32| {
            let (mut routes, woken) = (sender.subscribe(), woken.clone());
            async move {
                routes.changed().await.expect("one is published");
                woken.borrow_mut().push(n);
                routes.changed().await.expect_err("there is no other");
            }
        };
        let local = tokio::task::LocalSet::new();
        let all: Vec<_> = (0..8).map(|n| local.spawn_local(waiter(n))).collect();
        let publish = async {
            tokio::task::yield_now().await;
            sender.send_replace(Route::empty());
            tokio::task::yield_now().await;
            drop(sender);
            for one in all {
                one.await.expect("it ends");
            }
        };
        local.run_until(publish).await;
        assert_eq!(*woken.borrow(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

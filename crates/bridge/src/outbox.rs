//! Ordered delivery to closures without holding a lock while they run.
//!
//! Whoever emits first becomes the deliverer; others only append, re-entrant calls from inside a closure too. So
//! every subscriber sees one total order and may call back into the bridge.

use crate::lock::Lock;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A callback. It runs on a connection's task: it must not block; casting to an actor is what it is for.
pub(crate) type Subscriber<E> = Arc<dyn Fn(E) + Send + Sync>;

pub(crate) struct Outbox<E> {
    state: Lock<State<E>>,
}

struct State<E> {
    queue: VecDeque<(Subscriber<E>, E)>,
    delivering: bool,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self { state: Lock::new(State { queue: VecDeque::new(), delivering: false }) }
    }
}

impl<E> Outbox<E> {
    pub(crate) fn append(&self, events: impl IntoIterator<Item = (Subscriber<E>, E)>) {
        self.state.lock().queue.extend(events);
    }

    /// Delivers all that was appended, unless a caller further up or on another thread is doing so already.
    pub(crate) fn deliver(&self) {
        {
            let mut state = self.state.lock();
            if state.delivering || state.queue.is_empty() {
                return;
            }
            state.delivering = true;
        }
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.queue.pop_front();
                // In the same critical section as the empty check, or an event appended between would be stuck.
                state.delivering = next.is_some();
                next
            };
            match next {
                Some((subscriber, event)) => {
                    // A panic of the subscriber's is its own affair: delivery goes on, the connection lives.
                    if catch_unwind(AssertUnwindSafe(|| subscriber(event))).is_err() {
                        tracing::error!("a bridge subscriber panicked; its event is lost to it");
                    }
                }
                None => return,
            }
        }
    }
}

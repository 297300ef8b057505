//! Ordered delivery of events to closures; no lock is held while they run.
//!
//! The first caller of `deliver` delivers for all; calls on other threads, or from inside a closure, only append. So
//! every subscriber sees one total order and may call back into the bridge.

use crate::lock::Lock;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A callback, to cast to an actor. It runs on a connection's task and must not block.
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

    /// Delivers all that was appended, unless another call is doing so already.
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
                // In the same critical section as the empty check, or an event appended in between would stay here.
                state.delivering = next.is_some();
                next
            };
            match next {
                Some((subscriber, event)) => {
                    // A subscriber that panics must not end the connection or the delivery to others.
                    if catch_unwind(AssertUnwindSafe(|| subscriber(event))).is_err() {
                        tracing::error!(
                            "a subscriber of the bridge panicked; this event is not delivered to it again"
                        );
                    }
                }
                None => return,
            }
        }
    }
}

//! One timer per actor. It fires as an ordinary message that carries a generation. It re-arms only after it
//! fired or when the deadline moved earlier, so heartbeats that push a deadline back cost nothing.

use quorate_core::Time;
use ractor::{ActorRef, Message};

#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: Option<Time>,
    generation: u64,
}

impl Timer {
    /// Schedules `message` for `deadline`, unless the timer is armed for an earlier time.
    pub(crate) fn arm<M: Message>(
        &mut self,
        me: &ActorRef<M>,
        now: Time,
        deadline: Option<Time>,
        message: impl FnOnce(u64) -> M + Send + 'static,
    ) {
        let Some(deadline) = deadline else { return };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        self.armed = Some(deadline);
        self.generation += 1;
        let generation = self.generation;
        // The task of an earlier timer ends by itself; its message carries an old generation.
        drop(me.send_after(deadline.since(now), move || message(generation)));
    }

    /// Whether the timer that fired is the newest one.
    pub(crate) fn fired(&mut self, generation: u64) -> bool {
        let newest = generation == self.generation;
        if newest {
            self.armed = None;
        }
        newest
    }
}

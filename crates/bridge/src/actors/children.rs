//! The restart rules of the Bridge's children, as data and a little arithmetic.
//!
//! | child    | after panic, error or stop            | why                                                       |
//! |----------|---------------------------------------|-----------------------------------------------------------|
//! | Listener | started again, with growing pauses    | the socket lives above it; peers queue in its backlog     |
//! | Link     | started again, with growing pauses    | the peer's messages have no other way                     |
//! | Session  | not: the peer's Link connects anew    | its connection died with it                               |
//!
//! No crash of a child climbs to the Bridge: one poisonous peer must not cost the links to the others. A child that
//! crashes on and on is tried every `restart_max_ms` and logged as an error each time.

use ractor::ActorId;
use ractor::concurrency::JoinHandle;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What a child is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Listener,
    Link(String),
    Session,
}

/// A running child.
pub(crate) struct Child {
    pub(crate) role: Role,
    pub(crate) cell: ractor::ActorCell,
    pub(crate) join: JoinHandle<()>,
}

/// Crashes further apart than this do not count together.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Children {
    pub(crate) by_id: BTreeMap<ActorId, Child>,
    crashes: BTreeMap<Role, (u32, Instant)>,
}

impl Children {
    pub(crate) fn add(&mut self, role: Role, cell: ractor::ActorCell, join: JoinHandle<()>) {
        self.by_id.insert(cell.get_id(), Child { role, cell, join });
    }

    pub(crate) fn find(&self, role: &Role) -> Option<&Child> {
        self.by_id.values().find(|child| child.role == *role)
    }

    /// How long to wait before `role` is started again: `min`, doubling with each crash in the window, up to `max`.
    pub(crate) fn pause(&mut self, role: &Role, now: Instant, min_ms: u64, max_ms: u64) -> Duration {
        let (crashes, last) = self.crashes.entry(role.clone()).or_insert((0, now));
        if now.duration_since(*last) > WINDOW {
            *crashes = 0;
        }
        *last = now;
        let pause = min_ms.saturating_mul(1 << (*crashes).min(20)).min(max_ms);
        *crashes += 1;
        Duration::from_millis(pause)
    }

    pub(crate) fn forget(&mut self, role: &Role) {
        self.crashes.remove(role);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_within_the_window_and_start_over_after_it() {
        let (mut children, role) = (Children::default(), Role::Link("node1".into()));
        let mut pause = |now| children.pause(&role, now, 10, 50).as_millis();
        let start = Instant::now();
        assert_eq!([pause(start), pause(start), pause(start), pause(start)], [10, 20, 40, 50]);
        assert_eq!(pause(start + WINDOW * 2), 10);
    }
}

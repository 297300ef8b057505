//! The restart rules of the Bridge's children.
//!
//! | child    | after a panic, error or stop          | why                                                       |
//! |----------|---------------------------------------|-----------------------------------------------------------|
//! | Listener | restarted, with growing pauses        | the socket lives above it; peers queue in its backlog     |
//! | Link     | restarted, with growing pauses        | messages to the peer have no other path                   |
//! | Session  | not restarted                         | its connection ended with it; the peer's Link reconnects  |
//!
//! A crash of a child never reaches the Bridge: one poisonous peer must not cost the links to the others. A child that
//! keeps crashing is restarted every `restart_max_ms` and logged as an error each time.

use super::messages::ChildKind;
use crate::backoff::exponential_ms;
use ractor::ActorId;
use ractor::concurrency::JoinHandle;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A running child.
pub(crate) struct Child {
    pub(crate) kind: ChildKind,
    pub(crate) cell: ractor::ActorCell,
    pub(crate) join: JoinHandle<()>,
}

/// Crashes further apart than this do not count as a series.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Children {
    pub(crate) by_id: BTreeMap<ActorId, Child>,
    crashes: BTreeMap<ChildKind, (u32, Instant)>,
}

impl Children {
    pub(crate) fn add(&mut self, kind: ChildKind, cell: ractor::ActorCell, join: JoinHandle<()>) {
        self.by_id.insert(cell.get_id(), Child { kind, cell, join });
    }

    pub(crate) fn find(&self, kind: &ChildKind) -> Option<&Child> {
        self.by_id.values().find(|child| child.kind == *kind)
    }

    /// How long to wait before `kind` is started again: `min`, doubling with each crash in the window, up to `max`.
    pub(crate) fn pause(&mut self, kind: &ChildKind, now: Instant, min_ms: u64, max_ms: u64) -> Duration {
        let (crashes, last) = self.crashes.entry(kind.clone()).or_insert((0, now));
        if now.duration_since(*last) > WINDOW {
            *crashes = 0;
        }
        *last = now;
        let pause = exponential_ms(*crashes, min_ms, max_ms);
        *crashes += 1;
        Duration::from_millis(pause)
    }

    pub(crate) fn forget(&mut self, kind: &ChildKind) {
        self.crashes.remove(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_within_the_window_and_start_over_after_it() {
        let (mut children, kind) = (Children::default(), ChildKind::Link("node1".into()));
        let mut pause = |now| children.pause(&kind, now, 10, 50).as_millis();
        let start = Instant::now();
        assert_eq!([pause(start), pause(start), pause(start), pause(start)], [10, 20, 40, 50]);
        assert_eq!(pause(start + WINDOW * 2), 10);
    }
}

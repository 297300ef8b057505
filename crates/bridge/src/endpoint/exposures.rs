//! The table of exposed names: what other nodes can reach, and nothing else.
//!
//! It lives above the Bridge actor. Each change publishes a new version of the table, so that a connection reads it
//! once per socket read and its monitors see every change.

use super::expose::{Exposed, Exposure};
use ractor::{ActorCell, ActorId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Exposures by name.
pub(crate) type Table = Arc<BTreeMap<Arc<str>, Arc<Exposure>>>;

#[derive(Default)]
pub(crate) struct Exposures {
    table: watch::Sender<Table>,
    generation: AtomicU64,
}

impl Exposures {
    pub(crate) fn table(&self) -> Table {
        self.table.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Table> {
        self.table.subscribe()
    }

    pub(crate) fn expose(&self, name: &str, exposed: Exposed) {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        let exposure = Arc::new(exposed.under(name, generation));
        self.table.send_modify(|table| {
            Arc::make_mut(table).insert(exposure.name.clone(), exposure);
        });
    }

    pub(crate) fn withdraw(&self, name: &str) -> Option<Arc<Exposure>> {
        let mut removed = None;
        self.table.send_if_modified(|table| {
            removed = Arc::make_mut(table).remove(name);
            removed.is_some()
        });
        removed
    }

    /// The actor behind a name.
    pub(crate) fn actor(&self, name: &str) -> Option<ActorCell> {
        self.table.borrow().get(name)?.cell.clone()
    }

    /// Marks one exposure as ended, unless the name was exposed again since.
    pub(crate) fn mark_ended(&self, exposure: &Exposure, how: &str) {
        self.table.send_if_modified(|table| {
            let current = table
                .get(&exposure.name)
                .filter(|current| current.generation == exposure.generation && current.ended.is_none());
            let Some(current) = current else { return false };
            let ended = Arc::new(current.end(how));
            Arc::make_mut(table).insert(exposure.name.clone(), ended);
            true
        });
    }

    /// Marks every exposure of an actor as ended.
    pub(crate) fn mark_actor_ended(&self, actor: ActorId, how: &str) {
        let is_of_actor =
            |exposure: &&Arc<Exposure>| exposure.cell.as_ref().is_some_and(|cell| cell.get_id() == actor);
        for exposure in self.table().values().filter(is_of_actor) {
            self.mark_ended(exposure, how);
        }
    }
}

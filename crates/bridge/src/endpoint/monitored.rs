//! The names the other end of a connection monitors here, and what it was last told about each.
//!
//! Bound: `monitors_max` names; a peer that asks for more is cut off.

use super::expose::Exposure;
use super::exposures::{Exposures, Table};
use crate::connection::Connection;
use crate::frame::{self, Down, FrameKind, Name};
use crate::lock::Lock;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Monitored {
    connection: Arc<Connection>,
    exposures: Arc<Exposures>,
    /// Name -> generation of the exposure the peer believes up; `None`: it was told Down.
    told: Lock<BTreeMap<String, Option<u64>>>,
}

impl Monitored {
    pub(crate) fn new(connection: Arc<Connection>, exposures: Arc<Exposures>) -> Self {
        Self { connection, exposures, told: Lock::default() }
    }

    /// Reports the state of `name` now, even if the peer asks twice, and its changes from now on.
    pub(crate) fn add(&self, name: String) {
        let table = self.exposures.table();
        {
            let mut told = self.told.lock();
            if told.len() >= self.connection.options.monitors_max && !told.contains_key(&name) {
                drop(told);
                self.connection.close("more names monitored than monitors_max allows");
                return;
            }
            let alive = generation_alive(&table, &name);
            if alive.is_some() {
                self.send_up(&name);
            } else {
                self.send_down(&name, table.get(name.as_str()), "not_exposed");
            }
            told.insert(name, alive);
        }
        self.send_changes(&table);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.told.lock().remove(name);
    }

    /// Reports every change of the table for as long as the bridge lives.
    pub(crate) async fn report_changes(&self) {
        let mut changes = self.exposures.subscribe();
        while changes.changed().await.is_ok() {
            let table = changes.borrow_and_update().clone();
            self.send_changes(&table);
        }
    }

    /// If an exposure ended and a new one began between two versions of the table, Down is still sent before Up.
    fn send_changes(&self, table: &Table) {
        for (name, told) in self.told.lock().iter_mut() {
            let alive = generation_alive(table, name);
            if *told == alive {
                continue;
            }
            if told.is_some() {
                self.send_down(name, table.get(name.as_str()), "withdrawn");
            }
            if alive.is_some() {
                self.send_up(name);
            }
            *told = alive;
        }
    }

    fn send_up(&self, name: &str) {
        self.connection.send_system(frame::cold(FrameKind::Up, &Name { name: name.to_owned() }));
    }

    fn send_down(&self, name: &str, exposure: Option<&Arc<Exposure>>, if_absent: &str) {
        let (reason, detail) = match exposure {
            Some(exposure) => ("died", exposure.ended.as_deref().unwrap_or("the name was exposed again")),
            None => (if_absent, ""),
        };
        let down = Down { name: name.to_owned(), reason: reason.to_owned(), detail: detail.to_owned() };
        self.connection.send_system(frame::cold(FrameKind::Down, &down));
    }
}

fn generation_alive(table: &Table, name: &str) -> Option<u64> {
    table.get(name).filter(|exposure| exposure.ended.is_none()).map(|exposure| exposure.generation)
}

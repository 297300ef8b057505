//! The monitors of one peer's actors: who monitors which name, and what each was last told.

use super::outbox::Subscriber;
use crate::event::{MonitorChange, MonitorEvent};
use std::collections::{BTreeMap, BTreeSet};

struct Monitor {
    name: String,
    subscriber: Subscriber<MonitorEvent>,
    /// What it was last told; `None`: nothing yet.
    up: Option<bool>,
}

#[derive(Default)]
pub(crate) struct Monitors {
    last_id: u64,
    by_id: BTreeMap<u64, Monitor>,
}

impl Monitors {
    pub(crate) fn add(&mut self, name: &str, subscriber: Subscriber<MonitorEvent>) -> u64 {
        self.last_id += 1;
        self.by_id.insert(self.last_id, Monitor { name: name.into(), subscriber, up: None });
        self.last_id
    }

    /// Removes a monitor; returns its name if it was the last of that name.
    pub(crate) fn remove(&mut self, id: u64) -> Option<String> {
        let Monitor { name, .. } = self.by_id.remove(&id)?;
        self.by_id.values().all(|monitor| monitor.name != name).then_some(name)
    }

    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.by_id.values().map(|monitor| monitor.name.as_str()).collect()
    }

    /// The events due after a change of `name` (`None`: of every name): one for each monitor that was not told yet.
    pub(crate) fn events(
        &mut self,
        node: &str,
        name: Option<&str>,
        change: &MonitorChange,
    ) -> impl Iterator<Item = (Subscriber<MonitorEvent>, MonitorEvent)> {
        let up = matches!(change, MonitorChange::Up { .. });
        let due = self
            .by_id
            .values_mut()
            .filter(move |monitor| name.is_none_or(|name| monitor.name == name) && monitor.up != Some(up));
        due.map(move |monitor| {
            monitor.up = Some(up);
            let (node, name) = (node.to_owned(), monitor.name.clone());
            (monitor.subscriber.clone(), MonitorEvent { node, name, change: change.clone() })
        })
    }
}

//! The lane of the bridge in which a message travels (`docs/decisions/0026-lanes-and-windows.md`).

use quorate_core::{AppendEntries, Body, LogId, Message, NodeId};

/// A lane of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// What a role says itself, and heartbeats ahead of entries.
    Control,
    /// Entries, and heartbeats that keep their place behind them.
    Bulk,
}

/// The heartbeats of one step that a replicator did not send ahead. In a step, those that it does send ahead have another `prev`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Behind(Vec<(NodeId, LogId)>);

impl Behind {
    pub(crate) fn note(&mut self, peer: &NodeId, append: &AppendEntries) {
        if append.entries.is_empty() {
            self.0.push((peer.clone(), append.prev));
        }
    }

    pub(crate) fn lane(&self, message: &Message) -> Lane {
        let Body::AppendEntries(append) = &message.body else { return Lane::Control };
        let is_behind = |(peer, prev): &(NodeId, LogId)| *peer == message.to && *prev == append.prev;
        if append.entries.is_empty() && !self.0.iter().any(is_behind) { Lane::Control } else { Lane::Bulk }
    }
}

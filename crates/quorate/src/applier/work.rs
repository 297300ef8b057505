//! What an applier lends to a worker thread for each job, and gets back with the result: the machine with its client
//! sessions, and the ports of the proposals that wait for their entry.
//!
//! Never applies an index twice, and never reuses a machine that panicked. A job whose applier ended in the meantime runs
//! to its end: what it answers is true, and what it says of the machine is heard by no one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_core::{Entry, Index, LogId};

use crate::applier::since::SinceSnapshot;
use crate::applier::waiters::Waiters;
use crate::context::GroupContext;
use crate::error::ProposeError;
use crate::gauge::Gauge;
use crate::host::held::HeldReplies;
use crate::host::machine::{MachineHost, query_error};
use crate::machine::{ApplyError, Execution, Executor, Lookup, QueryFailed, Taken};
use crate::messages::group::Captured;
use crate::ports::{ProposalPort, QueryPort};

/// How far entries were applied.
pub(super) enum Batch {
    /// All that were given are applied.
    Applied,
    /// Entries before the rest were lost with an actor.
    Gap,
    /// The machine cannot take an entry: its applier must end.
    Poisoned(String),
}

/// See the module's header.
pub(super) struct Work {
    pub(super) executor: Executor<Box<dyn MachineHost>>,
    pub(super) waiters: Waiters,
    pub(super) cx: Arc<GroupContext>,
    /// Set to the index of an entry that the machine cannot take.
    pub(super) poison: Arc<AtomicU64>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) since: SinceSnapshot,
}

impl Work {
    pub(super) fn applied(&self) -> Index {
        self.executor.applied().index
    }

    /// Applies the entry if it follows the last one applied, and skips an earlier one.
    pub(super) fn apply_committed(&mut self, entry: &Entry, replies: &HeldReplies) -> Batch {
        if entry.index <= self.applied() {
            return Batch::Applied;
        }
        if entry.index != self.applied().next() {
            return Batch::Gap;
        }
        self.gauge.begin();
        let mut port = self.waiters.take(entry.log_id());
        let run = self.executor.take_entry(entry, |machine, cx, envelope| {
            machine.apply_command(cx, envelope, &mut port, replies)
        });
        match run {
            Ok((taken, _events)) => {
                self.gauge.end(entry.log_id());
                self.since.applied(entry);
                if let Some(port) = port {
                    self.answer_unapplied(port, entry, taken);
                }
                Batch::Applied
            }
            Err(error) => {
                let (node, group, index) = (&self.cx.node, &self.cx.name, entry.index);
                tracing::error!(%node, %group, %index, %error, "the state machine cannot take an entry");
                if matches!(error, ApplyError::Newer { .. } | ApplyError::Unreadable { .. }) {
                    self.gauge.halt();
                }
                self.poison.store(index.0, Ordering::Release);
                let reason = error.to_string();
                if let Some(port) = port {
                    port.fail(self.machine_ended(&reason, index));
                }
                Batch::Poisoned(reason)
            }
        }
    }

    /// Captures the machine as it is now.
    pub(super) fn capture(&mut self) -> Result<Captured, String> {
        let captured = self.executor.snapshot_with(|machine| machine.snapshot());
        self.since.captured();
        let (at, state) = captured.map_err(|error| error.to_string())?;
        let (time_ms, membership) = self.since.last();
        Ok(Captured { at, time_ms, membership, state })
    }

    /// Answers the proposals that wait, whose machine has ended: each is in the log, where another leader's entry may replace it, and
    /// otherwise it is applied by the machine that is made next, here or on another node.
    pub(super) fn fail_waiting(&mut self, reason: &str) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.fail_all(|index| self.machine_ended(reason, index));
    }

    fn machine_ended(&self, reason: &str, index: Index) -> ProposeError {
        let (node, group) = (&self.cx.node, &self.cx.name);
        ProposeError::unknown(format!(
            "{reason} (group {group} on node {node}); the command is in the log at index {index}, and may yet be applied"
        ))
    }

    /// Answers a query whose index is applied.
    pub(super) fn answer_query(&self, port: QueryPort, replies: &HeldReplies) {
        if port.is_abandoned() {
            return;
        }
        match self.executor.running() {
            Ok(machine) => machine.answer_query(port, self.applied(), replies),
            Err(fault) => port.fail(query_error(QueryFailed::Faulted(fault))),
        }
    }

    /// Answers the proposer of an entry that the machine did not apply now.
    fn answer_unapplied(&self, port: ProposalPort, entry: &Entry, taken: Taken<()>) {
        let error = match taken {
            Execution::Found(Lookup::Repeated { index, reply }) => {
                let machine = self.executor.running().expect("it took the entry");
                let at = LogId { term: entry.term, index };
                return machine.repeat_reply(port, at, reply);
            }
            Execution::Found(Lookup::Mismatch { index }) => ProposeError::KeyReused { index: index.0 },
            Execution::Found(Lookup::Stale { last, index }) => {
                ProposeError::StaleSequence { last, index: index.0 }
            }
            Execution::Found(Lookup::Expired { forgotten_through }) => {
                let index = entry.index.0;
                ProposeError::SessionExpired { forgotten_through: forgotten_through.0, index }
            }
            Execution::Unreadable { detail } => ProposeError::Unreadable { detail },
            Execution::NotCommand | Execution::Replied(()) => {
                ProposeError::unknown("the entry at its index is not a command")
            }
        };
        port.fail(error);
    }
}

//! What happened in a simulation, event by event with its time: what two runs of one seed are compared by.
//!
//! It hears what the runtime logs (`quorate*` targets: roles, links, restarts, failures) and what scripts note; a trace
//! that keeps its lines also hears every segment on the simulated network with its bytes. All that it hears goes into a
//! digest. Segments are left out otherwise because writing their bytes takes more time than the rest of a run. Bound:
//! none on the lines that are kept; a run is short.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use quorate::BROKEN_TARGET;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::lock::lock;

/// Clones write to the same trace.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    keeps: bool,
    now_ms: Arc<AtomicU64>,
    written: Arc<Mutex<Written>>,
}

#[derive(Debug, Default)]
struct Written {
    broken: Vec<String>,
    /// Nodes that start on a disk that was damaged on purpose.
    damaged: BTreeSet<String>,
    digest: DefaultHasher,
    events: u64,
    muted: bool,
    lines: Vec<String>,
    /// The event being written; kept, so that its memory is used again.
    line: String,
}

impl Trace {
    pub(super) fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// The simulated time, which the driver of the simulation sets.
    pub(super) fn clock(&self) -> Arc<AtomicU64> {
        self.now_ms.clone()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Hears nothing until it is called with `false`.
    pub(super) fn mute(&self, muted: bool) {
        self.lock().muted = muted;
    }

    /// Adds an event.
    pub(super) fn note(&self, event: fmt::Arguments<'_>) {
        self.write(false, |line| line.write_fmt(event));
    }

    /// How many events there are, and the digest of them all.
    pub(super) fn digest(&self) -> (u64, u64) {
        let written = self.lock();
        (written.events, written.digest.finish())
    }

    pub(super) fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().lines)
    }

    /// What this node says of a broken rule is excused: its disk was damaged, and it starts.
    pub(super) fn excuse(&self, node: &str, excused: bool) {
        let mut written = self.lock();
        if excused {
            written.damaged.insert(node.to_owned());
        } else {
            written.damaged.remove(node);
        }
    }

    /// What the nodes said that they say of bugs alone. Nothing here forges a message, and a disk that was damaged is
    /// excused.
    pub(super) fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().broken)
    }

    fn write(&self, is_broken: bool, event: impl FnOnce(&mut String) -> fmt::Result) {
        let now_ms = self.now_ms();
        let mut written = self.lock();
        if written.muted {
            return;
        }
        let mut line = std::mem::take(&mut written.line);
        line.clear();
        // Writing to a string does not fail.
        let _ = write!(line, "{now_ms:>7} ").and_then(|()| event(&mut line));
        written.events += 1;
        written.digest.write(line.as_bytes());
        written.digest.write_u8(b'\n');
        if self.keeps {
            written.lines.push(line.clone());
        }
        if is_broken && written.broken.len() < BROKEN_MAX {
            written.broken.push(line.clone());
        }
        written.line = line;
    }

    /// A panic while an event was formatted leaves the trace whole: each event starts a new line.
    fn lock(&self) -> MutexGuard<'_, Written> {
        lock(&self.written)
    }
}

/// So many are enough to look at.
const BROKEN_MAX: usize = 10;

/// Fields as text, without what differs from one run in a process to the next.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

/// The field that names the node.
struct OfNode(String);

impl Visit for OfNode {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "node" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Trace {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_runtime = metadata.target().starts_with("quorate");
        // Segments and connections; not the beat of the simulation.
        let of_network =
            self.keeps && metadata.target() == "turmoil" && metadata.fields().field("protocol").is_some();
        metadata.is_event() && (of_runtime || of_network)
    }

    fn event(&self, event: &Event<'_>) {
        let target = event.metadata().target();
        let is_broken = target == BROKEN_TARGET && {
            let mut node = OfNode(String::new());
            event.record(&mut node);
            !self.lock().damaged.contains(&node.0)
        };
        self.write(is_broken, |line| {
            line.push_str(target);
            // What an operator does not see unless asked for.
            if *event.metadata().level() > Level::INFO {
                line.push_str(" (debug)");
            }
            event.record(&mut Text(line));
            Ok(())
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_broken_rule_is_kept_apart() {
        let trace = Trace::new(false);
        tracing::subscriber::with_default(trace.clone(), || {
            tracing::error!(target: BROKEN_TARGET, peer = "node1", "a rule is broken");
            tracing::error!(target: "quorate::node", "a disk is full");
        });
        let broken = trace.take_broken();
        assert!(matches!(&broken[..], [line] if line.contains("node1")), "{broken:?}");
        trace.excuse("node1", true);
        tracing::subscriber::with_default(trace.clone(), || {
            tracing::error!(target: BROKEN_TARGET, node = %"node1", "the store was damaged");
            tracing::error!(target: BROKEN_TARGET, node = %"node2", "the store was damaged");
        });
        let broken = trace.take_broken();
        assert!(matches!(&broken[..], [line] if line.contains("node2")), "{broken:?}");
    }
}

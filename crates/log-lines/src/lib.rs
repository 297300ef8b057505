//! For tests: the lines of the log that some code writes on its thread. A crate of its own, since the store and what is built on it
//! both use it, and neither may depend on a crate that depends on it.

use std::fmt::{Debug, Write};
use std::sync::mpsc::{Sender, channel};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What `work` returns, and each line that it wrote, as `WARN name=value ..`.
pub fn lines_of<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (sender, lines) = channel();
    let value = tracing::subscriber::with_default(Lines(sender), work);
    (value, lines.try_iter().collect())
}

struct Lines(Sender<String>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("writing to a string does not fail");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().starts_with("quorate") {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            let _ = self.0.send(line.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

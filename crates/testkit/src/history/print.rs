//! What a person looks at when there is no order.

use std::fmt;

use super::check::NotLinearizable;
use super::record::{Call, Ended, Operation, Reply};
use super::register::State;
use super::window::Window;

/// Operations listed that wait, are related or contradict each other, at most.
const LISTED_MAX: usize = 24;

pub(super) fn shown(state: State) -> String {
    state.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.placed - self.order.len();
        if skipped > 0 {
            writeln!(f, "  {skipped} operations found their place, then")?;
        }
        for operation in &self.order {
            writeln!(f, "  {operation}")?;
        }
        writeln!(
            f,
            "  now it holds {}, and one of these should come next, but none can:",
            shown(self.state)
        )?;
        for operation in self.waiting.iter().take(LISTED_MAX) {
            writeln!(f, "  > {operation}")?;
        }
        let lists = [
            (&self.related, "where the values they speak of come from:"),
            (&self.fewest, "the fewest that contradict each other:"),
        ];
        for (operations, what) in lists.iter().filter(|(operations, _)| !operations.is_empty()) {
            writeln!(f, "  {what}")?;
            for operation in operations.iter().take(LISTED_MAX) {
                writeln!(f, "    {operation}")?;
            }
        }
        let more: usize = [&self.waiting, &self.related, &self.fewest]
            .iter()
            .map(|operations| operations.len().saturating_sub(LISTED_MAX))
            .sum();
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.ended {
            Ended::Replied { at, .. } => at.to_string(),
            Ended::Unknown | Ended::Refused => "..".to_owned(),
        };
        write!(f, "[{:>6} {end:>6}] client {:>2}: {}", self.start, self.client, Said(self))
    }
}

/// An operation without its client and its moments: what was asked, and how that ended.
pub(super) struct Said<'a>(pub(super) &'a Operation);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.call {
            Call::Read => write!(f, "read")?,
            Call::Write(value) => write!(f, "write {value}")?,
            Call::CompareAndSet { expected, value } => write!(f, "cas {} to {value}", shown(expected))?,
            Call::Delete => write!(f, "delete")?,
        }
        match self.0.ended {
            Ended::Replied { reply: Reply::Value(value) | Reply::Kept { current: value }, .. } => {
                write!(f, ": it holds {}", shown(value))
            }
            Ended::Replied { reply: Reply::Written, .. } => write!(f, ": written"),
            Ended::Replied { reply: Reply::Swapped, .. } => write!(f, ": swapped"),
            Ended::Replied { reply: Reply::Deleted { existed }, .. } => {
                write!(f, ": {}", if existed { "deleted" } else { "nothing to delete" })
            }
            Ended::Unknown => write!(f, ": unknown"),
            Ended::Refused => write!(f, ": refused"),
        }
    }
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOrder { key, window } => write!(f, "key {key:?} is not linearizable:\n{window}"),
            Self::OutOfSteps { key, steps } => {
                write!(f, "key {key:?}: no order found in {steps} steps, so that nothing is shown")
            }
            Self::Backwards { operation } => write!(f, "it ends before it begins: {operation}"),
        }
    }
}

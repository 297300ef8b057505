//! Whether a history is linearizable: the search for an order of each key, and what is shown if there is none.

use std::collections::BTreeMap;

use super::record::{Ended, History, Operation};
use super::search::{Search, Searched};
use super::shrink;
use super::window::Window;

/// How much work a check may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Operations tried in a place, over all keys.
    pub steps_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps_max: 20_000_000 }
    }
}

/// What a check covered; every reply found its place in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Keys that were checked.
    pub keys: usize,
    /// Operations with a reply, all of which found their place.
    pub operations: usize,
    /// Operations tried in a place.
    pub steps: u64,
}

/// Why a history does not count as linearizable. Printed, it shows the part that is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotLinearizable {
    /// There is no order: this is a bug of what was tested.
    NoOrder {
        /// The name of the register.
        key: String,
        /// Where the search got furthest.
        window: Box<Window>,
    },
    /// The search gave up: nothing is shown, which is not good enough.
    OutOfSteps {
        /// The name of the register.
        key: String,
        /// Steps that were tried.
        steps: u64,
    },
    /// An operation ended before it began: a mistake of the recording.
    Backwards {
        /// The operation as it was recorded.
        operation: Operation,
    },
}

impl std::error::Error for NotLinearizable {}

/// Whether each key of a history is a linearizable register, at first without a value.
pub fn check(history: &History, budget: Budget) -> Result<Checked, NotLinearizable> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        if let Ended::Replied { at, .. } = operation.ended
            && at <= operation.start
        {
            return Err(NotLinearizable::Backwards { operation: operation.clone() });
        }
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut checked = Checked { keys: keys.len(), operations: 0, steps: 0 };
    for (key, operations) in keys {
        let mut search = Search::new(&operations);
        search.steps = checked.steps;
        let searched = search.run(budget.steps_max);
        checked.steps = search.steps;
        checked.operations += search.replied();
        match searched {
            Searched::Order => {}
            Searched::NoOrder => {
                let fewest = shrink::fewest(&operations, search.held_up_by());
                let window = Box::new(search.window(&operations, fewest));
                return Err(NotLinearizable::NoOrder { key: key.to_owned(), window });
            }
            Searched::OutOfSteps => {
                return Err(NotLinearizable::OutOfSteps { key: key.to_owned(), steps: checked.steps });
            }
        }
    }
    Ok(checked)
}

//! The fewest operations that contradict each other.
//!
//! Theory of operation. Weaken an operation: drop it if it only reads, else treat its outcome as unknown. Every order of
//! the full history is an order of the weakened one, so if the weakened one has none, the full one has none. Weaken what
//! came after the search stopped, then ever smaller pieces, while there is still no order; what remains is needed for
//! the contradiction: with any one of them weakened, there is an order, or the search for one is too long.
//!
//! Bound: [`STEPS_MAX`] over all trials, [`TRIAL_STEPS_MAX`] for each; when they end, more than the fewest are left.

use super::record::{Ended, Operation};
use super::register::only_looks;
use super::search::has_order;

/// Steps over all trials: about a second.
const STEPS_MAX: u64 = 2_000_000;
/// Steps of one trial: weakened histories have many orders, and a trial that takes long tells nothing.
const TRIAL_STEPS_MAX: u64 = 20_000;

/// The operations of one key that contradict each other. `until`: nothing after it is needed for the contradiction.
pub(super) fn fewest(all: &[&Operation], until: u64) -> Vec<Operation> {
    let replied = |operation: &&&Operation| matches!(operation.ended, Ended::Replied { .. });
    let mut believed: Vec<bool> = all
        .iter()
        .map(|operation| matches!(operation.ended, Ended::Replied { at, .. } if at <= until))
        .collect();
    let mut steps = 0;
    if is_bad(all, &believed, &mut steps) != Some(true) {
        // Too many orders to try: all that was replied to is shown instead.
        return all.iter().filter(replied).map(|operation| (*operation).clone()).collect();
    }
    let mut piece = all.len().div_ceil(2);
    loop {
        let mut weakened = false;
        let candidates: Vec<usize> = (0..all.len()).filter(|&at| believed[at]).collect();
        for some in candidates.chunks(piece.max(1)) {
            if steps > STEPS_MAX {
                break;
            }
            for &at in some {
                believed[at] = false;
            }
            if is_bad(all, &believed, &mut steps) == Some(true) {
                weakened = true;
            } else {
                for &at in some {
                    believed[at] = true;
                }
            }
        }
        if steps > STEPS_MAX || (piece <= 1 && !weakened) {
            break;
        }
        piece = piece.div_ceil(2).max(1);
    }
    let mut left: Vec<Operation> =
        (0..all.len()).filter(|&at| believed[at]).map(|at| all[at].clone()).collect();
    left.sort_by_key(|operation| operation.start);
    left
}

/// Whether those believed have no order; `None` if that was not found out.
fn is_bad(all: &[&Operation], believed: &[bool], steps: &mut u64) -> Option<bool> {
    let weakened: Vec<Operation> = all
        .iter()
        .zip(believed)
        .filter_map(|(one, believed)| match one.ended {
            Ended::Replied { .. } if *believed => Some((*one).clone()),
            Ended::Replied { reply, .. } if only_looks(reply) => None,
            Ended::Replied { .. } | Ended::Unknown => {
                Some(Operation { ended: Ended::Unknown, ..(*one).clone() })
            }
            Ended::Refused => None,
        })
        .collect();
    let weakened: Vec<&Operation> = weakened.iter().collect();
    has_order(&weakened, TRIAL_STEPS_MAX, steps).map(|has_order| !has_order)
}

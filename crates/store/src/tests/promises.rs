//! What a store must hold when it is opened after it was stopped: what was acknowledged is there, what was under way is
//! there whole or not at all, and nothing of it looks like damage.

use super::workload::{World, held};
use crate::{OpenNotice, OpenReport, Store};

/// Says what is wrong. `promised` was acknowledged; `next` would hold had what was under way finished.
pub(super) fn kept(store: &Store, report: &OpenReport, promised: &World, next: &World) -> Result<(), String> {
    let damage = report.notices.iter().find(|notice| match notice {
        OpenNotice::TornTail(_)
        | OpenNotice::BadSlot { .. }
        | OpenNotice::ReadAgain { .. }
        | OpenNotice::BallastDropped { .. } => false,
        OpenNotice::Lost { .. } | OpenNotice::SetAside { .. } => true,
    });
    if let Some(damage) = damage {
        return Err(format!("an ordinary stop looks like damage: {damage:?}"));
    }
    // One batch carries all groups: their logs are all as before or all as after.
    let is = |world: &World| {
        next.keys().all(|group| {
            let found = held(store, *group).unwrap_or_default();
            let expected = world.get(group).cloned().unwrap_or_default();
            (found.start, &found.entries) == (expected.start, &expected.entries)
        })
    };
    let (before, after) = (is(promised), is(next));
    if !before && !after {
        return Err("a log is neither as promised nor as under way".to_owned());
    }
    for (group, new) in next {
        let old = promised.get(group).cloned().unwrap_or_default();
        let found = held(store, *group).unwrap_or_default().hard;
        if found != old.hard && found != new.hard {
            return Err(format!("the hard state of {group} is neither of the two: {found:?}"));
        }
        if !before && found != new.hard {
            return Err(format!("the log of {group} is newer than its term and vote"));
        }
        let lost = promised.contains_key(group) && held(store, *group).is_none();
        if lost {
            return Err(format!("group {group} is gone"));
        }
    }
    Ok(())
}

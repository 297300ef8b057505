//! What a store must hold when it is opened after a stop: acknowledged writes are there, the write in progress is there whole
//! or not at all, and nothing looks like damage.

use super::workload::{World, held};
use crate::{OpenNotice, OpenReport, Store};

/// An error says what is wrong. `promised` was acknowledged; `next` would hold if the write in progress had finished.
pub(super) fn kept(store: &Store, report: &OpenReport, promised: &World, next: &World) -> Result<(), String> {
    let damage = report.notices.iter().find(|notice| match notice {
        OpenNotice::TornTail(_)
        | OpenNotice::BadSector { .. }
        | OpenNotice::ReadAgain { .. }
        | OpenNotice::NoRoom(_)
        | OpenNotice::BallastDropped { .. } => false,
        OpenNotice::Lost { .. }
        | OpenNotice::SetAside { .. }
        | OpenNotice::PutBack { .. }
        | OpenNotice::UnknownFiles { .. } => true,
    });
    if let Some(damage) = damage {
        return Err(format!("an ordinary stop looks like damage: {damage:?}"));
    }
    // One batch carries all groups: all their logs are as before it, or all as after it.
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

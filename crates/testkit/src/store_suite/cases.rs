//! Every case, and how they are run.

use super::model::random_history;
use super::storage::{Factory, Storage};
use super::{disk, groups, log};

/// Runs every case; panics, naming what is wrong, if one fails.
pub fn run(factory: &mut Factory<'_>) {
    for (name, case) in CASES {
        eprintln!("store suite: {name}");
        case(factory().as_mut());
    }
    for seed in 0..4 {
        eprintln!("store suite: random history {seed}");
        random_history(factory().as_mut(), seed, 120);
    }
}

/// A case: an empty storage in, a panic out if it fails.
pub type Case = fn(&mut dyn Storage);

/// Every case with its name, to run them one by one.
pub const CASES: &[(&str, Case)] = &[
    ("a batch is atomic and ordered", disk::batch_is_atomic_and_ordered),
    ("a dropped range may come back but nothing else goes", disk::drop_range_keeps_the_rest),
    ("sectors come back as written", disk::sectors_come_back),
    ("a database set aside is gone", disk::database_set_aside_is_gone),
    ("appended entries are read back", log::append_and_read),
    ("runs are capped", log::runs_are_capped),
    ("a suffix is truncated inside a run", log::truncate_inside_a_run),
    ("a suffix is truncated at a run's start", log::truncate_at_a_run_start),
    ("overwritten entries are gone", log::overwrite),
    ("several writes of one group fold", log::writes_fold),
    ("a prefix is compacted inside a run", log::compact_inside_a_run),
    ("a compacted log is truncated", log::truncate_after_compaction),
    ("terms of the whole log are loaded", log::terms),
    ("memberships follow the log", log::memberships),
    ("the tail is bounded", log::tail_is_bounded),
    ("reads stay inside the log", log::reads_stay_inside),
    ("many runs are found with few boundaries", log::few_boundaries),
    ("groups share one batch", groups::groups_share_a_batch),
    ("groups keep their numbers and founding members", groups::founding_is_read_once),
    ("hard states survive", groups::hard_states),
    ("peers survive", groups::peers),
    ("boots count", groups::boots_count),
    ("many groups fit", groups::many_groups),
    ("a snapshot replaces a conflicting log", groups::install_fresh),
    ("a snapshot keeps a log that has its place", groups::install_kept),
];

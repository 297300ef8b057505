//! What is wrong with the state machines of a simulation: time that their calls take, entries that they cannot take, a restore that
//! fails. Set by scripts for one group on one node, read by [`FaultyMachine`](super::FaultyMachine) and by the threads that it runs on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_core::SplitMix64;

use crate::lock::lock;

/// What a machine is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineCall {
    /// To apply a command.
    Apply,
    /// To answer a query.
    Query,
    /// To be made from a snapshot, at each start.
    Restore,
}

/// How long calls of one kind take.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    min_ms: u64,
    max_ms: u64,
    /// Of a thousand calls, so many take it; the others take no time.
    per_mille: u64,
}

#[derive(Debug)]
struct State {
    draw: SplitMix64,
    times: [Time; 3],
    spent: [u64; 3],
    /// Panics at the next entry, and at that one from then on.
    chokes: bool,
    chokes_at: Option<u64>,
    fails_restore: bool,
}

/// What is wrong with the machine of one group on one node. Outlives crashes of the node. Clones are the same.
///
/// It has an effect on a `FaultyMachine`.
#[derive(Debug, Clone)]
pub struct MachineFaults(Arc<Mutex<State>>);

impl MachineFaults {
    fn new(seed: u64) -> Self {
        let (times, spent) = ([Time::default(); 3], [0; 3]);
        let draw = SplitMix64::new(seed);
        let state = State { draw, times, spent, chokes: false, chokes_at: None, fails_restore: false };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Of a thousand such calls, `per_mille` take `min_ms` to `max_ms` of simulated time.
    pub fn set_time_ms(&self, call: MachineCall, min_ms: u64, max_ms: u64, per_mille: u64) {
        lock(&self.0).times[call as usize] = Time { min_ms, max_ms: max_ms.max(min_ms), per_mille };
    }

    /// The machine panics at the next entry that it applies, at each try, until this is set to `false`.
    pub fn set_chokes(&self, chokes: bool) {
        let mut state = lock(&self.0);
        (state.chokes, state.chokes_at) = (chokes, None);
    }

    /// The entry at which it panics, once it has met it.
    pub fn chokes_at(&self) -> Option<u64> {
        lock(&self.0).chokes_at
    }

    /// While set, the machine panics when it is restored.
    pub fn set_fails_restore(&self, fails: bool) {
        lock(&self.0).fails_restore = fails;
    }

    pub(super) fn fails_restore(&self) -> bool {
        lock(&self.0).fails_restore
    }

    /// Nothing is wrong with it any more.
    pub fn mend(&self) {
        let mut state = lock(&self.0);
        (state.times, state.chokes, state.chokes_at) = ([Time::default(); 3], false, None);
        state.fails_restore = false;
    }

    /// How many calls of this kind have taken time so far.
    pub fn slow_calls(&self, call: MachineCall) -> u64 {
        lock(&self.0).spent[call as usize]
    }

    pub(super) fn takes_time(&self) -> bool {
        lock(&self.0).times.iter().any(|time| time.per_mille > 0)
    }

    pub(super) fn time(&self, call: MachineCall) -> Duration {
        let mut state = lock(&self.0);
        let Time { min_ms, max_ms, per_mille } = state.times[call as usize];
        if per_mille == 0 || !state.draw.chance(per_mille) {
            return Duration::ZERO;
        }
        state.spent[call as usize] += 1;
        Duration::from_millis(state.draw.range(min_ms, max_ms))
    }

    pub(super) fn met(&self, index: u64) -> bool {
        let mut state = lock(&self.0);
        state.chokes && *state.chokes_at.get_or_insert(index) == index
    }
}

/// The machines of one node, by group.
#[derive(Clone, Default)]
pub(super) struct Machines {
    seed: u64,
    groups: Arc<Mutex<BTreeMap<String, MachineFaults>>>,
}

impl Machines {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, groups: Arc::default() }
    }

    pub(super) fn of_group(&self, group: &str) -> MachineFaults {
        let mut groups = lock(&self.groups);
        if let Some(faults) = groups.get(group) {
            return faults.clone();
        }
        let of_name = group.bytes().fold(self.seed, |seed, byte| seed.rotate_left(8) ^ u64::from(byte));
        groups.entry(group.to_owned()).or_insert_with(|| MachineFaults::new(of_name)).clone()
    }
}

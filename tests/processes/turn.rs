//! Which tests of one binary may run at the same time.
//!
//! Tests run on as many threads as there are cores. A test that measures how soon a cluster answers after a fault fails when
//! another test's processes take the machine from its own; it runs alone. The other tests that start processes run beside
//! each other, and wait while one runs alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Turns {
    /// Tests that run beside each other.
    shared: usize,
    /// Whether one runs alone.
    alone: bool,
    /// Tests that wait to run alone: no other test begins before them, or they could wait until all others are done.
    waiting: usize,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { shared: 0, alone: false, waiting: 0 });
static CHANGED: Condvar = Condvar::new();

/// Held while a test has its turn. A test takes one turn only: a second could wait for its own first.
#[derive(Debug)]
pub(crate) struct Turn {
    alone: bool,
}

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no other test has a turn.
pub(crate) fn alone() -> Turn {
    let mut turns = turns();
    turns.waiting += 1;
    let is_taken = |turns: &mut Turns| turns.alone || turns.shared > 0;
    let mut turns = CHANGED.wait_while(turns, is_taken).unwrap_or_else(PoisonError::into_inner);
    turns.waiting -= 1;
    turns.alone = true;
    Turn { alone: true }
}

/// Waits until no test runs alone.
pub(crate) fn shared() -> Turn {
    let is_taken = |turns: &mut Turns| turns.alone || turns.waiting > 0;
    let mut turns = CHANGED.wait_while(turns(), is_taken).unwrap_or_else(PoisonError::into_inner);
    turns.shared += 1;
    Turn { alone: false }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = turns();
        if self.alone {
            turns.alone = false;
        } else {
            turns.shared -= 1;
        }
        CHANGED.notify_all();
    }
}

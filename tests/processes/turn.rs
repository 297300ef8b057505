//! Which tests of one binary may run at the same time.
//!
//! Tests run on as many threads as `RUST_TEST_THREADS` says, and most of them wait for timers, links and processes more than they
//! compute. But a test fails when another one's processes take the machine from its own while it demands that no one is elected. So
//! each says what it is, and waits until it fits beside those that run:
//!
//! | kind | beside it |
//! |---|---|
//! | alone | nothing |
//! | steady | one more steady one |
//! | busy | one more busy one, and light ones |
//! | light | busy ones, and light ones |
//!
//! Turns are given in the order in which they are asked for: no test waits until all others are done.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a test takes of the machine, and what it demands of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    Steady,
    Busy,
    Light,
}

#[derive(Debug)]
struct Turns {
    running: Vec<Kind>,
    /// Numbers of turns that were asked for, and of the one that is given next.
    asked: u64,
    next: u64,
}

impl Turns {
    fn has_room_for(&self, kind: Kind) -> bool {
        let beside = |one: Kind| self.running.iter().filter(|running| **running == one).count();
        let others = self.running.len();
        match kind {
            Kind::Alone => others == 0,
            Kind::Steady => others < 2 && beside(Kind::Steady) == others,
            Kind::Busy => beside(Kind::Busy) < 2 && beside(Kind::Busy) + beside(Kind::Light) == others,
            Kind::Light => beside(Kind::Busy) + beside(Kind::Light) == others,
        }
    }
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { running: Vec::new(), asked: 0, next: 0 });
static CHANGED: Condvar = Condvar::new();

/// Held while a test has its turn. A test takes one turn only: a second could wait for its own first.
#[derive(Debug)]
pub(crate) struct Turn(Kind);

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn turn(kind: Kind) -> Turn {
    let mut turns = turns();
    let number = turns.asked;
    turns.asked += 1;
    let must_wait = |turns: &mut Turns| turns.next != number || !turns.has_room_for(kind);
    let mut turns = CHANGED.wait_while(turns, must_wait).unwrap_or_else(PoisonError::into_inner);
    turns.running.push(kind);
    turns.next += 1;
    CHANGED.notify_all();
    Turn(kind)
}

/// For what a measurement of the whole machine is part of.
pub(crate) fn alone() -> Turn {
    turn(Kind::Alone)
}

/// For a cluster that waits more than it works, and of which no one is to be elected.
pub(crate) fn steady() -> Turn {
    turn(Kind::Steady)
}

/// For a cluster under load and harm, which answers again within a bound that is generous.
pub(crate) fn busy() -> Turn {
    turn(Kind::Busy)
}

/// For commands, and a node or three that are asked a few things.
pub(crate) fn light() -> Turn {
    turn(Kind::Light)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = turns();
        let at = turns.running.iter().position(|kind| *kind == self.0);
        turns.running.swap_remove(at.expect("it runs until now"));
        CHANGED.notify_all();
    }
}

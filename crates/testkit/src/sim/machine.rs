//! A state machine that takes time, meets an entry that it cannot take, or cannot be restored: on one node, in one group, as a
//! script wants it.

use std::panic::resume_unwind;
use std::time::Duration;

use quorate::StateMachine;
use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader};

use super::faults::MachineCall;
use super::threads::{faults_here, spend};

/// A machine that does what the `MachineFaults` of its node and group say. Outside a simulation, and unless told otherwise,
/// it is the machine inside.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultyMachine<M>(pub M);

/// A panic as an actor's is that was told to, without a line of output for each of hundreds.
fn fail() -> ! {
    resume_unwind(Box::new("told to panic"))
}

fn pass(call: MachineCall) {
    let span = faults_here().map_or(Duration::ZERO, |faults| faults.time(call));
    if !span.is_zero() {
        spend(span);
    }
}

impl<M: StateMachine> StateMachine for FaultyMachine<M> {
    type Command = M::Command;
    type Reply = M::Reply;
    type Query = M::Query;
    type Answer = M::Answer;

    fn apply(&mut self, cx: &mut ApplyContext<'_>, command: M::Command) -> M::Reply {
        pass(MachineCall::Apply);
        if faults_here().is_some_and(|faults| faults.met(cx.index().0)) {
            fail();
        }
        self.0.apply(cx, command)
    }

    fn query(&self, query: M::Query) -> M::Answer {
        pass(MachineCall::Query);
        self.0.query(query)
    }

    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        pass(MachineCall::Restore);
        if faults_here().is_some_and(|faults| faults.fails_restore()) {
            fail();
        }
        M::restore(reader).map(Self)
    }
}

//! Recorded histories of concurrent clients, and whether they are linearizable.
//!
//! A [`Recorder`] notes when each operation began and how it ended; [`check`] then looks for an order of the operations
//! that a single register per key could have gone through: one in which every reply is right and no operation that
//! ended before another began comes after it. The search is that of Wing and Gong with the memoisation of Lowe
//! ("Testing for linearizability", 2017), one key at a time, because linearizability is local: a history is
//! linearizable if and only if each key's part of it is.
//!
//! What a reply promises decides what the search may do:
//! - replied: the operation took effect once, between its start and its end;
//! - unknown: it took effect at any time after its start, or never;
//! - refused: it never took effect, so that a reply with its value shows a bug.
//!
//! The search is exponential in the worst case. It has a budget of steps, and running out of it is a failure: a check
//! that gave up has shown nothing.
//!
//! What is found wrong is shown in words ([`std::fmt::Display`]) and as a picture ([`NotLinearizable::draw`]): where
//! every order breaks off, and the fewest operations that contradict each other.
//!
//! It is not: a check of anything but single registers. Values are numbers; a test gives each write its own.

mod check;
mod draw;
mod print;
mod record;
mod register;
mod search;
mod shrink;
mod window;

pub use check::{Budget, Checked, NotLinearizable, check};
pub use record::{Call, Ended, History, Operation, Pending, Recorder, Reply, Value};
pub use window::Window;

//! The testkit's own tests, and the simulation of the whole runtime that is made with it.

mod contract;
mod harm;
mod histories;
mod history;
mod history_draw;
mod history_random;
mod log_lines;
mod runtime;
mod simulation;
mod snapshots;
mod store_suite;

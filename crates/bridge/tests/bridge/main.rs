//! The bridge over loopback TCP: one binary, so that it links once.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests spawn their own tasks")]

mod cast_and_call;
mod common;
mod faults;
mod fuzz;
mod handshake;
mod malformed;
mod monitor;
mod present;
mod seam;

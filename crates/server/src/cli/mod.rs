//! The command line: noun then verb.
//!
//! Theory of operation. [`arguments`] is parsed by clap; the flags that are settings too become text with a source
//! ([`Settings`](crate::settings::Settings)); every command is a function from settings and its own arguments to nothing
//! or a [`Failure`](exit::Failure), which is the exit code and the sentence on standard error.
//!
//! It never: prints data to standard error or a message to standard output, or colours anything.

mod actors;
mod arguments;
mod bench;
mod client;
mod config;
mod confirm;
mod console;
mod context;
mod counter;
mod dispatch;
mod drain;
mod endpoints;
mod exit;
mod health;
mod kv;
mod leader;
mod log;
mod member;
mod member_arguments;
mod node_end;
mod node_options;
mod output;
mod reference;
mod runtime;
mod serve;
mod snapshot;
mod status;
mod value;

pub(crate) use dispatch::main;

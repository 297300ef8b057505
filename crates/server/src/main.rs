//! The binary `quorate`: runs nodes, asks a cluster, looks at logs. The library beside it does the work; here
//! are the command line ([`cli`]) and the settings ([`settings`]).

// They panic where nothing can be written; `cli::output` and `cli::console` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod settings;

use std::process::ExitCode;

/// A loaded node spent a fifth of its time in glibc's allocator, much of it waiting for other threads' arenas
/// (`docs/decisions/0037-allocator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}

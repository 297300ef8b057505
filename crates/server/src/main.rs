//! The binary `quorate`: runs nodes, asks a cluster, looks at logs. What it does stands in the library beside it; here
//! are the command line ([`cli`]) and the settings ([`config`]).

mod cli;
mod config;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

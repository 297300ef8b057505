//! The command line: noun then verb.
//!
//! Theory of operation. [`Cli`] is parsed by clap; the flags that are settings too become text with a source
//! ([`Settings`]); every command is a function from settings and its own arguments to nothing or a [`Failure`], which is
//! the exit code and the sentence on standard error.
//!
//! It never: prints data to standard error or a message to standard output, or colours anything.

mod actors;
mod arguments;
mod bench;
mod client;
mod cluster;
mod config;
mod confirm;
mod counter;
pub(crate) mod exit;
mod http;
mod kv;
mod log;
mod output;
mod reference;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{Cli, Command, Global};
use self::client::Api;
use self::exit::{Exit, Failure};
use self::output::{Format, Output, complain};
use crate::config::{Flags, Settings};

/// What every command is given.
struct Context {
    settings: Settings,
    output: Output,
}

impl Context {
    fn api(&self) -> Result<Api, Failure> {
        Api::of(&self.settings)
    }
}

/// Parses the command line, does what it says, and gives the exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; anything else is a mistake. Broken pipes are nobody's.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Ok.code() });
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                complain(&format!("error: {message}"));
            }
            ExitCode::from(exit.code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Completion { shell } => return completion(shell),
        Command::Reference { page } => return reference::print(page),
        _ => {}
    }
    let (mut flags, assignments) = cli.command.flags();
    flags.extend(global_flags(&cli.global));
    let settings = Settings::gather(flags, &assignments, variables())?;
    let format = Format::named(settings.text("output").unwrap_or_default());
    let output = Output { format, quiet: settings.switch("quiet") };
    let context = Context { settings, output };
    match cli.command {
        Command::Serve(arguments) => serve::serve(&context, &arguments),
        Command::Dev(arguments) => serve::dev(&context, &arguments),
        Command::Kv(verb) => block_on(kv::run(&context, verb)),
        Command::Counter(verb) => block_on(counter::run(&context, verb)),
        Command::Status => block_on(cluster::status(&context)),
        Command::Health(arguments) => block_on(cluster::health(&context, &arguments)),
        Command::Member(verb) => block_on(cluster::member(&context, &verb)),
        Command::Leader(verb) => block_on(cluster::leader(&context, &verb)),
        Command::Actors(verb) => block_on(actors::run(&context, verb)),
        Command::Log(verb) => log::run(&context, &verb),
        Command::Bench(verb) => bench::run(&context, verb),
        Command::Config(verb) => config::run(&context, &verb),
        Command::Completion { .. } | Command::Reference { .. } => Ok(()),
    }
}

fn global_flags(global: &Global) -> Flags {
    vec![
        ("config", global.config.clone()),
        ("endpoints", global.endpoints.clone()),
        ("output", global.output.clone()),
        ("timeout", global.timeout.clone()),
        ("quiet", global.quiet.then(|| "true".to_owned())),
    ]
}

/// Variables that are not UTF-8 are none of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

/// Runs a client command; Ctrl-C ends it with its own code.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = work => ended,
            Ok(()) = tokio::signal::ctrl_c() => {
                Err(Failure::new(Exit::Interrupted, "interrupted; a write under way may have happened"))
            }
        }
    });
    // A name that is being looked up must not keep the process.
    runtime.shutdown_background();
    ended
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut script);
    Output::bytes(&script)
}

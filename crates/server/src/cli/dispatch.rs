//! From the command line to the function of a command, and from its result to the exit code.

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};

use super::arguments::{Cli, Command, Snapshot, command};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::output::{Format, Output, complain};
use super::runtime::block_on;
use super::{
    actors, bench, config, counter, drain, health, kv, leader, log, member, reference, serve, snapshot,
    status,
};
use crate::settings::{Settings, unknown_variables};

/// Parses the command line, runs the command, and gives the exit code.
pub(crate) fn main() -> ExitCode {
    let parsed = command().try_get_matches();
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        // Help and version were asked for; anything else is a mistake.
        Err(error) if !error.use_stderr() => {
            return exit_code(Output::bytes(error.render().to_string().as_bytes()));
        }
        Err(error) => {
            // There is nowhere to report that this fails.
            drop(error.print());
            return ExitCode::from(Exit::Usage.code());
        }
    };
    exit_code(run(cli, &matches))
}

/// Says why a command failed.
fn exit_code(ended: Result<(), Failure>) -> ExitCode {
    let Err(failure) = ended else { return ExitCode::from(Exit::Ok.code()) };
    if let Some(line) = failure.line() {
        complain(&line);
    }
    ExitCode::from(failure.exit.code())
}

fn run(cli: Cli, matches: &ArgMatches) -> Result<(), Failure> {
    match &cli.command {
        Command::Completion { shell } => return completion(*shell),
        Command::Help { command } => return help(command),
        Command::Version => return Output::bytes(command().render_version().as_bytes()),
        Command::Reference { page } => return reference::print(*page),
        _ => {}
    }
    let unknown = unknown_variables();
    if let (true, Some(mistake)) = (is_of_node(&cli.command), unknown.first()) {
        return Err(mistake.clone().into());
    }
    let settings = Settings::gather(matches)?;
    let format = Format::of(settings.text("output").unwrap_or_default());
    let output = Output { format, quiet: settings.switch("quiet") };
    for mistake in unknown {
        output.note(&format!("warning: {mistake}"));
    }
    let context = Context { settings, output };
    match cli.command {
        Command::Serve => serve::serve(&context),
        Command::Dev => serve::dev(&context),
        Command::Kv(verb) => block_on(kv::run(&context, verb)),
        Command::Counter(verb) => block_on(counter::run(&context, verb)),
        Command::Status => block_on(status::run(&context)),
        Command::Health(arguments) => block_on(health::run(&context, &arguments)),
        Command::Member(verb) => block_on(member::run(&context, &verb)),
        Command::Leader(verb) => block_on(leader::run(&context, &verb)),
        Command::Drain(arguments) => block_on(drain::run(&context, &arguments)),
        Command::Actors(verb) => block_on(actors::run(&context, verb)),
        Command::Log(verb) => log::run(&context, &verb),
        Command::Snapshot(verb) => snapshot::run(&context, &verb),
        Command::Bench(verb) => bench::run(&context, verb),
        Command::Config(verb) => config::run(&context, &verb),
        Command::Completion { .. } | Command::Help { .. } | Command::Version | Command::Reference { .. } => {
            Ok(())
        }
    }
}

/// Whether a command starts a node or checks what one would be started with: a variable that is no setting then is a mistake,
/// because a wish of its author would be ignored. To other commands it may simply not be addressed.
fn is_of_node(command: &Command) -> bool {
    match command {
        Command::Serve | Command::Dev | Command::Config(_) | Command::Snapshot(Snapshot::Restore { .. }) => {
            true
        }
        Command::Kv(_)
        | Command::Counter(_)
        | Command::Status
        | Command::Health(_)
        | Command::Member(_)
        | Command::Leader(_)
        | Command::Drain(_)
        | Command::Actors(_)
        | Command::Log(_)
        | Command::Snapshot(_)
        | Command::Bench(_)
        | Command::Completion { .. }
        | Command::Help { .. }
        | Command::Version
        | Command::Reference { .. } => false,
    }
}

/// The same as `--help` behind the command.
fn help(words: &[String]) -> Result<(), Failure> {
    let mut root = command();
    root.build();
    let mut at = &mut root;
    for word in words {
        let name = at.get_bin_name().unwrap_or("quorate").to_owned();
        let found = at.find_subcommand_mut(word);
        at = found
            .ok_or_else(|| Failure::usage(format!("{name} has no command {word:?}; see `{name} --help`")))?;
    }
    Output::bytes(at.render_long_help().to_string().as_bytes())
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "quorate", &mut script);
    Output::bytes(&script)
}

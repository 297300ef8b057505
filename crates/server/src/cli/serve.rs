//! `quorate serve` and `quorate dev`. A server outlives its console: what it cannot print costs it nothing.

use std::ffi::OsStr;
use std::io::IsTerminal;

use quorate_server::Signals;
use quorate_server::address::{is_wildcard, join};
use serde_json::json;

use super::console::{Console, Notes};
use super::context::Context;
use super::exit::Failure;
use super::node_end::{ended, not_served};
use super::node_options::{dev_options, doubts, log_filter, options};
use super::output::{Rows, shell_quoted};
use super::runtime::{Threads, cannot_start, run};
use crate::settings::Settings;

/// Runs a node until it ends.
pub(crate) fn serve(context: &Context) -> Result<(), Failure> {
    let options = options(&context.settings)?;
    let console = start_log(&context.settings, None)?;
    keep_files_private();
    for doubt in doubts(&options) {
        tracing::warn!(node = options.id, "{doubt}");
    }
    let (id, data_dir) = (options.id.clone(), options.data_dir.clone());
    let (host, port, api_port) = (options.host.clone(), options.port, options.api_port);
    let served = run(Threads::PerCore, async {
        let failed = |error| not_served(&error, &host, port, api_port);
        let mut signals = Signals::listen().map_err(failed)?;
        let running = match signals.during(quorate_server::serve(options)).await {
            Ok(running) => running.map_err(failed)?,
            Err(forced) => return ended(forced),
        };
        let record = json!({
            "id": id,
            "api": format!("http://{}", join(&dialled(&host), running.api_addr().port())),
            "raft": join(&dialled(&host), running.raft_addr().port()),
            "data_dir": data_dir,
        });
        let output = context.output;
        announce(move || output.record(vec!["id", "api", "raft", "data_dir"], &record));
        ended(running.until(signals).await)
    });
    closed(console, served)
}

/// Runs a cluster until it ends.
pub(crate) fn dev(context: &Context) -> Result<(), Failure> {
    let options = dev_options(&context.settings)?;
    // Nodes start one after the other, so each cannot reach the later ones at first: not worth a warning here.
    let console = start_log(&context.settings, Some("warn,quorate_bridge=error"))?;
    keep_files_private();
    let (host, port, api_port) = (options.host.clone(), options.port, options.api_port);
    let served = run(Threads::PerCore, async {
        let failed = |error| not_served(&error, &host, port, api_port);
        let mut signals = Signals::listen().map_err(failed)?;
        let running = match signals.during(quorate_server::dev(options)).await {
            Ok(running) => running.map_err(failed)?,
            Err(forced) => return ended(forced),
        };
        let row = |node: &quorate_server::Running| {
            json!({
                "id": node.node().id(),
                "api": format!("http://{}", join(&dialled(&host), node.api_addr().port())),
                "raft": join(&dialled(&host), node.raft_addr().port()),
            })
        };
        let rows: Vec<_> = running.nodes().iter().map(row).collect();
        let first = rows.first().and_then(|row| row["api"].as_str()).unwrap_or_default().to_owned();
        let data_dir = running.data_dir().display();
        let note = format!(
            "Cluster of {} nodes in this process; data in {data_dir}. API, with a page of links for browsers: {first}\n\
             In another terminal: {}. Ctrl-C ends it.",
            running.nodes().len(),
            first_steps(&program(), &first)
        );
        let (output, queue) = (context.output, console.queue().clone());
        announce(move || {
            let printed = output.rows(&Rows { columns: vec!["id", "api", "raft"], rows }, None);
            if !output.quiet {
                queue.say(&note);
            }
            printed
        });
        ended(running.until(signals).await)
    });
    closed(console, served)
}

/// No other user reads what a node writes, whichever library makes the file.
fn keep_files_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Prints where the server is, on a thread that no one waits for: the reader of standard output may sleep.
fn announce(print: impl FnOnce() -> Result<(), Failure> + Send + 'static) {
    drop(tokio::task::spawn_blocking(move || {
        if let Some(failure) = print().err().filter(|failure| !failure.message.is_empty()) {
            tracing::warn!(%failure, "where this server listens is not printed; it serves all the same");
        }
    }));
}

/// Ends the console with the reason of the end, and leaves the exit code.
fn closed(console: Console, ended: Result<(), Failure>) -> Result<(), Failure> {
    console.close(ended.as_ref().err().and_then(Failure::line).as_deref());
    ended.map_err(|failure| Failure::new(failure.exit, ""))
}

/// Colours are for a terminal, and not for one whose user wants none (https://no-color.org: set, and not empty).
fn wants_colour(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// This program as it was started, which a newcomer has not in the path.
fn program() -> String {
    let started_as = std::env::args_os().next().and_then(|name| name.into_string().ok());
    let shown = started_as.as_deref().filter(|name| !name.is_empty()).and_then(shell_quoted);
    shown.unwrap_or_else(|| "quorate".to_owned())
}

/// What to type next; endpoints are named where they are not the ones that every command asks by itself.
fn first_steps(program: &str, api: &str) -> String {
    let endpoints =
        if api == "http://localhost:8000" { String::new() } else { format!(" --endpoints {api}") };
    format!("{program} kv put greeting hello{endpoints}, then {program} status{endpoints}")
}

/// The host that a client on this machine dials.
pub(crate) fn dialled(host: &str) -> String {
    if is_wildcard(host) { "localhost".to_owned() } else { host.to_owned() }
}

/// Logs to standard error; colours only for a terminal.
fn start_log(settings: &Settings, otherwise: Option<&str>) -> Result<Console, Failure> {
    let filter = log_filter(settings, otherwise)?;
    let notes = if settings.text("log_format") == Some("json") { Notes::Json } else { Notes::Text };
    let console = Console::start(notes)
        .map_err(|error| cannot_start(&format!("the thread that writes the log: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(console.queue().clone());
    let started = match notes {
        Notes::Json => builder.json().try_init(),
        Notes::Text => builder
            .with_ansi(wants_colour(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref()))
            .try_init(),
    };
    started.map_err(|error| Failure::failed(format!("cannot log: {error}")))?;
    Ok(console)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_wants_them() {
        for (is_terminal, no_color, colours) in
            [(true, None, true), (true, Some(""), true), (true, Some("1"), false), (false, None, false)]
        {
            assert_eq!(wants_colour(is_terminal, no_color.map(OsStr::new)), colours, "{no_color:?}");
        }
    }

    #[test]
    fn what_dev_prints_works_on_the_ports_that_it_has() {
        let usual = first_steps("target/release/quorate", "http://localhost:8000");
        assert_eq!(usual, "target/release/quorate kv put greeting hello, then target/release/quorate status");
        let chosen = first_steps("quorate", "http://localhost:39417");
        assert_eq!(chosen.matches("--endpoints http://localhost:39417").count(), 2, "{chosen}");
    }
}

//! The pages of docs/reference, made from the same tables and texts as the binary itself.

use std::fmt::Write;

use quorate_server::api::Code;

use super::arguments::{Page, command};
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::settings::config_page;

pub(crate) fn print(page: Page) -> Result<(), Failure> {
    let text = match page {
        Page::Cli => cli_page(),
        Page::Config => config_page(),
        Page::Errors => Code::table(),
    };
    Output::bytes(text.as_bytes())
}

fn cli_page() -> String {
    let mut command = command();
    command.build();
    let mut page = String::from(
        "# The command line\n\nThis page is made by `quorate reference cli`; a test compares it with the binary. \
         Settings, variables and the file: [config.md](config.md).\n",
    );
    page.push_str(&exits());
    describe(&mut command, "quorate", &mut page);
    page
}

fn describe(command: &mut clap::Command, path: &str, page: &mut String) {
    let help = command.clone().bin_name(path).render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    write!(page, "\n## {path}\n\n```text\n{}\n```\n", help.join("\n").trim_end())
        .expect("writing to a string does not fail");
    for child in command.get_subcommands_mut().filter(|child| !child.is_hide_set()) {
        let path = format!("{path} {}", child.get_name());
        describe(child, &path, page);
    }
}

/// The exit codes, and how they follow from a node's outcome.
fn exits() -> String {
    let row = |exit: Exit| format!("| {} | {} |\n", exit.code(), exit.about());
    let rows: String = Exit::ALL.into_iter().map(row).collect();
    format!("\n## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}{OUTCOMES}")
}

const OUTCOMES: &str = "
An error of the API has an `outcome` ([errors.md](errors.md)), and it decides, not the HTTP status.

| outcome | exit |
|---|---|
| `refused` | 4 without a leader, 8 under load, 9 without space, 3 where something is not there, 6 for another membership than `--expect` names and for leadership that is not handed over, 2 for an address that is none, else 1 |
| `failed` | 1, 3 for a key that is not there, 6 for a precondition |
| `unknown` | 5; of a read, which changes nothing, 4 |

Exit 4 is given only if no byte of the write was sent, or if a node said `refused`. Once a byte was sent and no answer
came, the exit is 5, and no other endpoint is tried.

A command that did its work and cannot print it, because the disk that standard output goes to is full, ends with 10; one
that failed keeps its own code. If the reader closes the pipe (`| head`), the command ends in silence, as if everything had
been read.

`serve` and `dev` go on whatever happens to standard output and standard error. Lines of the log that cannot be written,
because the disk is full or the reader is gone or sleeps, are dropped; once writing works again, one line says how many.
";

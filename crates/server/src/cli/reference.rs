//! The pages of docs/reference, made from the same tables and texts as the binary itself.

use std::fmt::Write;

use clap::CommandFactory;
use quorate_server::rest::Code;

use super::arguments::{Cli, Page};
use super::exit::{Exit, Failure};
use super::output::{Format, Output};
use crate::config::reference::config_page;

pub(crate) fn print(page: Page) -> Result<(), Failure> {
    let text = match page {
        Page::Cli => cli_page(),
        Page::Config => config_page(),
        Page::Errors => errors_page(),
    };
    Output { format: Format::Plain, quiet: false }.bytes(text.as_bytes())
}

fn cli_page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page = String::from(
        "# The command line\n\nThis page is made by `quorate reference cli`; a test compares it with the binary. \
         Settings, variables and the file: [config.md](config.md). Exit codes: [errors.md](errors.md).\n",
    );
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

fn errors_page() -> String {
    let mut page = String::from(
        "# Exit codes\n\nThis page is made by `quorate reference errors`; a test compares it with the binary.\n\n\
         Data goes to standard output, one sentence with the mistake and the remedy to standard error.\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for exit in Exit::ALL {
        writeln!(page, "| {} | {} |", exit.code(), exit.about()).expect("writing to a string does not fail");
    }
    page.push_str(OUTCOMES);
    page.push_str("\n# Codes\n\nThe `code` of a problem, as `application/problem+json`.\n\n");
    page.push_str(&Code::table());
    page
}

const OUTCOMES: &str = "
# Outcomes

An error of the API has an `outcome`, and it decides, not the HTTP status.

| outcome | meaning | exit |
|---|---|---|
| `refused` | it never entered the log; trying again is safe | 4 without a leader, 8 under load, 9 without space, else 1 |
| `failed` | it entered the log and will never happen, or the machine said no | 1, or 6 for a precondition |
| `unknown` | it may have happened or may yet happen; read before you try again | 5 |

Exit 4 is given only if no byte of the write was sent, or if a node said `refused`. Once a byte was sent and no answer
came, the exit is 5, and no other endpoint is tried.
";

//! Destructive verbs ask a person, or take `--yes`.

use std::io::Write;

use super::exit::{Exit, Failure};
use super::output::is_interactive;

/// What happens where no person can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unattended {
    /// The command is carried out, as a script expects.
    Proceed,
    /// The command fails; `--yes` is needed.
    Refuse,
}

/// Asks, unless `yes`.
pub(crate) fn confirm(what: &str, yes: bool, unattended: Unattended) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !is_interactive() {
        return match unattended {
            Unattended::Proceed => Ok(()),
            Unattended::Refuse => Err(Failure::usage(format!("{what} asks first: give --yes"))),
        };
    }
    let mut prompt = std::io::stderr().lock();
    drop(write!(prompt, "{what}? [y/N] ").and_then(|()| prompt.flush()));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new(Exit::Interrupted, "not confirmed; nothing was done")),
    }
}

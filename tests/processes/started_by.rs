//! A command that another program starts: it becomes the command, so that its process is the node.

use std::process::Command;

/// The same command in a network namespace. `ip netns exec` becomes the command: its process is the node.
pub(crate) fn inside(namespace: &str, command: &Command) -> Command {
    behind("ip", &["netns", "exec", namespace], command)
}

/// The same command with this soft and hard limit of open files. The shell becomes the command: its process is the node.
pub(crate) fn limited(files_max: u32, command: &Command) -> Command {
    limited_by(&format!("-n {files_max}"), command)
}

/// The same with any limit that the shell can set.
pub(crate) fn limited_by(limit: &str, command: &Command) -> Command {
    behind("sh", &["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"], command)
}

/// The same command, started by another one.
fn behind(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut behind = Command::new(program);
    behind.args(arguments).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        behind.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => behind.env(name, value),
            None => behind.env_remove(name),
        };
    }
    behind
}

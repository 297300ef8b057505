//! The tokio runtime of one command.

use tokio::runtime::Builder;

use super::exit::{Exit, Failure};

/// Runs a command to its end. Threads that still block, in a DNS lookup for example, are not waited for.
pub(crate) fn run(
    mut builder: Builder,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime =
        builder.enable_all().build().map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// The same, but Ctrl-C ends it with an exit code of its own and this message.
pub(crate) fn run_until_interrupted(
    builder: Builder,
    work: impl Future<Output = Result<(), Failure>>,
    message: &str,
) -> Result<(), Failure> {
    run(builder, async {
        tokio::select! {
            ended = work => ended,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, message)),
        }
    })
}

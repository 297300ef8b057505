//! What a server says on standard error. It never waits for the reader of standard error, and never fails with it.
//!
//! Theory of operation. Lines of the log, messages of panics and the last words of the process are offered to one
//! [`queue`], and one thread writes them ([`writer`]). A reader that sleeps holds up that thread alone. What the queue
//! has no room for, and what could not be written (the reader is gone, the disk is full), is dropped and counted; the count
//! is written as soon as writing works again.
//!
//! Owns: standard error, from [`Console::start`] to the end of the process, and the panic hook. No other code of a server
//! writes there.
//!
//! It never: blocks the caller, panics because of standard error, or keeps the process from ending for longer than
//! [`END_MAX`]. A crash loses what is queued.

mod queue;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use queue::Queue;
pub(crate) use writer::Notes;
use writer::Writer;

/// How long the end of the process waits for the last lines: long for a reader that reads, short for one that sleeps.
const END_MAX: Duration = Duration::from_secs(1);

/// Standard error of a server.
#[derive(Debug)]
pub(crate) struct Console {
    queue: Queue,
    /// Disconnected once everything was written.
    over: Receiver<()>,
}

impl Console {
    /// Starts the thread that writes. From now on panics are written by it, too: the standard hook writes by itself and
    /// would block an actor's thread.
    pub(crate) fn start(notes: Notes) -> io::Result<Self> {
        let (queue, jobs) = queue::new();
        let writer = Writer::new(io::stderr(), jobs, queue.counts(), notes);
        let (ending, over) = mpsc::channel();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.run();
            drop(ending);
        })?;
        std::panic::set_hook(hook(queue.clone()));
        Ok(Self { queue, over })
    }

    /// Where lines are offered.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Writes the last line and everything before it. Gives up on a reader that sleeps: the process is to end.
    pub(crate) fn close(self, last: Option<&str>) {
        self.queue.end(last);
        // Either the writer is done, or it is stuck.
        let _ = self.over.recv_timeout(END_MAX);
    }
}

type PanicHook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync>;

fn hook(queue: Queue) -> PanicHook {
    Box::new(move |panic| queue.say(&said(panic)))
}

/// As the standard hook says it.
fn said(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        format!("thread '{name}' {panic}\nstack backtrace:\n{backtrace}")
    } else {
        format!("thread '{name}' {panic}")
    }
}

#[cfg(test)]
mod tests {
    use super::queue::Job;
    use super::*;

    #[test]
    fn a_panic_is_a_line_in_the_queue() {
        let (queue, jobs) = queue::new();
        let usual = std::panic::take_hook();
        std::panic::set_hook(hook(queue));
        let panicked = std::panic::catch_unwind(|| panic!("as this test wants"));
        std::panic::set_hook(usual);
        assert!(panicked.is_err());
        let Ok(Job::Line { text, .. }) = jobs.try_recv() else { panic!("nothing is queued") };
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("panicked at") && text.contains("\nas this test wants\n"), "{text}");
    }
}

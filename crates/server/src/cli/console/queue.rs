//! The queue in front of the thread that writes: takes a line at once, or drops and counts it.
//!
//! Bound: [`QUEUE_BYTES_MAX`], the places of the lines included.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use tracing_subscriber::fmt::MakeWriter;

/// What may be queued: some thousands of lines, or minutes of a node in trouble.
pub(super) const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Charged for each line beside its text: its place in the queue and its allocation.
const LINE_OVERHEAD_BYTES: usize = 64;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Job {
    /// To write a line.
    Line {
        /// With its newline.
        text: Vec<u8>,
        /// Lines for which there was no room, between the line before and this one.
        dropped_before: u64,
        /// Taken from the bound.
        charged: usize,
    },
    /// To end; nothing comes after it.
    End,
}

/// What the two sides of the queue share.
#[derive(Debug, Default)]
pub(super) struct Counts {
    queued_bytes: AtomicUsize,
    /// Lines dropped since a line was last queued.
    dropped: AtomicU64,
}

impl Counts {
    /// A line has left the queue.
    pub(super) fn release(&self, charged: usize) {
        self.queued_bytes.fetch_sub(charged, Ordering::Relaxed);
    }

    /// Lines dropped and not yet reported.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// The side of those who speak. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    jobs: Sender<Job>,
    counts: Arc<Counts>,
}

pub(super) fn new() -> (Queue, Receiver<Job>) {
    let (jobs, received) = mpsc::channel();
    (Queue { jobs, counts: Arc::default() }, received)
}

impl Queue {
    pub(super) fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Queues a message, with a newline.
    pub(crate) fn say(&self, message: &str) {
        self.offer(format!("{message}\n").into_bytes());
    }

    /// Queues a line if there is room.
    pub(super) fn offer(&self, text: Vec<u8>) {
        let charged = text.len() + LINE_OVERHEAD_BYTES;
        let more = |queued: usize| (queued + charged <= QUEUE_BYTES_MAX).then_some(queued + charged);
        let order = Ordering::Relaxed;
        if self.counts.queued_bytes.fetch_update(order, order, more).is_ok() {
            self.push(text, charged);
        } else {
            self.counts.dropped.fetch_add(1, order);
        }
    }

    /// Queues the last line, for which there is always room, and the end.
    pub(super) fn end(&self, last: Option<&str>) {
        if let Some(last) = last {
            self.push(format!("{last}\n").into_bytes(), 0);
        }
        // An error: the thread has ended already.
        let _ = self.jobs.send(Job::End);
    }

    fn push(&self, text: Vec<u8>, charged: usize) {
        let dropped_before = self.counts.take_dropped();
        // An error: the thread has ended, and so does the process.
        let _ = self.jobs.send(Job::Line { text, dropped_before, charged });
    }
}

/// The log gives one whole line in one call, and is never told of a failure: it would print that itself.
impl io::Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.offer(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

//! The thread that writes: takes lines from the queue and writes each whole, or counts it as dropped.
//!
//! It may block in a write for as long as it likes: no one waits for it without a limit. It ends at [`Job::End`].

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::queue::{Counts, Job};

/// While there are dropped lines to report and nothing else to write, how often that is tried.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The format of the line that reports dropped lines: that of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notes {
    /// Words.
    Text,
    /// An object.
    Json,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer<S> {
    sink: S,
    jobs: Receiver<Job>,
    counts: Arc<Counts>,
    notes: Notes,
    /// Lines dropped and not yet reported.
    dropped: u64,
    /// The last write ended within a line: what comes next begins a new one.
    is_torn: bool,
}

impl<S: Write> Writer<S> {
    pub(super) fn new(sink: S, jobs: Receiver<Job>, counts: Arc<Counts>, notes: Notes) -> Self {
        Self { sink, jobs, counts, notes, dropped: 0, is_torn: false }
    }

    /// Writes until the end.
    pub(super) fn run(mut self) {
        while let Job::Line { text, dropped_before, charged } = self.next() {
            self.counts.release(charged);
            self.dropped += dropped_before;
            if !(self.report_dropped() && self.write(&text)) {
                self.dropped += 1;
            }
        }
        self.dropped += self.counts.take_dropped();
        self.report_dropped();
    }

    /// The next job. Once the queue is empty, dropped lines are reported without waiting for another line.
    fn next(&mut self) -> Job {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => return job,
                Err(TryRecvError::Disconnected) => return Job::End,
                Err(TryRecvError::Empty) => {}
            }
            self.dropped += self.counts.take_dropped();
            self.report_dropped();
            let next = if self.dropped == 0 {
                self.jobs.recv().map_err(RecvTimeoutError::from)
            } else {
                self.jobs.recv_timeout(RETRY_EVERY)
            };
            match next {
                Ok(job) => return job,
                Err(RecvTimeoutError::Disconnected) => return Job::End,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Whether nothing is left to report.
    fn report_dropped(&mut self) -> bool {
        if self.dropped == 0 {
            return true;
        }
        let dropped = self.dropped;
        let message = format!("{dropped} log lines were dropped");
        let note = match self.notes {
            Notes::Text => format!("{message}\n"),
            Notes::Json => {
                let fields = serde_json::json!({ "message": message, "dropped": dropped });
                format!("{}\n", serde_json::json!({ "level": "WARN", "fields": fields, "target": "quorate" }))
            }
        };
        let written = self.write(note.as_bytes());
        if written {
            self.dropped = 0;
        }
        written
    }

    /// Whether all of it was written. A disk may be full in the middle of a line.
    fn write(&mut self, line: &[u8]) -> bool {
        if self.is_torn {
            if self.write_up_to(b"\n") == 0 {
                return false;
            }
            self.is_torn = false;
        }
        let written = self.write_up_to(line);
        self.is_torn = written > 0 && written < line.len();
        written == line.len()
    }

    /// Writes until an error; how many bytes were written.
    fn write_up_to(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.sink.write(&bytes[written..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // No matter which: the reader is gone, the disk is full, or the system would have to wait.
                Ok(0) | Err(_) => break,
                Ok(more) => written += more,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::queue::{self, QUEUE_BYTES_MAX, Queue};
    use super::*;

    /// A disk with so many bytes of room in each round; a round ends with the error that there is no more.
    #[derive(Debug, Default)]
    struct Disk {
        rooms: Vec<usize>,
        kept: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.rooms.first_mut().expect("the test gives enough rounds");
            if *room == 0 {
                self.rooms.remove(0);
                return Err(ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(*room);
            *room -= taken;
            self.kept.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a disk with this room holds after these words were said and written.
    fn kept(notes: Notes, rooms: &[usize], said: impl FnOnce(&Queue)) -> String {
        let mut disk = Disk { rooms: rooms.to_vec(), kept: Vec::new() };
        let (queue, jobs) = queue::new();
        said(&queue);
        Writer::new(&mut disk, jobs, queue.counts(), notes).run();
        String::from_utf8(disk.kept).expect("text")
    }

    #[test]
    fn lines_come_out_in_order_and_the_last_one_too() {
        let kept = kept(Notes::Text, &[usize::MAX], |queue| {
            queue.say("one");
            queue.say("two");
            queue.end(Some("error: last"));
        });
        assert_eq!(kept, "one\ntwo\nerror: last\n");
    }

    #[test]
    fn the_queue_is_bounded_and_what_has_no_room_is_counted_in_its_place() {
        let long = "x".repeat(QUEUE_BYTES_MAX / 4);
        let kept = kept(Notes::Text, &[usize::MAX], |queue| {
            for _ in 0..10 {
                queue.say(&long);
            }
            queue.end(Some("error: last"));
        });
        let lines: Vec<&str> = kept.lines().collect();
        assert_eq!(lines, [&long, &long, &long, "7 log lines were dropped", "error: last"]);
    }

    #[test]
    fn room_is_given_back_for_what_was_written() {
        let (queue, jobs) = queue::new();
        let half = "x".repeat(QUEUE_BYTES_MAX / 2 - 100);
        for _ in 0..3 {
            queue.say(&half);
        }
        queue.end(None);
        let mut disk = Disk { rooms: vec![usize::MAX], kept: Vec::new() };
        Writer::new(&mut disk, jobs, queue.counts(), Notes::Text).run();
        let kept = String::from_utf8(disk.kept).expect("text");
        assert_eq!(kept.lines().collect::<Vec<_>>(), [&half, &half, "1 log lines were dropped"]);
        queue.say(&half);
        queue.say(&half);
        assert_eq!(queue.counts().take_dropped(), 0, "there is room for two again");
    }

    #[test]
    fn a_full_disk_costs_whole_lines_and_the_count_comes_once_there_is_room() {
        // "one\n", then two bytes of "second"; the newline after it fails once, then there is room.
        let kept = kept(Notes::Text, &[4 + 2, 0, usize::MAX], |queue| {
            for line in ["one", "second", "third", "fourth"] {
                queue.say(line);
            }
            queue.end(None);
        });
        assert_eq!(kept, "one\nse\n2 log lines were dropped\nfourth\n");
    }

    #[test]
    fn a_count_that_finds_no_room_is_kept_for_the_next_try() {
        let kept = kept(Notes::Text, &[0, 0, 0, usize::MAX], |queue| {
            for line in ["one", "two", "three", "four"] {
                queue.say(line);
            }
            queue.end(None);
        });
        assert_eq!(kept, "3 log lines were dropped\nfour\n");
    }

    #[test]
    fn a_log_of_json_stays_json() {
        let kept = kept(Notes::Json, &[0, usize::MAX], |queue| {
            queue.say("{}");
            queue.end(None);
        });
        let note: serde_json::Value = serde_json::from_str(kept.trim_end()).expect("one object");
        assert_eq!(note["fields"]["dropped"], 1);
    }
}

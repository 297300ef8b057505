//! One turn of a machine on a worker thread: entries, and queries as soon as their index is applied. A turn is short: what is
//! left is another one, behind the turns of other groups, so that a machine with much to do holds a thread for no longer than
//! one of its commands takes.
//!
//! A task of the applier's waits for it, sends its replies, and says that it has ended. It is aborted with its applier: what a
//! machine still answers then goes with the machine, on the thread where it runs.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use quorate_core::{Entry, Index};
use ractor::ActorRef;
use tokio::task::JoinHandle;

use crate::applier::work::{Batch, Work};
use crate::host::held::HeldReplies;
use crate::host::workers::Workers;
use crate::messages::applier::ApplierMessage;
use crate::messages::group::Captured;
use crate::ports::QueryPort;

/// First and longest time a reply is held to be sent with later ones.
const REPLIES_HELD: Duration = Duration::from_millis(1);
const REPLIES_HELD_MAX: Duration = Duration::from_millis(8);

/// A turn ends with the first command or query after so long, or so many of them.
const TURN: Duration = Duration::from_millis(5);
const TURN_STEPS: u32 = 1_024;

/// What is to be done.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) entries: VecDeque<Entry>,
    pub(super) queries: BTreeMap<Index, Vec<QueryPort>>,
    /// Capture the machine at its end.
    pub(super) capture: bool,
}

/// What a job gives back.
pub(super) struct JobEnded {
    pub(super) work: Work,
    pub(super) batch: Batch,
    /// Entries that were not reached.
    pub(super) entries: VecDeque<Entry>,
    /// Queries that were not reached, or whose index was not.
    pub(super) queries: BTreeMap<Index, Vec<QueryPort>>,
    /// The machine as it is now, if it was to be captured; `Err` says why it could not be.
    pub(super) captured: Option<Result<Captured, String>>,
}

/// Tells the applier of its job's end, however that ends.
struct TellsEnd(ActorRef<ApplierMessage>);

impl Drop for TellsEnd {
    fn drop(&mut self) {
        // Its machine goes with the result if the applier has ended.
        let _ = self.0.cast(ApplierMessage::JobEnded);
    }
}

/// The task that waits for a job; dropped, it waits no longer.
pub(super) struct RunningJob(JoinHandle<Result<JobEnded, String>>);

impl RunningJob {
    /// What the job gave back, or the message of its panic. The task is about to end when the applier is told.
    pub(super) async fn ended(mut self) -> Result<JobEnded, String> {
        (&mut self.0).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Job {
    /// Runs it on a worker thread. The applier hears of its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "it waits for this job alone, and is aborted with its applier"
    )]
    pub(super) fn start(self, workers: Workers, applier: ActorRef<ApplierMessage>) -> RunningJob {
        let tells_end = TellsEnd(applier);
        RunningJob(tokio::spawn(async move {
            let lasts = || drop(tells_end.0.cast(ApplierMessage::JobLasts));
            let ended = self.run(&workers, lasts).await;
            drop(tells_end);
            ended
        }))
    }

    /// Sends the replies from here: one wake for the connections' tasks and this one.
    async fn run(self, workers: &Workers, lasts: impl Fn()) -> Result<JobEnded, String> {
        let replies = HeldReplies::default();
        let of_job = replies.clone();
        let (mut done, mut held) = (pin!(workers.run(move || self.turn(&of_job))), REPLIES_HELD);
        let ended = loop {
            match tokio::time::timeout(held, done.as_mut()).await {
                Ok(ended) => break ended,
                Err(_) if held == REPLIES_HELD_MAX => lasts(),
                Err(_) => held *= 2,
            }
            replies.send();
        };
        replies.send();
        ended
    }

    fn turn(mut self, replies: &HeldReplies) -> JobEnded {
        let mut batch = Batch::Applied;
        let clock = self.work.cx.clock.clone();
        let began = clock.now();
        let mut has_applied = false;
        for step in 0..TURN_STEPS {
            let took = clock.now().since(began);
            // Queries that are due come first, and may come without an end: each turn applies an entry, if there is one.
            let must_apply = !has_applied && !self.entries.is_empty();
            if took >= TURN && !must_apply {
                break;
            }
            let is_for_queries = took < TURN / 2 && step < TURN_STEPS / 2;
            if (is_for_queries || !must_apply)
                && let Some(port) = self.due_query()
            {
                self.work.answer_query(port, replies);
            } else if let Some(entry) = self.entries.pop_front() {
                has_applied = true;
                batch = self.work.apply_committed(&entry, replies);
                if !matches!(batch, Batch::Applied) {
                    break;
                }
            } else {
                break;
            }
        }
        let captured = self.capture.then(|| match &batch {
            Batch::Poisoned(reason) => Err(reason.clone()),
            Batch::Applied | Batch::Gap => self.work.capture(),
        });
        JobEnded { work: self.work, batch, entries: self.entries, queries: self.queries, captured }
    }

    /// Takes out a query whose index is applied.
    fn due_query(&mut self) -> Option<QueryPort> {
        loop {
            let mut first = self.queries.first_entry()?;
            if *first.key() > self.work.applied() {
                return None;
            }
            match first.get_mut().pop() {
                Some(port) => return Some(port),
                None => drop(first.remove()),
            }
        }
    }
}

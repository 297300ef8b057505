//! One turn of a machine on a worker thread: queries whose index is reached, entries, and the queries that these reach.
//!
//! A task of the applier's waits for it, sends its replies, and says that it has ended. It is aborted with its applier: what a
//! machine still answers then goes with the machine, on the thread where it runs.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use quorate_core::{Entry, Index};
use ractor::ActorRef;
use tokio::task::JoinHandle;

use crate::applier::work::{Batch, Work};
use crate::host::held::HeldReplies;
use crate::host::workers::Workers;
use crate::messages::applier::ApplierMessage;
use crate::ports::QueryPort;

/// First and longest time a reply is held to be sent with later ones.
const REPLIES_HELD: Duration = Duration::from_millis(1);
const REPLIES_HELD_MAX: Duration = Duration::from_millis(8);

/// What is to be done.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) entries: Vec<Entry>,
    pub(super) queries: BTreeMap<Index, Vec<QueryPort>>,
}

/// What a job gives back.
pub(super) struct JobEnded {
    pub(super) work: Work,
    pub(super) batch: Batch,
    /// Queries whose index was not reached.
    pub(super) unanswered: BTreeMap<Index, Vec<QueryPort>>,
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
        RunningJob(tokio::spawn(async move {
            let ended = self.run(&workers).await;
            // Its machine goes with the result if the applier has ended.
            let _ = applier.cast(ApplierMessage::JobEnded);
            ended
        }))
    }

    /// Sends the replies from here: one wake for the connections' tasks and this one.
    async fn run(self, workers: &Workers) -> Result<JobEnded, String> {
        let replies = HeldReplies::default();
        let of_job = replies.clone();
        let (mut done, mut held) = (pin!(workers.run(move || self.turn(&of_job))), REPLIES_HELD);
        let ended = loop {
            match tokio::time::timeout(held, done.as_mut()).await {
                Ok(ended) => break ended,
                Err(_) => held = (held * 2).min(REPLIES_HELD_MAX),
            }
            replies.send();
        };
        replies.send();
        ended
    }

    fn turn(mut self, replies: &HeldReplies) -> JobEnded {
        self.answer_reached(replies);
        let batch = self.work.apply_committed(&self.entries, replies);
        self.answer_reached(replies);
        JobEnded { work: self.work, batch, unanswered: self.queries }
    }

    /// Answers the queries whose index is applied.
    fn answer_reached(&mut self, replies: &HeldReplies) {
        let later = self.queries.split_off(&self.work.applied().next());
        for ports in std::mem::replace(&mut self.queries, later).into_values() {
            self.work.answer_queries(ports, replies);
        }
    }
}

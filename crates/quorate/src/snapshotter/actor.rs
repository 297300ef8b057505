//! The snapshotter's actor, one for each group of a node.
//!
//! Owns what is written and not published, what is fetched, and who asked for a snapshot. Hears the applier (a captured machine),
//! the role (publish, fetch), peers (parts of a file) and Group. Asks the snapshot threads to write, read and verify files, and peers
//! for parts of theirs; tells the role what there is. Never decides what of the log goes, and never blocks. A crash loses what is
//! written and not published, and the fetch; the next one looks through the directory. Bound: one captured machine, one fetch,
//! one part in memory for each of the two; who asks for a snapshot waits under no permit, and is dropped with this actor.

use std::sync::Arc;
use std::time::Duration;

use quorate_core::{Index, NodeId, Position, RoleEvent, SnapshotBase, SnapshotWanted, Time};
use quorate_store::{SnapshotHead, SnapshotInfo, Snapshots, Written};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::task::{AbortHandle, JoinHandle};

use super::fetch::Fetch;
use super::files;
use crate::context::GroupContext;
use crate::error::SnapshotFailed;
use crate::messages::applier::ApplierMessage;
use crate::messages::snapshotter::{Capture, Done, Kept, SnapshotterMessage, SnapshotterRef, TakenPort};

/// How long what was sent to a peer counts as being fetched, from the last part on.
const FETCHED_FOR: Duration = Duration::from_secs(60);
/// However slowly a peer fetches: the log that is kept for it must not grow without an end.
const FETCHED_FOR_MAX: Duration = Duration::from_secs(3_600);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Starts a snapshotter as a child of Group.
pub(crate) async fn start(
    name: String,
    cx: Arc<GroupContext>,
    supervisor: ActorCell,
) -> Result<(SnapshotterRef, JoinHandle<()>), SpawnErr> {
    Actor::spawn_linked(Some(name), SnapshotterActor, cx, supervisor).await
}

struct SnapshotterActor;

/// Aborted when it is dropped.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A snapshot that a peer fetches.
struct Sent {
    at: Position,
    first: Time,
    last: Time,
}

struct SnapshotterState {
    cx: Arc<GroupContext>,
    files: Snapshots,
    kept: Kept,
    /// Written, and not published: its log is not on disk that far.
    written: Option<(Index, Box<Written>)>,
    /// A machine was captured, and is not published yet.
    writes: bool,
    fetch: Option<(SnapshotWanted, Task)>,
    looks: u64,
    sent: Vec<Sent>,
    /// Wait for the snapshot that is being taken.
    takers: Vec<TakenPort>,
    /// Came while one was taken that does not have all they saw.
    later: Vec<TakenPort>,
}

impl Actor for SnapshotterActor {
    type Msg = SnapshotterMessage;
    type State = SnapshotterState;
    type Arguments = Arc<GroupContext>;

    async fn pre_start(
        &self,
        _me: ActorRef<SnapshotterMessage>,
        cx: Arc<GroupContext>,
    ) -> Result<SnapshotterState, ActorProcessingErr> {
        let files = cx.snapshot.files.clone();
        // What an earlier one had under way has ended with it.
        cx.snapshot.gauge.end();
        Ok(SnapshotterState {
            cx,
            files,
            kept: Kept::default(),
            written: None,
            writes: false,
            fetch: None,
            looks: 0,
            sent: Vec::new(),
            takers: Vec::new(),
            later: Vec::new(),
        })
    }

    async fn post_start(
        &self,
        me: ActorRef<SnapshotterMessage>,
        state: &mut SnapshotterState,
    ) -> Result<(), ActorProcessingErr> {
        let (files, group) = (state.files.clone(), state.cx.id);
        let looked = state.cx.snapshot.workers.run(move || files::look(&files, group)).await?;
        me.cast(SnapshotterMessage::Done(Done::Listed(looked)))?;
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<SnapshotterMessage>,
        message: SnapshotterMessage,
        state: &mut SnapshotterState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SnapshotterMessage::Captured(Ok(capture)) => state.write(&me, capture),
            // Also said of an applier that ended and captured nothing.
            SnapshotterMessage::Captured(Err(reason)) => {
                if !state.writes && state.cx.snapshot.gauge.is_busy() {
                    state.failed(&reason);
                }
            }
            SnapshotterMessage::Take(port) => state.take(port),
            SnapshotterMessage::Publish(index) => state.publish(&me, index),
            SnapshotterMessage::Fetch(wanted) => state.fetch(&me, wanted),
            SnapshotterMessage::Part { wanted, reply } => {
                let (files, group) = (state.files.clone(), state.cx.id);
                state.run(&me, move || {
                    let (at, part) = files::part(&files, group, wanted);
                    drop(reply.send(&part));
                    Done::Sent(at)
                });
            }
            SnapshotterMessage::RoleStarted => state.tell_role(),
            SnapshotterMessage::Done(done) => state.done(&me, done),
            SnapshotterMessage::LookAgain(look) => {
                if state.looks == look
                    && let Some((wanted, _)) = state.fetch.take()
                {
                    state.fetch(&me, wanted);
                }
            }
            SnapshotterMessage::Panic => panic!("told to panic"),
        }
        Ok(())
    }
}

impl SnapshotterState {
    fn run(&self, me: &ActorRef<SnapshotterMessage>, job: impl FnOnce() -> Done + Send + 'static) {
        let (workers, me) = (self.cx.snapshot.workers.clone(), me.clone());
        spawn(async move {
            match workers.run(job).await {
                Ok(done) => drop(me.cast(SnapshotterMessage::Done(done))),
                // The thread has ended with the node, or the job panicked: this actor begins again.
                Err(reason) => me.stop(Some(reason)),
            }
        });
    }

    fn write(&mut self, me: &ActorRef<SnapshotterMessage>, capture: Capture) {
        self.writes = true;
        let (files, cx, at) = (self.files.clone(), self.cx.clone(), capture.base.at.index);
        let SnapshotBase { at: position, time_ms, membership } = capture.base.clone();
        let head = SnapshotHead {
            cluster: cx.disk.identity().cluster,
            group: cx.id,
            name: cx.name.clone(),
            at: position,
            time_ms,
            membership,
            machine: 0,
            made_ms: cx.clock.wall_ms(),
        };
        self.run(me, move || {
            // A machine that panics while it is written costs this snapshot.
            let written = crate::machine::caught(|| files::write(&files, head, capture));
            Done::Written { at, result: written.unwrap_or_else(Err) }
        });
    }

    fn publish(&mut self, me: &ActorRef<SnapshotterMessage>, index: Index) {
        if let Some((_, written)) = self.written.take_if(|(at, _)| *at == index) {
            self.run(me, move || Done::Published(written.publish().map(Box::new)));
        }
    }

    fn done(&mut self, me: &ActorRef<SnapshotterMessage>, done: Done) {
        match done {
            Done::Listed(Ok(kept)) | Done::Verified(Ok(kept)) => {
                self.cx.snapshot.gauge.set_bytes(kept.bytes);
                self.kept = kept;
                self.tell_role();
            }
            Done::Written { at, result: Ok(written) } => {
                self.written = Some((at, written));
                self.role(RoleEvent::SnapshotWritten(at));
            }
            Done::Written { result: Err(reason), .. } => self.failed(&reason),
            Done::Published(Ok(info)) => {
                self.answer_takers(info.head.at.index);
                self.ready(me, &info);
            }
            Done::Fetched(Ok(info)) => {
                let (node, group, index) = (&self.cx.node, &self.cx.name, info.head.at.index);
                tracing::info!(%node, %group, %index, bytes = info.bytes, "snapshot fetched");
                self.fetch = None;
                self.ready(me, &info);
            }
            Done::Fetched(Err(reason)) => self.not_fetched(me, &reason),
            Done::Listed(Err(error)) | Done::Published(Err(error)) => self.failed(&error.to_string()),
            Done::Sent(at) => self.note_sent(at),
            Done::Verified(Err(error)) => {
                let (node, group) = (&self.cx.node, &self.cx.name);
                tracing::error!(%node, %group, %error, "a snapshot could not be read back; the log is kept");
            }
        }
    }

    /// There is a new one: the role hears of it, and it is read back before anything goes for it.
    fn ready(&mut self, me: &ActorRef<SnapshotterMessage>, info: &SnapshotInfo) {
        let base = files::base_of(&info.head);
        if self.kept.newest.as_ref().is_none_or(|newest| newest.at.index < base.at.index) {
            self.kept.newest = Some(base.clone());
            self.cx.snapshot.gauge.set_bytes(info.bytes);
        }
        self.role(RoleEvent::SnapshotReady(base));
        let (files, group, at) = (self.files.clone(), self.cx.id, info.head.at);
        let fetched: Vec<Position> = self.fetched_now().map(|sent| sent.at).collect();
        self.run(me, move || Done::Verified(files::verify(&files, group, at, &fetched)));
    }

    fn tell_role(&self) {
        if let Some((at, _)) = &self.written {
            self.role(RoleEvent::SnapshotWritten(*at));
        }
        if let Some(newest) = &self.kept.newest {
            self.role(RoleEvent::SnapshotReady(newest.clone()));
        }
        if let Some(older) = self.kept.older {
            // What comes after a snapshot that a peer fetches is of use to it when it has that.
            let fetched = self.fetched_now().map(|sent| sent.at.index).min();
            self.role(RoleEvent::Compact(fetched.map_or(older, |index| index.min(older))));
        }
    }

    fn role(&self, event: RoleEvent) {
        self.cx.route.borrow().tell_role(event);
    }

    fn take(&mut self, port: TakenPort) {
        if self.cx.snapshot.gauge.begin() {
            self.takers.push(port);
            self.capture();
        } else {
            self.later.push(port);
        }
    }

    /// Has the applier capture its machine. Without one no snapshot can be taken.
    fn capture(&mut self) {
        let applier = self.cx.route.borrow().applier.clone();
        if applier.is_none_or(|applier| applier.cast(ApplierMessage::Capture).is_err()) {
            self.failed("the state machine does not run");
        }
    }

    fn failed(&mut self, reason: &str) {
        let (node, group) = (&self.cx.node, &self.cx.name);
        tracing::error!(%node, %group, reason, "no snapshot taken");
        for port in self.takers.drain(..) {
            drop(port.send(Err(SnapshotFailed { reason: reason.to_owned() })));
        }
        self.free();
    }

    fn answer_takers(&mut self, index: Index) {
        for port in self.takers.drain(..) {
            drop(port.send(Ok(index)));
        }
        self.free();
    }

    /// The next one may be taken.
    fn free(&mut self) {
        self.writes = false;
        self.takers = std::mem::take(&mut self.later);
        self.cx.snapshot.gauge.end();
        if !self.takers.is_empty() && self.cx.snapshot.gauge.begin() {
            self.capture();
        }
    }

    fn fetch(&mut self, me: &ActorRef<SnapshotterMessage>, wanted: SnapshotWanted) {
        let least = match &wanted {
            SnapshotWanted::Offered { at, .. } => at.index,
            SnapshotWanted::Reaching(index) => *index,
        };
        if let Some(newest) = self.kept.newest.clone().filter(|newest| newest.at.index >= least) {
            self.role(RoleEvent::SnapshotReady(newest));
            return;
        }
        if self.fetch.is_some() {
            return;
        }
        let (node, group) = (&self.cx.node, &self.cx.name);
        tracing::info!(%node, %group, %least, "this node's log lacks too much, fetching a snapshot");
        let peers = match &wanted {
            SnapshotWanted::Offered { from, .. } => vec![from.clone()],
            SnapshotWanted::Reaching(_) => self.peers(),
        };
        let fetch = Fetch { cx: self.cx.clone(), files: self.files.clone(), wanted: wanted.clone(), peers };
        let me = me.clone();
        let task = spawn(async move {
            let fetched = fetch.run().await;
            drop(me.cast(SnapshotterMessage::Done(Done::Fetched(fetched))));
        });
        self.looks += 1;
        self.fetch = Some((wanted, Task(task)));
    }

    fn peers(&self) -> Vec<NodeId> {
        let route = self.cx.route.borrow();
        route.members.iter().map(|member| member.id.clone()).filter(|id| *id != self.cx.node).collect()
    }

    /// A leader offers again what it offers; where no one does, this node looks again after a while.
    fn not_fetched(&mut self, me: &ActorRef<SnapshotterMessage>, reason: &str) {
        let (node, group) = (&self.cx.node, &self.cx.name);
        tracing::warn!(%node, %group, reason, "snapshot not fetched, trying again");
        if matches!(self.fetch, Some((SnapshotWanted::Offered { .. }, _))) {
            self.fetch = None;
            return;
        }
        let look = self.looks;
        drop(me.send_after(LOOK_AGAIN, move || SnapshotterMessage::LookAgain(look)));
    }

    fn note_sent(&mut self, at: Option<Position>) {
        let (Some(at), now) = (at, self.cx.clock.now()) else { return };
        self.sent.retain(|sent| sent.at == at || now.since(sent.last) < FETCHED_FOR);
        match self.sent.iter_mut().find(|sent| sent.at == at) {
            Some(sent) => sent.last = now,
            None => self.sent.push(Sent { at, first: now, last: now }),
        }
    }

    fn fetched_now(&self) -> impl Iterator<Item = &Sent> {
        let now = self.cx.clock.now();
        self.sent
            .iter()
            .filter(move |sent| now.since(sent.last) < FETCHED_FOR && now.since(sent.first) < FETCHED_FOR_MAX)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it waits for one job or fetch, and tells its snapshotter, or no one"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

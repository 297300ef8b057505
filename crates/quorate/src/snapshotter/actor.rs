//! The snapshotter's actor, one for each group of a node.
//!
//! Owns what is written and not published, what is fetched, and who asked for a snapshot. Hears the applier (a captured machine),
//! the role (publish, fetch), peers (parts of a file) and Group. Asks the snapshot threads to write, read and verify files, and peers
//! for parts of theirs; tells the role what there is, once it was read back. Never decides what of the log goes, and never blocks. A
//! crash loses what is written and not published, and the fetch; the next one looks through the directory, and the role asks again.
//! Bound: one captured machine, one fetch with one part in memory, and eight parts for peers; who asks for a snapshot waits under no
//! permit, and is dropped with this actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::{Index, NodeId, Position, RoleEvent, SnapshotBase, SnapshotWanted, Time};
use quorate_store::{SnapshotHead, Snapshots, Written};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::task::{AbortHandle, JoinHandle};

use super::fetch::Fetch;
use super::files;
use crate::context::GroupContext;
use crate::error::SnapshotFailed;
use crate::messages::applier::ApplierMessage;
use crate::messages::snapshotter::{
    Capture, Done, Kept, KeptFile, PartPort, PartWanted, SnapshotterMessage, SnapshotterRef, TakenPort,
};

/// How long what was sent to a peer counts as being fetched, from the last part on.
const FETCHED_FOR: Duration = Duration::from_secs(60);
/// However slowly a peer fetches: the log that is kept for it must not grow without an end.
const FETCHED_FOR_MAX: Duration = Duration::from_secs(3_600);
/// The pause before a fetch that failed is repeated, doubled for each further one: it may have cost the whole file.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN_DOUBLED_MAX: u32 = 5;
/// A fetch without a part for so long gives way to the offer of another leader.
const FETCH_STALLS_AFTER: Duration = Duration::from_secs(5);
/// Parts that are read at once, for peers and for handles. Each asks for one at a time, and again if it is not answered.
const PARTS_MAX: usize = 8;
/// The pause after a snapshot that was not taken, where they are taken by themselves.
const TAKEN_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Starts a snapshotter as a child of Group.
pub(crate) async fn start(
    name: String,
    cx: Arc<GroupContext>,
    supervisor: ActorCell,
) -> Result<(SnapshotterRef, JoinHandle<()>), SpawnErr> {
    Actor::spawn_linked(Some(name), SnapshotterActor, cx, supervisor).await
}

struct SnapshotterActor;

/// A fetch, under way or waiting to be repeated. Its task is aborted when it is dropped.
struct Fetching {
    wanted: SnapshotWanted,
    task: AbortHandle,
    /// When it received something last.
    progress: Arc<AtomicU64>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A snapshot that a peer fetches, or that is read for a backup.
struct Sent {
    at: Position,
    by_peer: bool,
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
    /// Snapshots that were not taken.
    failures: u64,
    fetch: Option<Fetching>,
    looks: u64,
    /// Fetches that failed in a row.
    fetch_failures: u32,
    sent: Vec<Sent>,
    /// Parts that are being read for peers, and for handles.
    parts: [usize; 2],
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
        let was_taken = !cx.snapshot.gauge.is_busy();
        cx.snapshot.gauge.end(was_taken);
        Ok(SnapshotterState {
            cx,
            files,
            kept: Kept::default(),
            written: None,
            writes: false,
            failures: 0,
            fetch: None,
            looks: 0,
            fetch_failures: 0,
            sent: Vec::new(),
            parts: [0; 2],
            takers: Vec::new(),
            later: Vec::new(),
        })
    }

    async fn post_start(
        &self,
        _me: ActorRef<SnapshotterMessage>,
        state: &mut SnapshotterState,
    ) -> Result<(), ActorProcessingErr> {
        let (files, group) = (state.files.clone(), state.cx.id);
        // A directory that cannot be read now is looked through by the next one, after a pause.
        let looked = state.cx.snapshot.workers.run(move || files::look(&files, group)).await??;
        state.keep(looked);
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
                    state.failed(&me, &reason);
                }
            }
            SnapshotterMessage::Take(port) => state.take(&me, port),
            SnapshotterMessage::Publish(index) => state.publish(&me, index),
            SnapshotterMessage::Fetch(wanted) => state.fetch(&me, wanted),
            SnapshotterMessage::Part { wanted, reply } => state.send_part(&me, wanted, reply),
            SnapshotterMessage::TakeAgain(failure) => {
                let gauge = &state.cx.snapshot.gauge;
                if state.failures == failure && gauge.has_failed() && gauge.begin() {
                    state.capture(&me);
                }
            }
            SnapshotterMessage::RoleStarted => state.tell_role(),
            SnapshotterMessage::PassedOver(gone) => state.passed_over(&gone),
            SnapshotterMessage::Done(done) => state.done(&me, *done),
            SnapshotterMessage::LookAgain(look) => {
                if state.looks == look
                    && let Some(fetch) = state.fetch.take()
                {
                    match &fetch.wanted {
                        SnapshotWanted::Reaching(_) => state.fetch(&me, fetch.wanted.clone()),
                        // A leader offers again what it offers, and a role whose machine waits is told, so that it asks again.
                        SnapshotWanted::Offered { .. } => state.tell_role(),
                    }
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
                Ok(done) => drop(me.cast(SnapshotterMessage::Done(Box::new(done)))),
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
        // One that a machine could not be made of does not count, however whole it is.
        let counts =
            [&self.kept.newest, &self.kept.older].into_iter().flatten().any(|file| file.base.at == position);
        self.run(me, move || {
            if counts && let Some(kept) = files::present(&files, head.group, position) {
                return Done::Published { at, result: Ok(kept) };
            }
            // A machine that panics while it is written costs this snapshot.
            let written = crate::machine::caught(|| files::write(&files, head, capture));
            Done::Written { at, result: written.unwrap_or_else(Err) }
        });
    }

    fn publish(&mut self, me: &ActorRef<SnapshotterMessage>, index: Index) {
        if let Some((at, written)) = self.written.take_if(|(at, _)| *at == index) {
            let (files, group) = (self.files.clone(), self.cx.id);
            let fetched = self.fetched_now();
            self.run(me, move || {
                let result = files::publish(&files, group, *written, &fetched);
                Done::Published { at, result }
            });
        } else if let Some((at, _)) = &self.written {
            self.role(RoleEvent::SnapshotWritten(*at));
        }
    }

    fn done(&mut self, me: &ActorRef<SnapshotterMessage>, done: Done) {
        match done {
            Done::Written { at, result: Ok(written) } => {
                self.written = Some((at, written));
                self.role(RoleEvent::SnapshotWritten(at));
            }
            Done::Published { at, result: Ok(kept) } => {
                let (node, group) = (&self.cx.node, &self.cx.name);
                let bytes = kept.newest.as_ref().map_or(0, |newest| newest.bytes);
                tracing::info!(%node, %group, index = %at, bytes, "snapshot taken");
                self.keep(kept);
                self.answer_takers(me, at);
            }
            Done::Written { result: Err(reason), .. } | Done::Published { result: Err(reason), .. } => {
                self.failed(me, &reason);
            }
            Done::Fetched { look, result: Ok(info) } => {
                let (node, group, index) = (&self.cx.node, &self.cx.name, info.head.at.index);
                tracing::info!(%node, %group, %index, bytes = info.bytes, "snapshot fetched");
                if look == self.looks {
                    (self.fetch, self.fetch_failures) = (None, 0);
                }
                let (files, group, fetched) = (self.files.clone(), self.cx.id, self.fetched_now());
                let base = files::base_of(&info.head);
                self.run(me, move || match files::retained(&files, group, &fetched) {
                    Ok(kept) => Done::Kept(kept),
                    Err(error) => {
                        tracing::warn!(%group, %error, "older snapshots stay");
                        Done::Kept(Kept { newest: Some(KeptFile { base, bytes: info.bytes }), older: None })
                    }
                });
            }
            Done::Kept(kept) => self.keep(kept),
            Done::Fetched { look, result: Err(reason) } if look == self.looks => {
                self.not_fetched(me, &reason);
            }
            // It gave way to another one.
            Done::Fetched { .. } => {}
            Done::Sent { at, by_peer, missed } => {
                self.parts[usize::from(by_peer)] -= 1;
                self.note_sent(at, by_peer);
                if let Some(base) = missed {
                    self.look_for(me, base);
                }
            }
            Done::Looked { base, is_gone: true } => self.passed_over(&[base.at.index]),
            Done::Looked { base, is_gone: false } => self.role(RoleEvent::SnapshotReady(base)),
        }
    }

    /// What there is now: everything of it can be read, as far as is known.
    fn keep(&mut self, kept: Kept) {
        self.cx.snapshot.gauge.set_bytes(kept.newest.as_ref().map_or(0, |newest| newest.bytes));
        self.kept = kept;
        self.tell_role();
    }

    /// A machine was not made of them. The one that is restored now, or a peer's snapshot, takes their place.
    fn passed_over(&mut self, gone: &[Index]) {
        let mut kept = std::mem::take(&mut self.kept);
        if kept.forget(gone) {
            self.role(RoleEvent::NoSnapshot);
        }
        self.keep(kept);
    }

    fn tell_role(&self) {
        if let Some((at, _)) = &self.written {
            self.role(RoleEvent::SnapshotWritten(*at));
        }
        self.role(match &self.kept.newest {
            Some(newest) => RoleEvent::SnapshotReady(newest.base.clone()),
            None => RoleEvent::NoSnapshot,
        });
        if let Some(older) = &self.kept.older {
            // What comes after a snapshot that a peer fetches is of use to it when it has that. A backup needs the file alone.
            let fetched = self.being_read().filter(|sent| sent.by_peer).map(|sent| sent.at.index).min();
            let older = older.base.at.index;
            self.role(RoleEvent::Compact(fetched.map_or(older, |index| index.min(older))));
        }
    }

    fn role(&self, event: RoleEvent) {
        self.cx.route.borrow().tell_role(event);
    }

    fn take(&mut self, me: &ActorRef<SnapshotterMessage>, port: TakenPort) {
        if self.cx.snapshot.gauge.begin() {
            self.takers.push(port);
            self.capture(me);
        } else {
            self.later.retain(|port| !port.is_closed());
            self.later.push(port);
        }
    }

    /// Has the applier capture its machine. Without one no snapshot can be taken.
    fn capture(&mut self, me: &ActorRef<SnapshotterMessage>) {
        let applier = self.cx.route.borrow().applier.clone();
        if applier.is_none_or(|applier| applier.cast(ApplierMessage::Capture).is_err()) {
            self.failed(me, "the state machine does not run");
        }
    }

    fn failed(&mut self, me: &ActorRef<SnapshotterMessage>, reason: &str) {
        // The next one is due with new entries, and a full disk takes none: nothing else would make its log shorter.
        if self.cx.snapshot.is_on() {
            // For the newest failure alone: a timer for each would be a timer for each of its attempts, too.
            self.failures += 1;
            let failure = self.failures;
            drop(me.send_after(TAKEN_AGAIN_AFTER, move || SnapshotterMessage::TakeAgain(failure)));
        }
        let (node, group) = (&self.cx.node, &self.cx.name);
        tracing::error!(%node, %group, reason, "no snapshot taken");
        for port in self.takers.drain(..) {
            drop(port.send(Err(SnapshotFailed::of(format!("no snapshot was taken: {reason}")))));
        }
        self.free(me, false);
    }

    fn answer_takers(&mut self, me: &ActorRef<SnapshotterMessage>, index: Index) {
        for port in self.takers.drain(..) {
            drop(port.send(Ok(index)));
        }
        self.free(me, true);
    }

    /// The next one may be taken.
    fn free(&mut self, me: &ActorRef<SnapshotterMessage>, was_taken: bool) {
        self.writes = false;
        self.takers = std::mem::take(&mut self.later);
        self.cx.snapshot.gauge.end(was_taken);
        if !self.takers.is_empty() && self.cx.snapshot.gauge.begin() {
            self.capture(me);
        }
    }

    fn fetch(&mut self, me: &ActorRef<SnapshotterMessage>, wanted: SnapshotWanted) {
        let least = match &wanted {
            SnapshotWanted::Offered { at, .. } => at.index,
            SnapshotWanted::Reaching(index) => *index,
        };
        if let Some(newest) = self.kept.newest.as_ref().filter(|newest| newest.base.at.index >= least) {
            // Or it was: a machine that could not be made of it would ask for it again and again.
            self.look_for(me, newest.base.clone());
            return;
        }
        if self.fetch.as_ref().is_some_and(|fetch| !self.gives_way(fetch, &wanted)) {
            return;
        }
        let (node, group) = (&self.cx.node, &self.cx.name);
        tracing::info!(%node, %group, %least, "this node's log lacks too much, fetching a snapshot");
        let peers = match &wanted {
            SnapshotWanted::Offered { from, .. } => vec![from.clone()],
            SnapshotWanted::Reaching(_) => self.peers(),
        };
        let progress = Arc::new(AtomicU64::new(self.cx.clock.now().0));
        let fetch = Fetch {
            cx: self.cx.clone(),
            files: self.files.clone(),
            wanted: wanted.clone(),
            peers,
            progress: progress.clone(),
        };
        self.looks += 1;
        let (me, look) = (me.clone(), self.looks);
        let task = spawn(async move {
            let result = fetch.run().await;
            drop(me.cast(SnapshotterMessage::Done(Box::new(Done::Fetched { look, result }))));
        });
        self.fetch = Some(Fetching { wanted, task, progress });
    }

    /// Sees whether the file of a snapshot that was there is still there. The role, and peers, are told of no other.
    fn look_for(&self, me: &ActorRef<SnapshotterMessage>, base: SnapshotBase) {
        let (files, group) = (self.files.clone(), self.cx.id);
        self.run(me, move || {
            let is_gone = files::is_gone(&files, group, base.at);
            Done::Looked { base, is_gone }
        });
    }

    /// Whether a fetch from a leader that has fallen silent ends for the offer of another one.
    fn gives_way(&self, fetch: &Fetching, wanted: &SnapshotWanted) -> bool {
        let (SnapshotWanted::Offered { from: old, .. }, SnapshotWanted::Offered { from: new, .. }) =
            (&fetch.wanted, wanted)
        else {
            return false;
        };
        let last = Time(fetch.progress.load(Ordering::Relaxed));
        old != new && self.cx.clock.now().since(last) >= FETCH_STALLS_AFTER
    }

    fn peers(&self) -> Vec<NodeId> {
        let route = self.cx.route.borrow();
        route.members.iter().map(|member| member.id.clone()).filter(|id| *id != self.cx.node).collect()
    }

    /// It is asked for again after a pause, by the role's leader or by this node itself: what was received may all be of no use.
    fn not_fetched(&mut self, me: &ActorRef<SnapshotterMessage>, reason: &str) {
        let pause = LOOK_AGAIN * (1 << self.fetch_failures.min(LOOK_AGAIN_DOUBLED_MAX));
        self.fetch_failures += 1;
        let (node, group) = (&self.cx.node, &self.cx.name);
        tracing::warn!(%node, %group, reason, ?pause, "snapshot not fetched, trying again");
        let look = self.looks;
        drop(me.send_after(pause, move || SnapshotterMessage::LookAgain(look)));
    }

    fn send_part(&mut self, me: &ActorRef<SnapshotterMessage>, wanted: PartWanted, reply: PartPort) {
        let by_peer = reply.is_of_peer();
        let reading = &mut self.parts[usize::from(by_peer)];
        if *reading == PARTS_MAX {
            return;
        }
        *reading += 1;
        let base = wanted.at.and_then(|at| self.kept.of(at)).map(|file| file.base.clone());
        let (files, group) = (self.files.clone(), self.cx.id);
        self.run(me, move || {
            let part = files::part(&files, group, wanted);
            let at = part.as_ref().map(|part| part.at);
            reply.send(part);
            Done::Sent { at, by_peer, missed: base.filter(|base| at != Some(base.at)) }
        });
    }

    fn note_sent(&mut self, at: Option<Position>, by_peer: bool) {
        let (Some(at), now) = (at, self.cx.clock.now()) else { return };
        self.sent.retain(|sent| now.since(sent.last) < FETCHED_FOR);
        match self.sent.iter_mut().find(|sent| sent.at == at && sent.by_peer == by_peer) {
            Some(sent) => sent.last = now,
            None => self.sent.push(Sent { at, by_peer, first: now, last: now }),
        }
    }

    fn fetched_now(&self) -> Vec<Position> {
        self.being_read().map(|sent| sent.at).collect()
    }

    fn being_read(&self) -> impl Iterator<Item = &Sent> {
        let now = self.cx.clock.now();
        let is_read =
            move |sent: &&Sent| now.since(sent.last) < FETCHED_FOR && now.since(sent.first) < FETCHED_FOR_MAX;
        self.sent.iter().filter(is_read)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it waits for one job or fetch, and tells its snapshotter, or no one"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    tokio::spawn(task).abort_handle()
}

//! The log store actor and its I/O thread: epochs, sequences, batches, failures (`safety.md` 9).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate::store::{
    Batch, Crash, Disk, Keyspace, LoadedGroup, LogStore, SimDisk, Store, StoreError, StoreEvent, StoreFatal,
    StoreHandle, StoreMessage, StoreOptions, StoreRequest, StoreSink, StoreThread, port_answer,
};
use quorate_core::{
    Entry, EntryKind, Epoch, GroupId, HardState, Hash, Index, Member, Membership, NodeId, Persist, Position,
    Sequence, Term,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;

struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        _: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

struct Bench {
    disk: SimDisk,
    handle: StoreHandle,
    store: ActorRef<StoreMessage>,
    supervisor: ActorRef<()>,
    fatal: Arc<Mutex<Vec<String>>>,
    name: String,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a legal name")
}

fn opened(disk: &SimDisk) -> Store {
    let mut options = StoreOptions::new(node("node0"), Some(Hash::of(b"cluster")), 7);
    options.ballast_bytes = 0;
    options.reserve_bytes_min = Some(1 << 10);
    let boxed: Box<dyn Disk> = Box::new(disk.clone());
    Store::open(boxed, options).expect("it opens").0
}

impl Bench {
    async fn start(name: &str, deadline: Option<Duration>) -> Self {
        let disk = SimDisk::new();
        let fatal = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&fatal);
        let sink = Arc::new(move |why: StoreFatal| said.lock().expect("not poisoned").push(why.to_string()));
        let handle = match deadline {
            Some(deadline) => StoreThread::start(opened(&disk), deadline, sink).expect("a thread starts"),
            None => StoreThread::inline(opened(&disk), Duration::from_secs(10), sink),
        };
        let (supervisor, _) = Actor::spawn(None, Supervisor, ()).await.expect("it starts");
        let spawned = LogStore::spawn_linked(name, handle.clone(), supervisor.get_cell()).await;
        let store = spawned.expect("it starts").0;
        Self { disk, handle, store, supervisor, fatal, name: name.to_owned() }
    }

    async fn restart(&mut self) {
        let joined = self.store.stop_and_wait(None, None).await;
        joined.expect("it stops");
        let spawned =
            LogStore::spawn_linked(&self.name, self.handle.clone(), self.supervisor.get_cell()).await;
        self.store = spawned.expect("its name is free").0;
    }

    async fn group(&self) -> GroupId {
        let founding = Membership::of_voters([(node("node0"), Member::default())].into_iter().collect(), 7);
        let name = "orders".to_owned();
        let opened = ractor::call!(self.store, |reply| StoreRequest::OpenGroup {
            name,
            founding,
            reply: port_answer(reply),
        }
        .into());
        opened.expect("an answer").expect("a group")
    }

    async fn load(
        &self,
        group: GroupId,
        epoch: u64,
    ) -> (Result<LoadedGroup, StoreError>, mpsc::Receiver<StoreEvent>) {
        let (sender, events) = mpsc::channel(1_000);
        let sink: StoreSink = Arc::new(move |event| sender.try_send(event).expect("room"));
        let loaded = ractor::call!(self.store, |reply| StoreRequest::Load {
            group,
            epoch: Epoch(epoch),
            tail_bytes_max: usize::MAX,
            sink,
            reply: port_answer(reply),
        }
        .into());
        (loaded.expect("an answer"), events)
    }

    /// Any request that only reads: where the log begins.
    async fn locate(
        &self,
        group: GroupId,
        epoch: u64,
        timeout_ms: u64,
    ) -> Result<Result<Position, StoreError>, ractor::RactorErr<StoreMessage>> {
        let (epoch, index) = (Epoch(epoch), Index::ZERO);
        let ask = |reply| StoreRequest::Locate { group, epoch, index, reply: port_answer(reply) }.into();
        ractor::call_t!(self.store, ask, timeout_ms)
    }

    fn persist(&self, group: GroupId, epoch: u64, persist: Persist) {
        let request = StoreRequest::Persist { group, epoch: Epoch(epoch), persist };
        self.store.cast(request.into()).expect("it lives");
    }
}

fn entries(before: Position, term: u64, count: u64) -> Vec<Entry> {
    let mut last = before;
    let make = |_| {
        let payload = Bytes::from(vec![term as u8; 100]);
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(last, Term(term), 1_000, EntryKind::Command, payload, leaf);
        last = entry.position();
        entry
    };
    (0..count).map(make).collect()
}

fn order(sequence: u64, term: u64, truncate_from: Option<u64>, entries: Vec<Entry>) -> Persist {
    Persist {
        sequence: Sequence(sequence),
        hard_state: HardState { term: Term(term), ..HardState::default() },
        hard_state_changed: false,
        truncate_from: truncate_from.map(Index),
        entries: entries.into(),
        install: None,
    }
}

async fn until(events: &mut mpsc::Receiver<StoreEvent>, sequence: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&sequence) {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await;
        match event.expect("in time").expect("the sink lives") {
            StoreEvent::Persisted { sequence, .. } => seen.push(sequence.0),
            StoreEvent::DiskFull(_) => {}
        }
    }
    seen
}

/// Waits for what a real thread does beside the runtime.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut every = tokio::time::interval(Duration::from_millis(2));
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so() {
            every.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "not within 30 s: {what}");
}

const SECONDS: Option<Duration> = Some(Duration::from_secs(10));

#[tokio::test]
async fn rule_09_writes_gather_while_the_thread_works() {
    for (name, deadline) in [("gather-thread", SECONDS), ("gather-inline", None)] {
        let bench = Bench::start(name, deadline).await;
        let group = bench.group().await;
        let (loaded, mut events) = bench.load(group, 1).await;
        assert_eq!(loaded.expect("it loads").tail.last(), Position::ORIGIN);
        let all = entries(Position::ORIGIN, 1, 100);
        if deadline.is_some() {
            bench.disk.stall(true);
        }
        for (at, entry) in all.iter().enumerate() {
            bench.persist(group, 1, order(at as u64 + 1, 1, None, vec![entry.clone()]));
        }
        tokio::task::yield_now().await;
        bench.disk.stall(false);
        let seen = until(&mut events, 100).await;
        assert!(
            seen.windows(2).all(|pair| pair[0] < pair[1]),
            "bug 33: completions never step back: {seen:?}"
        );
        let batches = bench.handle.stats().batches.load(Ordering::Relaxed);
        if deadline.is_some() {
            assert!(batches < 20, "100 writes went in {batches} batches");
        }
        let read = ractor::call!(bench.store, |reply| StoreRequest::Read {
            group,
            epoch: Epoch(1),
            from: Index(1),
            through: Index(200),
            bytes_max: usize::MAX,
            reply: port_answer(reply),
        }
        .into());
        assert_eq!(read.expect("an answer").expect("entries"), all);
        bench.store.stop(None);
        bench.handle.stop();
    }
}

#[tokio::test]
async fn rule_09_an_older_epoch_writes_nothing_more() {
    let bench = Bench::start("epochs", SECONDS).await;
    let group = bench.group().await;
    let (_, mut old_events) = bench.load(group, 1).await;
    let all = entries(Position::ORIGIN, 1, 4);
    bench.persist(group, 1, order(1, 1, None, all[..1].to_vec()));
    until(&mut old_events, 1).await;
    // The role dies with writes in the queue; its successor is started, and then the dead one's last words arrive.
    bench.disk.stall(true);
    bench.persist(group, 1, order(2, 1, None, all[1..2].to_vec()));
    // Sent together they might become one job: the thread answers before it says that it has done its last one.
    eventually("one is in flight", || bench.disk.holds_a_write()).await;
    bench.persist(group, 1, order(3, 1, None, all[2..3].to_vec()));
    // So the second waits in the actor, until the load takes its place.
    let queued = || bench.handle.stats().queued_requests.load(Ordering::Relaxed);
    eventually("and one waits", || queued() == 1).await;
    let loading = bench.load(group, 2);
    let release = async {
        let dropped = || bench.handle.stats().dropped.load(Ordering::Relaxed);
        eventually("the load waits, and has dropped the write that waited", || dropped() == 1).await;
        bench.disk.stall(false);
    };
    let ((loaded, mut events), ()) = tokio::join!(loading, release);
    assert_eq!(
        loaded.expect("it loads").tail.last(),
        all[1].position(),
        "the batch in flight was waited for"
    );
    bench.persist(group, 1, order(3, 9, None, all[2..3].to_vec()));
    bench.persist(group, 2, order(1, 2, Some(2), entries(all[0].position(), 2, 1)));
    until(&mut events, 1).await;
    let (loaded, _) = bench.load(group, 3).await;
    let loaded = loaded.expect("it loads");
    assert_eq!(
        loaded.hard_state.as_hard_state().term,
        Term(2),
        "a dead role's term does not land behind the new one's"
    );
    assert_eq!(loaded.tail.last().index, Index(2));
    let (stale, _) = bench.load(group, 3).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })));
    bench.handle.stop();
}

#[tokio::test]
async fn rule_09_bug_34_a_restarted_store_applies_each_sequence_once() {
    let mut bench = Bench::start("restart", SECONDS).await;
    let group = bench.group().await;
    let (_, mut events) = bench.load(group, 1).await;
    let first = entries(Position::ORIGIN, 1, 2);
    let second = entries(first[0].position(), 2, 2);
    let orders = [
        order(1, 1, None, first.clone()),
        // The same index with another term: the first must not come back.
        order(2, 2, Some(2), second.clone()),
    ];
    for persist in &orders {
        bench.persist(group, 1, persist.clone());
    }
    until(&mut events, 2).await;
    bench.restart().await;
    let batches = bench.handle.stats().batches.load(Ordering::Relaxed);
    // The role does not know yet that the store is back, and goes on: a gap, which is dropped.
    bench.persist(group, 1, order(4, 2, None, entries(second[1].position(), 2, 1)));
    for persist in &orders {
        bench.persist(group, 1, persist.clone());
    }
    until(&mut events, 2).await;
    assert_eq!(bench.handle.stats().batches.load(Ordering::Relaxed), batches, "nothing was written again");
    bench.persist(group, 1, order(3, 2, None, entries(second[1].position(), 2, 1)));
    until(&mut events, 3).await;
    let (loaded, _) = bench.load(group, 2).await;
    let tail = loaded.expect("it loads").tail;
    assert_eq!(tail.last().index, Index(4));
    assert_eq!(
        tail.get(Index(2)).map(|entry| entry.term),
        Some(Term(2)),
        "bug 35: the log stepped back once"
    );
    bench.handle.stop();
}

#[tokio::test]
async fn bug_72_after_a_failed_sync_nothing_is_answered() {
    for (name, deadline) in [("failed-thread", SECONDS), ("failed-inline", None)] {
        let bench = Bench::start(name, deadline).await;
        let group = bench.group().await;
        let (_, mut events) = bench.load(group, 1).await;
        bench.disk.fail_sync_in(1);
        bench.persist(group, 1, order(1, 1, None, entries(Position::ORIGIN, 1, 1)));
        eventually("the store has failed", || bench.handle.has_failed()).await;
        assert!(bench.locate(group, 1, 500).await.is_err(), "the port is dropped");
        assert!(events.try_recv().is_err(), "no completion escapes");
        assert_eq!(bench.fatal.lock().expect("not poisoned").len(), 1, "it is said once");
        bench.handle.stop();
    }
}

/// A rotten entry is not an answer, nor an empty one: the store ends, and nothing more is acknowledged.
#[tokio::test]
async fn rule_08_bug_45_what_is_damaged_ends_the_store_for_every_asker() {
    for (asks, deadline) in
        ["read", "locate", "load"].into_iter().flat_map(|asks| [(asks, SECONDS), (asks, None)])
    {
        let bench = Bench::start(&format!("rotten-{asks}-{}", deadline.is_some()), deadline).await;
        let group = bench.group().await;
        let (_, mut events) = bench.load(group, 1).await;
        let written = entries(Position::ORIGIN, 1, 3);
        let last = written[2].position();
        bench.persist(group, 1, order(1, 1, None, written));
        until(&mut events, 1).await;
        let key = [group.0.to_be_bytes(), 1_u64.to_be_bytes()].concat();
        let mut row = bench.disk.get(Keyspace::Log, &key).expect("it reads").expect("the one run").to_vec();
        row[100] ^= 1;
        let mut rot = Batch::new();
        rot.put(Keyspace::Log, key, row.into());
        bench.disk.clone().commit(&rot).expect("it rots");
        let (epoch, from, through) = (Epoch(1), Index(1), Index(3));
        let answered = match asks {
            "read" => ractor::call_t!(
                bench.store,
                |reply| {
                    let (bytes_max, reply) = (usize::MAX, port_answer(reply));
                    StoreRequest::Read { group, epoch, from, through, bytes_max, reply }.into()
                },
                5_000
            )
            .is_ok(),
            "locate" => ractor::call_t!(
                bench.store,
                |reply| StoreRequest::Locate { group, epoch, index: Index(2), reply: port_answer(reply) }
                    .into(),
                5_000
            )
            .is_ok(),
            _ => {
                let sink: StoreSink = Arc::new(|_| {});
                let (epoch, tail_bytes_max) = (Epoch(2), usize::MAX);
                ractor::call_t!(
                    bench.store,
                    |reply| {
                        let reply = port_answer(reply);
                        StoreRequest::Load { group, epoch, tail_bytes_max, sink, reply }.into()
                    },
                    5_000
                )
                .is_ok()
            }
        };
        assert!(!answered, "{asks}: the port is dropped");
        eventually("the store has failed", || bench.handle.has_failed()).await;
        assert!(bench.handle.has_failed(), "{asks}");
        bench.persist(group, 1, order(2, 1, None, entries(last, 1, 1)));
        assert!(bench.locate(group, 1, 500).await.is_err(), "{asks}: nothing is answered any more");
        assert!(events.try_recv().is_err(), "{asks}: no completion escapes");
        assert_eq!(bench.fatal.lock().expect("not poisoned").len(), 1, "{asks}: it is said once");
        bench.handle.stop();
    }
}

#[tokio::test]
async fn bug_20_a_silent_disk_is_noticed() {
    let bench = Bench::start("silent", Some(Duration::from_millis(80))).await;
    let group = bench.group().await;
    let (_, mut events) = bench.load(group, 1).await;
    bench.disk.stall(true);
    bench.persist(group, 1, order(1, 1, None, entries(Position::ORIGIN, 1, 1)));
    eventually("it is told", || !bench.fatal.lock().expect("not poisoned").is_empty()).await;
    let said = bench.fatal.lock().expect("not poisoned").clone();
    assert!(said.len() == 1 && said[0].contains("has not answered"), "{said:?}");
    // The disk comes back, too late: what it says now is not passed on.
    let batches = || bench.disk.crash(Crash::Kept).batches();
    let before = batches();
    bench.disk.stall(false);
    eventually("it has written", || batches() > before).await;
    assert!(events.try_recv().is_err());
    bench.handle.stop();
}

/// A commit waits for a compaction that takes long, on all nodes alike: each would have ended.
#[tokio::test(start_paused = true)]
async fn a_disk_that_works_off_what_was_put_off_is_not_silent() {
    let bench = Bench::start("backlog", None).await;
    let group = bench.group().await;
    let (_, mut events) = bench.load(group, 1).await;
    bench.disk.stall(true);
    bench.persist(group, 1, order(1, 1, None, entries(Position::ORIGIN, 1, 1)));
    let is_told = || !bench.fatal.lock().expect("not poisoned").is_empty();
    let (began, backlog) = (tokio::time::Instant::now(), bench.disk.backlog());
    eventually("more than twice the time has passed that it may be silent", || {
        assert!(!is_told(), "after {:?}: {:?}", began.elapsed(), bench.fatal);
        backlog.progressed();
        began.elapsed() > Duration::from_secs(25)
    })
    .await;
    bench.disk.stall(false);
    until(&mut events, 1).await;
    bench.disk.stall(true);
    bench.persist(group, 1, order(2, 1, None, entries(entries(Position::ORIGIN, 1, 1)[0].position(), 1, 1)));
    eventually("without progress it is told", is_told).await;
    bench.handle.stop();
}

/// After SIGSTOP, or on a host that was suspended, all timers are due at once: it is not the disk that was silent.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "simulated time: no real time passes")]
async fn a_process_that_was_paused_does_not_take_its_disk_for_silent() {
    // Before the watch has looked at this job, and after.
    for (name, at_it) in [("paused", 1), ("paused-later", 3)] {
        let bench = Bench::start(name, None).await;
        let group = bench.group().await;
        let (_, mut events) = bench.load(group, 1).await;
        bench.disk.stall(true);
        bench.persist(group, 1, order(1, 1, None, entries(Position::ORIGIN, 1, 1)));
        tokio::time::sleep(Duration::from_secs(at_it)).await;
        tokio::time::advance(Duration::from_secs(3_600)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.disk.stall(false);
        until(&mut events, 1).await;
        let told = bench.fatal.lock().expect("not poisoned").clone();
        assert_eq!(told, Vec::<String>::new(), "after {at_it} s");
        bench.handle.stop();
    }
}

/// Waits that each end do not add up, however long the store is idle between them.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "simulated time: no real time passes")]
async fn a_disk_that_is_slow_now_and_then_is_not_taken_for_silent() {
    let bench = Bench::start("now-and-then", None).await;
    let group = bench.group().await;
    let (_, mut events) = bench.load(group, 1).await;
    let (deadline, mut after) = (bench.handle.deadline(), Position::ORIGIN);
    for index in 1..=6 {
        bench.disk.stall(true);
        let run = entries(after, 1, 1);
        after = run[0].position();
        bench.persist(group, 1, order(index, 1, None, run));
        tokio::time::sleep(deadline * 3 / 10).await;
        bench.disk.stall(false);
        until(&mut events, index).await;
        tokio::time::sleep(deadline).await;
    }
    let told = bench.fatal.lock().expect("not poisoned").clone();
    assert_eq!(told, Vec::<String>::new());
    bench.handle.stop();
}

#[tokio::test]
async fn rule_03_an_idle_store_brings_the_anchor_up_to_date() {
    for (name, deadline) in [("idle-thread", SECONDS), ("idle-inline", None)] {
        let bench = Bench::start(name, deadline).await;
        let group = bench.group().await;
        let (_, mut events) = bench.load(group, 1).await;
        bench.persist(group, 1, order(1, 1, None, entries(Position::ORIGIN, 1, 5)));
        until(&mut events, 1).await;
        eventually("the loss of the last batch is seen", || {
            let image = bench.disk.crash(Crash::Lost);
            let batch = image.batches() - 1;
            let lost = SimDisk::from_image(image.rot(&quorate::store::Rot::Suffix { batch }));
            let boxed: Box<dyn Disk> = Box::new(lost);
            let options = StoreOptions::new(node("node0"), None, 7);
            let (_, report) = Store::open(boxed, options).expect("it recovers");
            report.groups[0].recovering
        })
        .await;
        bench.handle.stop();
    }
}

#[tokio::test]
async fn rule_16_roles_hear_of_a_full_disk_and_of_space() {
    let bench = Bench::start("space", SECONDS).await;
    let group = bench.group().await;
    let (_, mut events) = bench.load(group, 1).await;
    bench.disk.set_capacity(1_000);
    let heard = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
    assert_eq!(heard.expect("in time"), Some(StoreEvent::DiskFull(true)));
    bench.disk.set_capacity(1 << 30);
    // While others keep it busy, too: it looks at the space when it is time, not only when there is nothing to do.
    let mut heard = None;
    for _ in 0..200 {
        let located = bench.locate(group, 1, 10_000).await;
        assert_eq!(located.expect("an answer").expect("its beginning"), Position::ORIGIN);
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(20), events.recv()).await {
            heard = event;
            break;
        }
    }
    assert_eq!(heard, Some(StoreEvent::DiskFull(false)));
    bench.handle.stop();
}

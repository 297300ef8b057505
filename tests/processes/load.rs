//! Clients that write, read, compare-and-set and delete while a test does harm, and what they must have seen.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use quorate_testkit::history::{Budget, Call, Ended, NotLinearizable, Recorder, Reply, Value, check};
use quorate_tests::wait::{PATIENCE, until};
use tokio::time::Instant;

use crate::client::{Client, Told};

/// Clients that share the keys; half of them retry what is unknown under an idempotency key.
const CLIENTS: u32 = 6;
/// The client that gives every write a key of its own: none of them is ever overwritten.
const KEEPER: u32 = CLIENTS;
/// The client that finds out when the cluster answers again.
const PROBE: u32 = CLIENTS + 1;
/// Few, so that clients meet.
const KEYS: [&str; 3] = ["a", "b", "c"];
/// Operations of one client at most, and keys of the keeper: a bound on the history.
const OPERATIONS_MAX: u64 = 5_000;
const KEPT_MAX: u64 = 4_000;
/// A pause after each of the keeper's writes: it cannot reach its bound before a load reaches its own.
const KEEPS_EVERY: Duration = Duration::from_millis(50);
/// A pause after each operation of the clients that share keys: without one, six clients take the processors for which the nodes
/// of this and other tests wait. `QUORATE_LOAD=full` leaves it out, as `.ci/soak` does.
const THINKS: Duration = Duration::from_millis(3);
/// How long one load may last.
const LOAD_MAX: Duration = Duration::from_secs(180);
/// How long a request of the probe may take: short, so that one bad node does not hide the others.
const PROBE_PATIENCE: Duration = Duration::from_millis(400);
/// A pause after what did not succeed.
const TURNED_AWAY: Duration = Duration::from_millis(20);
const PATIENCE_OF_CLIENTS: Duration = Duration::from_millis(1_500);

/// Load under way.
pub(crate) struct Load {
    recorder: Recorder,
    nodes: Vec<SocketAddr>,
    is_over: AtomicBool,
    written: AtomicU64,
    kept: AtomicU64,
    next_value: AtomicU64,
    deadline: Instant,
}

/// Ends the load also when the test fails: otherwise its clients would never end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    /// Runs clients against these nodes while the test does its harm; then reads every key, and checks the history.
    pub(crate) fn during(nodes: &[SocketAddr], harm: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let load = Self {
            recorder: Recorder::new(),
            nodes: nodes.to_vec(),
            is_over: AtomicBool::new(false),
            written: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            next_value: AtomicU64::new(1),
            deadline: Instant::now() + LOAD_MAX,
        };
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let load = &load;
                scope.spawn(move || load.share(client));
            }
            scope.spawn(|| load.keep());
            let over = Over(&load.is_over);
            let harmed = harm(&load);
            drop(over);
            harmed
        })?;
        let (start, worked) = (Instant::now(), load.recorder.history().operations.len());
        load.read_all()?;
        println!("{worked} operations; reading all took {:?}", start.elapsed());
        load.checked()
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) fn writes(&self, more: u64) -> Result<()> {
        let goal = self.written.load(Ordering::SeqCst) + more;
        let what = format!("{more} more acknowledged writes");
        until(&what, PATIENCE, || (self.written.load(Ordering::SeqCst) >= goal).then_some(()))?;
        Ok(())
    }

    /// How long it takes from now until a write that begins after now is acknowledged, by any of these nodes.
    pub(crate) fn answers(&self, nodes: &[SocketAddr], within: Duration) -> Result<Duration> {
        let mut clients: Vec<_> =
            nodes.iter().map(|node| Client::new(PROBE, *node, PROBE_PATIENCE)).collect();
        let mut turn = 0;
        let ((), took) = until("an acknowledged write", within, || {
            turn += 1;
            let client = turn % clients.len();
            let told = self.one(&mut clients[client], "probe", Call::Write(self.value()), None);
            matches!(told, Told::Reply(_)).then_some(())
        })?;
        Ok(took)
    }

    /// Whether a read at one node is answered. What it answers stands in the history.
    pub(crate) fn reads_at(&self, node: SocketAddr, key: &str) -> bool {
        self.reads(&mut Client::new(PROBE, node, PATIENCE_OF_CLIENTS), key)
    }

    /// The same of several reads at once, since one that is not answered takes as long as a client waits: how many are answered.
    pub(crate) fn answered(&self, reads: &[(SocketAddr, &str)]) -> usize {
        std::thread::scope(|scope| {
            let read = |(node, key): &(SocketAddr, &str)| self.reads_at(*node, key);
            let running: Vec<_> = reads.iter().map(|one| scope.spawn(move || read(one))).collect();
            let answered = running.into_iter().map(|one| one.join().expect("a read does not panic"));
            answered.filter(|is_answered| *is_answered).count()
        })
    }

    /// The same, of a read that may be old and says so. The history takes it for one that may not.
    pub(crate) fn reads_stale_at(&self, node: SocketAddr, key: &str) -> bool {
        self.reads(&mut Client::new(PROBE, node, PATIENCE_OF_CLIENTS).stale(), key)
    }

    fn reads(&self, client: &mut Client, key: &str) -> bool {
        matches!(self.one(client, key, Call::Read, None), Told::Reply(_))
    }

    fn value(&self) -> Value {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst) && Instant::now() < self.deadline
    }

    /// One recorded operation. Under an idempotency key it is sent again while its outcome is unknown.
    fn one(&self, client: &mut Client, key: &str, call: Call, once: Option<u64>) -> Told {
        let pending = self.recorder.begin(client.id(), key, call);
        let mut told = client.call(key, call, once);
        if once.is_some() {
            let mut at = client.id() as usize;
            while told == Told::Unknown && self.goes_on() {
                at += 1;
                client.go_to(self.nodes[at % self.nodes.len()]);
                // Refused now, it may still have happened before.
                if let Told::Reply(reply) = client.call(key, call, once) {
                    told = Told::Reply(reply);
                }
            }
        }
        match told {
            Told::Reply(reply) => {
                pending.replied(reply);
                if reply == Reply::Written || reply == Reply::Swapped {
                    self.written.fetch_add(1, Ordering::SeqCst);
                }
            }
            Told::Refused => pending.refused(),
            Told::Unknown => pending.unknown(),
        }
        if !matches!(told, Told::Reply(_)) {
            // A client that is refused at once would come back at once, and only count refusals.
            std::thread::park_timeout(TURNED_AWAY);
        }
        told
    }

    /// What a client does that shares its keys with others.
    fn share(&self, id: u32) {
        let thinks = if std::env::var_os("QUORATE_LOAD").is_some() { Duration::ZERO } else { THINKS };
        let mut random = u64::from(id) + 1;
        let mut client = Client::new(id, self.nodes[id as usize % self.nodes.len()], PATIENCE_OF_CLIENTS);
        let mut last_read = [None; KEYS.len()];
        for sequence in 1..=OPERATIONS_MAX {
            if !self.goes_on() {
                return;
            }
            let chance = next_random(&mut random);
            let at = (chance >> 8) as usize % KEYS.len();
            let call = match chance % 16 {
                0..6 => Call::Write(self.value()),
                6..11 => Call::Read,
                11..15 => Call::CompareAndSet { expected: last_read[at], value: self.value() },
                _ => Call::Delete,
            };
            let once = (id % 2 == 1 && call != Call::Read).then_some(sequence);
            let told = self.one(&mut client, KEYS[at], call, once);
            std::thread::park_timeout(thinks);
            match (told, call) {
                (Told::Reply(Reply::Value(value) | Reply::Kept { current: value }), _) => {
                    last_read[at] = value;
                }
                (Told::Reply(Reply::Written | Reply::Swapped), Call::Write(value)) => {
                    last_read[at] = Some(value);
                }
                _ => {}
            }
            if !matches!(told, Told::Reply(_)) || (chance >> 16).is_multiple_of(8) {
                let at = (chance >> 32) as usize % self.nodes.len();
                client.go_to(self.nodes[at]);
            }
        }
    }

    /// What the client does that keeps every write.
    fn keep(&self) {
        let mut client = Client::new(KEEPER, self.nodes[0], PATIENCE_OF_CLIENTS);
        for kept in 0..KEPT_MAX {
            if !self.goes_on() {
                return;
            }
            let call = Call::Write(self.value());
            let told = self.one(&mut client, &format!("kept/{kept}"), call, None);
            self.kept.store(kept + 1, Ordering::SeqCst);
            std::thread::park_timeout(KEEPS_EVERY);
            if !matches!(told, Told::Reply(_)) {
                client.go_to(self.nodes[kept as usize % self.nodes.len()]);
            }
        }
    }

    /// Reads every key once: what was acknowledged must still be there.
    fn read_all(&self) -> Result<()> {
        let kept = (0..self.kept.load(Ordering::SeqCst)).map(|kept| format!("kept/{kept}"));
        let keys = KEYS.into_iter().map(str::to_owned).chain(["probe".to_owned()]).chain(kept);
        let mut clients: Vec<_> =
            self.nodes.iter().map(|node| Client::new(PROBE, *node, PATIENCE_OF_CLIENTS)).collect();
        let mut turn = 0;
        for key in keys {
            until(&format!("the last value of {key}"), PATIENCE, || {
                let at = turn % clients.len();
                let told = self.one(&mut clients[at], &key, Call::Read, None);
                if !matches!(told, Told::Reply(_)) {
                    turn += 1;
                    return None;
                }
                Some(())
            })?;
        }
        Ok(())
    }

    fn checked(&self) -> Result<()> {
        let history = self.recorder.history();
        let [replied, unknown, refused] = history.outcomes();
        let wrote = history
            .operations
            .iter()
            .filter(|one| matches!(one.ended, Ended::Replied { reply: Reply::Written | Reply::Swapped, .. }));
        let wrote = wrote.count();
        println!("history: {replied} replied ({wrote} wrote), {unknown} unknown, {refused} refused");
        ensure!(replied > 50 && wrote > 20, "too little was done to show anything");
        let kept = self.kept.load(Ordering::SeqCst);
        ensure!(kept < KEPT_MAX, "the keeper ended before the load: what was lost after it would go unseen");
        let checked = check(&history, Budget::default()).map_err(|why| {
            let told = pictured(&why);
            anyhow::Error::new(why).context(told)
        })?;
        println!("checked: {checked:?}");
        Ok(())
    }
}

/// Draws what is wrong into a file named after the test, and says where it is.
fn pictured(why: &NotLinearizable) -> String {
    let test = std::thread::current().name().unwrap_or("load").replace("::", "-");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("histories").join(test + ".svg");
    match why.draw_to(&path) {
        Ok(()) => format!("what clients saw, over all nodes; the picture is {}", path.display()),
        Err(error) => format!("what clients saw, over all nodes; no picture at {}: {error}", path.display()),
    }
}

/// Xorshift: the same choices in every run, as far as the answers are the same.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
}

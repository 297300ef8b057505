//! What the handlers share: the node, its group, and what is known of the other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate::{Consistency, GroupHandle, GroupStatus, Node, Standing};
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::code::Code;
use super::names::Names;
use super::options::ApiOptions;
use super::pages::{PAGE_BYTES_MAX, PagePlace};
use super::problem::Problem;
use super::rooms::Rooms;
use crate::address::split;
use crate::descriptors::PEER_CALLS_MAX;
use crate::machine::DataMachine;

/// Snapshots that are sent at once: each holds a part or two of a file in memory, however slowly its client reads.
const DOWNLOADS_MAX: usize = 4;
/// The pause between two looks at a replica that is being loaded.
const START_PAUSE: Duration = Duration::from_millis(5);
/// How long the leader is asked how far this node is, of a check that must not hang.
const LEADER_ASKED_MAX: Duration = Duration::from_millis(800);
/// A learner that lacks no more entries than this is near enough to be promoted, and to be asked.
const LAG_MAX: u64 = 1_024;
/// The most looks at it.
const START_TRIES: usize = 200;

/// What the handlers share. Cloning is cheap.
#[derive(Clone)]
pub struct AppState {
    shared: Arc<Shared>,
}

struct Shared {
    node: Node,
    group: GroupHandle<DataMachine>,
    options: ApiOptions,
    names: Names,
    /// Calls to other nodes' APIs.
    peer_calls: Semaphore,
    bodies: Arc<Semaphore>,
    rooms: Rooms,
    downloads: Arc<Semaphore>,
    pages: Semaphore,
    local_pages: Semaphore,
    /// `host:port` at which clients reach this API.
    address: String,
    /// When the node ends, once it is to.
    drains_until: watch::Sender<Option<Instant>>,
    /// A request has told it to end.
    told_to_end: Notify,
    /// The last index of this node's log when it was first looked at.
    last_at_start: OnceCell<u64>,
    replayed: AtomicBool,
    /// It has voted since the start, or lacked little of the leader's log.
    caught_up: AtomicBool,
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AppState({})", self.shared.node.id())
    }
}

impl AppState {
    /// A place for a snapshot to be sent.
    pub(crate) fn download_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.shared.downloads.clone().try_acquire_owned().map_err(|_| {
            Problem::new(
                Code::Busy,
                format!("this node sends {DOWNLOADS_MAX} snapshots already, and no more at once"),
            )
        })
    }

    /// Of a node, its group, the address at which clients reach the API, and the API's bounds.
    pub fn new(
        node: Node,
        group: GroupHandle<DataMachine>,
        address: impl Into<String>,
        options: ApiOptions,
    ) -> Self {
        let address = address.into();
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().into_owned();
        let host = split(&address).map(|(host, _)| host).unwrap_or_default();
        let own = options.hosts.iter().map(String::as_str).chain([machine.as_str(), host.as_str()]);
        let shared = Shared {
            names: Names::new(own.filter(|name| !name.is_empty()), &options.allowed_hosts),
            peer_calls: Semaphore::new(PEER_CALLS_MAX),
            bodies: Arc::new(Semaphore::new(options.bodies_bytes_max.min(Semaphore::MAX_PERMITS))),
            rooms: Rooms::new(options.answers_bytes_max),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            pages: Semaphore::new(options.pages_max.min(Semaphore::MAX_PERMITS)),
            local_pages: Semaphore::new(options.pages_max.min(Semaphore::MAX_PERMITS)),
            node,
            group,
            options,
            address,
            drains_until: watch::Sender::new(None),
            told_to_end: Notify::new(),
            last_at_start: OnceCell::new(),
            replayed: AtomicBool::new(false),
            caught_up: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Its group.
    pub fn group(&self) -> &GroupHandle<DataMachine> {
        &self.shared.group
    }

    pub(crate) fn options(&self) -> &ApiOptions {
        &self.shared.options
    }

    /// The names by which clients may call this node.
    pub(crate) fn names(&self) -> &Names {
        &self.shared.names
    }

    /// One of these is held during each call to another node's API: each has a connection of its own.
    pub(crate) fn peer_calls(&self) -> &Semaphore {
        &self.shared.peer_calls
    }

    /// A permit for each byte of all bodies of requests under way.
    pub(crate) fn bodies(&self) -> &Arc<Semaphore> {
        &self.shared.bodies
    }

    /// The room for all long answers, which are put together or not taken yet.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.shared.rooms
    }

    /// A turn to put a page together, once there is one, with its room. Requests that wait hold no page in memory. Pages of what this
    /// node has have turns of their own: those of a linearizable read are held without a leader, too, until its deadline.
    pub(crate) async fn page_place(
        &self,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<PagePlace<'_>, Problem> {
        let until = Instant::now() + timeout;
        let pages = match consistency {
            Consistency::Linearizable => &self.shared.pages,
            Consistency::Stale => &self.shared.local_pages,
        };
        let permit = tokio::time::timeout_at(until, pages.acquire()).await;
        let full = |_| Problem::new(Code::Busy, "too many pages are being put together on this node");
        let permit = permit.map_err(full)?.expect("the semaphore is never closed");
        let room = self.rooms().reserve(PAGE_BYTES_MAX.min(self.rooms().bytes_max()), until).await?;
        Ok(PagePlace { room, until, _permit: permit })
    }

    /// The node is about to end, after this delay or when it was to end before: from now on it is not ready.
    pub fn drain(&self, delay: Duration) {
        let new = Instant::now() + delay;
        self.shared.drains_until.send_if_modified(|until| {
            let sooner = until.is_none_or(|until| new < until);
            if sooner {
                *until = Some(new);
            }
            sooner
        });
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drains_for().is_some()
    }

    /// For how long it goes on, if it is to end.
    pub(crate) fn drains_for(&self) -> Option<Duration> {
        let until = *self.shared.drains_until.borrow();
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Has the node end in order after a delay, or sooner if it was to. In how long.
    pub(super) fn end_after(&self, delay: Duration) -> Duration {
        self.drain(delay);
        self.shared.told_to_end.notify_one();
        self.drains_for().unwrap_or_default()
    }

    /// Waits until a request has told the node to end. For one waiter.
    pub(crate) async fn told_to_end(&self) {
        self.shared.told_to_end.notified().await;
    }

    /// Waits until the delay of [`drain`](Self::drain) is over, which may be shortened meanwhile.
    pub(crate) async fn drained(&self) {
        let mut changes = self.shared.drains_until.subscribe();
        loop {
            let until = *changes.borrow_and_update();
            let Some(until) = until else {
                drop(changes.changed().await);
                continue;
            };
            if timeout_at(until, changes.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Remembers the last index of this node's log, so that it is known later whether all of it was replayed. Called once,
    /// at the start; waits a second at most for the replica.
    pub(crate) async fn note_start(&self) {
        let mut every = tokio::time::interval(START_PAUSE);
        for _ in 0..START_TRIES {
            every.tick().await;
            if let Some(role) = self.group().status().await.role {
                self.shared.last_at_start.get_or_init(async || role.last).await;
                return;
            }
        }
    }

    /// Whether this node has applied its log as of its start, or the entries that replaced it. Once true, it stays true.
    pub(crate) async fn is_replayed(&self, status: &GroupStatus) -> bool {
        if self.shared.replayed.load(Ordering::Relaxed) {
            return true;
        }
        let Some(role) = &status.role else { return false };
        let last_at_start = *self.shared.last_at_start.get_or_init(async || role.last).await;
        // A commit index of 0 means that it is not known yet: the leader's first entry raises it.
        let known = status.leader.is_some() && role.commit > 0;
        let replayed = known && role.applied >= role.commit && role.commit >= last_at_start.min(role.last);
        self.shared.replayed.fetch_or(replayed, Ordering::Relaxed);
        replayed
    }

    /// Whether this node once had the log of the cluster but for a little: a voter has, and of a learner the leader knows. Once true, it stays
    /// true. Otherwise what the leader says of it.
    pub(crate) async fn has_caught_up(&self, standing: Standing) -> Result<(), String> {
        let caught_up = &self.shared.caught_up;
        caught_up.fetch_or(standing == Standing::Voter, Ordering::Relaxed);
        if caught_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        let view = self.group().members().within(LEADER_ASKED_MAX).list().await;
        let view = view.map_err(|error| format!("how far it is, is not known: {error}"))?;
        let own = view.members.into_iter().find(|member| member.id == *self.node().id());
        match own.map(|own| own.lag) {
            Some(Some(lag)) if lag <= LAG_MAX => {
                caught_up.store(true, Ordering::Relaxed);
                Ok(())
            }
            Some(Some(lag)) => Err(format!("it lacks {lag} entries")),
            Some(None) => Err("it has not answered the leader yet".to_owned()),
            None => Err("the leader knows no such member".to_owned()),
        }
    }

    /// The leader this node knows.
    pub(crate) fn leader(&self) -> Option<String> {
        self.group().leader().map(|leader| leader.to_string())
    }

    /// The address of a member's API: as it said when it connected, otherwise as the membership has it.
    pub(crate) fn api_of(&self, id: &str, listed: &str) -> Option<String> {
        if id == self.node().id().as_str() {
            return Some(self.shared.address.clone());
        }
        let links = self.node().links();
        let peer = links.iter().find(|link| link.node == id).and_then(|link| link.peer.as_ref());
        let said = peer.map(|peer| peer.api_address.clone()).filter(|address| !address.is_empty());
        said.or_else(|| (!listed.is_empty()).then(|| listed.to_owned()))
    }

    /// The leader and its API address, or `None` if this node leads.
    pub(crate) async fn leader_api(&self) -> Result<Option<(String, String)>, Problem> {
        let timeout = self.shared.options.call_timeout;
        let Some(leader) = self.group().wait_for_leader(timeout).await else {
            let detail = format!("no leader known for {} ms", timeout.as_millis());
            return Err(Problem::new(Code::NoLeader, detail));
        };
        if leader == *self.node().id() {
            return Ok(None);
        }
        let leader = leader.to_string();
        let status = self.group().status().await;
        let members = status.role.map(|role| role.members).unwrap_or_default();
        let listed = members.into_iter().find(|member| member.id == leader).map(|member| member.api);
        let Some(address) = self.api_of(&leader, &listed.unwrap_or_default()) else {
            let detail = format!("{leader} leads, but its API address is not known here");
            return Err(Problem::new(Code::LeaderUnreachable, detail).led_by(Some(leader)));
        };
        Ok(Some((leader, address)))
    }
}

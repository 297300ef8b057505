//! What the handlers share: the node, its group, and how both are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Uri};
use quorate::machine::SessionKey;
use quorate::{Applied, GroupHandle, GroupStatus, Node};
use tokio::sync::OnceCell;

use super::code::Code;
use super::extract::{consistency, deadline, idempotency_key, path_and_query};
use super::peers::Peers;
use super::problem::{Instead, Problem};
use crate::machine::{Store, StoreAnswer, StoreCommand, StoreQuery, StoreReply};
use crate::serve::ApiOptions;

/// Between two looks at a replica that is being loaded.
const START_PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked at.
const START_TRIES: usize = 200;

/// What the handlers share. Cloning is cheap.
#[derive(Clone)]
pub struct AppState {
    shared: Arc<Shared>,
}

struct Shared {
    node: Node,
    group: GroupHandle<Store>,
    options: ApiOptions,
    /// Where clients reach this API.
    address: String,
    peers: Peers,
    draining: AtomicBool,
    /// The last index of this node's log when it was first looked at.
    last_at_start: OnceCell<u64>,
    replayed: AtomicBool,
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AppState({})", self.shared.node.id())
    }
}

impl AppState {
    /// Of a node, its group, the address at which clients reach the API, and the API's bounds.
    pub fn new(
        node: Node,
        group: GroupHandle<Store>,
        address: impl Into<String>,
        options: ApiOptions,
    ) -> Self {
        let shared = Shared {
            node,
            group,
            peers: Peers::new(options.peer_timeout),
            options,
            address: address.into(),
            draining: AtomicBool::new(false),
            last_at_start: OnceCell::new(),
            replayed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Its group.
    pub fn group(&self) -> &GroupHandle<Store> {
        &self.shared.group
    }

    pub(crate) fn options(&self) -> &ApiOptions {
        &self.shared.options
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    /// Says that the node is about to end: it is not ready any more.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Remembers how far this node's log reaches, so that it is known later whether all of it was replayed. Called once,
    /// at the start; waits for the replica, but not for long.
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

    /// Whether this node has applied what stood in its log when it started, or what took its place. Once it has, it
    /// stays so.
    pub(crate) async fn is_replayed(&self, status: &GroupStatus) -> bool {
        if self.shared.replayed.load(Ordering::Relaxed) {
            return true;
        }
        let Some(role) = &status.role else { return false };
        let last_at_start = *self.shared.last_at_start.get_or_init(async || role.last).await;
        // A commit index of zero is not known yet: the leader's first entry makes it greater.
        let known = status.leader.is_some() && role.commit > 0;
        let replayed = known && role.applied >= role.commit && role.commit >= last_at_start.min(role.last);
        self.shared.replayed.fetch_or(replayed, Ordering::Relaxed);
        replayed
    }

    /// The leader this node knows.
    pub(crate) fn leader(&self) -> Option<String> {
        self.group().leader().map(|leader| leader.to_string())
    }

    /// Where a member's API is reached: itself, or as it said when it connected, or as the membership has it.
    pub(crate) fn api_of(&self, id: &str, listed: &str) -> Option<String> {
        if id == self.node().id().as_str() {
            return Some(self.shared.address.clone());
        }
        let links = self.node().links();
        let peer = links.iter().find(|link| link.node == id).and_then(|link| link.peer.as_ref());
        let said = peer.map(|peer| peer.api_address.clone()).filter(|address| !address.is_empty());
        said.or_else(|| (!listed.is_empty()).then(|| listed.to_owned()))
    }

    /// Proposes a command and waits until it is applied.
    pub(crate) async fn write(
        &self,
        command: impl Into<StoreCommand>,
        how: WriteHow,
    ) -> Result<Applied<StoreReply>, Problem> {
        let command = command.into();
        command.check()?;
        let applied = match how.key {
            Some(key) => self.group().propose_once(key, command, how.timeout).await,
            None => self.group().propose_by(command, how.timeout).await,
        };
        applied.map_err(|error| Problem::from(error).led_by(self.leader()))
    }

    /// Asks the machine.
    pub(crate) async fn ask(
        &self,
        query: impl Into<StoreQuery>,
        how: ReadHow,
    ) -> Result<StoreAnswer, Problem> {
        let answer = self.group().query_by(query.into(), how.consistency, how.timeout).await;
        answer.map_err(|error| Problem::from(error).led_by(self.leader()))
    }

    /// How a write is made, from its parameters and headers.
    pub(crate) fn write_how(
        &self,
        timeout_ms: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<WriteHow, Problem> {
        Ok(WriteHow { timeout: self.timeout(timeout_ms, headers)?, key: idempotency_key(headers)? })
    }

    /// How a read is made.
    pub(crate) fn read_how(
        &self,
        freshness: Option<&str>,
        timeout_ms: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<ReadHow, Problem> {
        Ok(ReadHow { timeout: self.timeout(timeout_ms, headers)?, consistency: consistency(freshness)? })
    }

    pub(crate) fn timeout(&self, timeout_ms: Option<u64>, headers: &HeaderMap) -> Result<Duration, Problem> {
        let ApiOptions { call_timeout, call_timeout_max, .. } = self.shared.options;
        deadline(timeout_ms, headers, call_timeout, call_timeout_max)
    }

    /// Where a caller wants to be sent to the leader and another node leads: there.
    pub(crate) async fn elsewhere(&self, redirect: Option<bool>, uri: &Uri) -> Result<(), Instead> {
        if redirect != Some(true) {
            return Ok(());
        }
        match self.leader_api().await? {
            None => Ok(()),
            Some((_, address)) => {
                let location = format!("http://{address}{}", path_and_query(uri));
                let location = HeaderValue::try_from(location).map_err(|_| {
                    Problem::new(
                        Code::LeaderUnreachable,
                        format!("the leader's API address {address:?} is none"),
                    )
                })?;
                Err(Instead::Redirect(location))
            }
        }
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

/// How a write is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteHow {
    pub(crate) timeout: Duration,
    pub(crate) key: Option<SessionKey>,
}

/// How a read is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadHow {
    pub(crate) timeout: Duration,
    pub(crate) consistency: quorate::Consistency,
}

/// A reply that the command at hand does not get: refused by the machine, or of the command that had the key first.
pub(crate) fn not_of_this(reply: &StoreReply) -> Problem {
    use crate::machine::CounterReply;
    use quorate::machine::KvReply;
    let refusal = match reply {
        StoreReply::Kv(KvReply::Refused(refusal)) | StoreReply::Counter(CounterReply::Refused(refusal)) => {
            Some(*refusal)
        }
        StoreReply::Kv(_) | StoreReply::Counter(_) => None,
    };
    refusal.map_or_else(
        || {
            let detail =
                "this Idempotency-Key was used before, for another kind of command; its reply was found";
            Problem::new(Code::IdempotencyMismatch, format!("{detail}, and this command was not applied"))
        },
        Problem::from,
    )
}

/// An answer that the query at hand does not get.
pub(crate) fn not_asked() -> Problem {
    Problem::new(Code::Internal, "the state machine answered something else than was asked")
}

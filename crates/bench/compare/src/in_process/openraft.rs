//! openraft as its own minimal benchmark has it: three nodes on one runtime, log and state machine in memory, an empty
//! command, and a network that is a call of the other node's method: nothing is encoded and no socket is used.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures_util::{Stream, TryStreamExt};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::leader_id_adv::LeaderId;
use openraft::impls::{BoxedErrorSource, Entry, InlineBatch, OneshotResponder, Vote};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::vote::RaftLeaderId;
use openraft::{Config, EntryPayload, OptionalSend, Raft, RaftTypeConfig, StoredMembership};
use openraft_rt_tokio::TokioRuntime;
use quorate_bench::served::own_cpu_s;
use quorate_bench_compare::{Figures, closed_loop};
use tokio::runtime::Runtime;

const NODES: u64 = 3;

/// The command, and the reply.
#[derive(Debug, Clone, Copy)]
pub struct Empty;

impl fmt::Display for Empty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("empty")
    }
}

/// openraft's defaults but for the command, the reply, the node's address and the way a reply goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Empty;
    type R = Empty;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Empty, u64, ()>;
    type Entry = Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

type Node = Raft<Types, Machine>;

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct LogInMemory {
    vote: Option<VoteOf<Types>>,
    entries: BTreeMap<u64, EntryOf<Types>>,
    purged: Option<LogIdOf<Types>>,
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<LogInMemory>>);

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<EntryOf<Types>>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(locked(&self.0).entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(locked(&self.0).vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = locked(&self.0);
        let last = log.entries.last_key_value().map(|(_, entry)| entry.log_id());
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: last.or(log.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        locked(&self.0).vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        locked(&self.0).entries.extend(entries.into_iter().map(|entry| (entry.index(), entry)));
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        let first_gone = last.map_or(0, |last| last.index + 1);
        let _gone = locked(&self.0).entries.split_off(&first_gone);
        Ok(())
    }

    async fn purge(&mut self, last: LogIdOf<Types>) -> io::Result<()> {
        let mut log = locked(&self.0);
        log.purged = Some(last);
        log.entries = log.entries.split_off(&(last.index + 1));
        Ok(())
    }
}

/// Nothing but what was applied last.
#[derive(Debug, Clone, Default)]
struct Applied {
    last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
}

#[derive(Debug, Clone, Default)]
struct Machine(Arc<Mutex<(Applied, Option<SnapshotOf<Types, Applied>>)>>);

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Applied;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, Applied>> {
        let mut own = locked(&self.0);
        let applied = own.0.clone();
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: applied.last,
            last_membership: applied.membership.clone(),
        };
        let built = SnapshotOf::<Types, Applied> { meta, snapshot: applied };
        own.1 = Some(built.clone());
        Ok(built)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Applied;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        let own = locked(&self.0);
        Ok((own.0.last, own.0.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut own = locked(&self.0);
            own.0.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                own.0.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            drop(own);
            if let Some(responder) = responder {
                responder.send(Empty);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, snapshot: Applied) -> io::Result<()> {
        *locked(&self.0) =
            (snapshot.clone(), Some(SnapshotOf::<Types, Applied> { meta: meta.clone(), snapshot }));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, Applied>>> {
        Ok(locked(&self.0).1.clone())
    }
}

/// All nodes, by their number.
#[derive(Clone, Default)]
struct Router(Arc<Mutex<BTreeMap<u64, Node>>>);

struct Peer {
    router: Router,
    target: u64,
}

impl RaftNetworkFactory<Types> for Router {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, (): &()) -> Peer {
        Peer { router: self.clone(), target }
    }
}

impl Peer {
    fn node(&self) -> Result<Node, Unreachable<Types>> {
        let found = locked(&self.router.0).get(&self.target).cloned();
        found.ok_or_else(|| Unreachable::new(&io::Error::other("not started")))
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable<Types> {
    Unreachable::new(error)
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Applied;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.node()?.append_entries(request).await.map_err(|error| unreachable(&error).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.node()?.vote(request).await.map_err(|error| unreachable(&error).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, Applied>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let installed = self.node()?.install_full_snapshot(vote, snapshot).await;
        installed.map_err(|error| unreachable(&error).into())
    }
}

/// A new cluster, all numbers of clients in turn, and its end.
pub fn round(clients: &[u32], time: Duration) -> Result<Vec<Figures>> {
    let (servers, client) = crate::runtimes()?;
    let nodes = servers.block_on(start())?;
    let leader = nodes[0].clone();
    let measured = clients.iter().map(|clients| measure(&client, &leader, *clients, time)).collect();
    servers.block_on(async {
        for node in nodes {
            node.shutdown().await?;
        }
        anyhow::Ok(())
    })?;
    measured
}

async fn start() -> Result<Vec<Node>> {
    // As its benchmark sets them.
    let config = Config {
        election_timeout_min: 200,
        election_timeout_max: 2000,
        purge_batch_size: 1024,
        max_payload_entries: 1024,
        ..Config::default()
    };
    let (config, router) = (Arc::new(config.validate()?), Router::default());
    let mut nodes = Vec::new();
    for id in 0..NODES {
        let node = Raft::new(id, config.clone(), router.clone(), Log::default(), Machine::default()).await?;
        locked(&router.0).insert(id, node.clone());
        nodes.push(node);
    }
    nodes[0].initialize((0..NODES).collect::<std::collections::BTreeSet<u64>>()).await?;
    for node in &nodes {
        node.wait(Some(Duration::from_secs(20))).applied_index_at_least(Some(1), "a leader").await?;
    }
    Ok(nodes)
}

fn measure(runtime: &Runtime, leader: &Node, clients: u32, time: Duration) -> Result<Figures> {
    let before = own_cpu_s()?;
    let leader = leader.clone();
    let call = |node: Node, _turn| async move { node.client_write(Empty).await.is_ok() };
    let load = runtime.block_on(closed_loop(clients, time, move |_| leader.clone(), call))?;
    crate::figures(&load, before)
}

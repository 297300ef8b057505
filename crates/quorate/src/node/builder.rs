//! From settings to a running node: every wrong setting is reported before the first actor runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use quorate_bridge::{Net, TokioNet};
use quorate_core::{Hash, Member, NodeId};

use crate::address::is_host_and_port;
use crate::attempt::deadline_after;
use crate::clock::{self, WallClock};
use crate::config::Config;
use crate::handle::group::GroupHandle;
use crate::host::workers::{MachineThreads, Workers};
use crate::machine::StateMachine;
use crate::node::error::StartError;
use crate::node::handle::Node;
use crate::node::joiner::client_of;
use crate::node::lifetime;
use crate::node::restore::{Restore, RestoreFailed, Restored, restore};
use crate::node::spec::{Given, Joins, NodeSpec, Placement};
use quorate_store::{Disk, FjallDisk, FjallOptions, SimDisk, peek};

/// How long a member of the cluster to join is waited for at the start.
const REACH_MAX: Duration = Duration::from_secs(30);

/// Where a node keeps its data.
enum Storage {
    Directory(PathBuf),
    Given(Box<dyn Disk>),
}

/// What a node that joins wants to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JoinAs {
    Voter,
    Learner,
}

/// Settings of a node that is not running yet.
pub struct NodeBuilder {
    id: String,
    storage: Storage,
    listen: Option<String>,
    port_as_founded: bool,
    advertise: Option<String>,
    api: String,
    peers: Vec<(String, String, String)>,
    is_list: bool,
    token: String,
    join: Vec<String>,
    join_as: JoinAs,
    config: Config,
    connections_max: Option<usize>,
    placement: Placement,
    net: Arc<dyn Net>,
    entropy: Option<u64>,
    wall: Option<WallClock>,
    inline: bool,
    machine_threads: Option<Arc<dyn MachineThreads>>,
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Node {
    /// A node of this id that keeps its data in this directory.
    pub fn builder(id: &str, directory: impl Into<PathBuf>) -> NodeBuilder {
        NodeBuilder::new(id, directory.into())
    }

    /// One group on one node with nothing on disk: for tests and tutorials. The node ends with the last handle.
    pub async fn single_memory<M: StateMachine>(machine: M) -> Result<GroupHandle<M>, StartError> {
        let node = NodeBuilder::in_memory("node0").start().await?;
        let handle =
            node.group("main", machine).await.map_err(|error| StartError::Group { source: error })?;
        handle.keep_alive(Box::new(node));
        Ok(handle)
    }
}

impl NodeBuilder {
    fn new(id: &str, directory: PathBuf) -> Self {
        Self {
            id: id.to_owned(),
            storage: Storage::Directory(directory),
            listen: None,
            port_as_founded: false,
            advertise: None,
            api: String::new(),
            peers: Vec::new(),
            is_list: false,
            token: String::new(),
            join: Vec::new(),
            join_as: JoinAs::Voter,
            config: Config::default(),
            connections_max: None,
            placement: Placement::OwnThread,
            net: Arc::new(TokioNet::default()),
            entropy: None,
            wall: None,
            inline: false,
            machine_threads: None,
        }
    }

    fn in_memory(id: &str) -> Self {
        let mut builder = Self::new(id, PathBuf::new()).disk(Box::new(SimDisk::new()));
        builder.inline = true;
        builder
    }

    /// Listens for peers and clients at `host:port`; port 0 takes a free one, which only a node without peers can use: peers have to
    /// know it before. In a founded cluster the port is the one that the other members dial;
    /// another one is refused, unless what they dial is [advertised](Self::advertise).
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Listens at the port that the cluster's members know this node by, where its data directory has one, and otherwise at
    /// the port of [`listen`](Self::listen).
    #[must_use]
    pub fn port_as_founded(mut self) -> Self {
        self.port_as_founded = true;
        self
    }

    /// The address that peers dial, if it is not the one this node listens at.
    #[must_use]
    pub fn advertise(mut self, address: &str) -> Self {
        self.advertise = Some(address.to_owned());
        self
    }

    /// The address of this node's API, for its peers.
    #[must_use]
    pub fn api(mut self, address: &str) -> Self {
        address.clone_into(&mut self.api);
        self
    }

    /// Another node of the cluster, as it is founded. Once the cluster has a leader its replicated membership is the truth,
    /// with the addresses in it: the list may be left out then, and one that differs is warned of and not used.
    #[must_use]
    pub fn peer(self, id: &str, address: &str) -> Self {
        self.peer_with_api(id, address, "")
    }

    /// Another node of the cluster, with the address of its API.
    #[must_use]
    pub fn peer_with_api(mut self, id: &str, address: &str, api: &str) -> Self {
        self.peers.push((id.to_owned(), address.to_owned(), api.to_owned()));
        self
    }

    /// The nodes given are the list of a cluster, although it may have this node alone. Without this call and without peers there
    /// is no list, and a directory of a larger cluster is taken as it is.
    #[must_use]
    pub fn listed(mut self) -> Self {
        self.is_list = true;
        self
    }

    /// In place of a list: joins the cluster that has a member at one of these addresses, `host:port` where its bridge listens. The node
    /// is taken in as a learner of each group that it opens and other members have, and becomes a voter once it has caught up. An empty
    /// directory becomes one of that cluster at the start, which fails if no member answers within 30 s. Under the name of a member it
    /// waits until it is told to [replace](crate::Members::replace) that.
    #[must_use]
    pub fn join<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.join = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Stays a learner when it [joins](Self::join), until it is promoted by command.
    #[must_use]
    pub fn as_learner(mut self) -> Self {
        self.join_as = JoinAs::Learner;
        self
    }

    /// Keeps apart clusters with the same list of nodes.
    #[must_use]
    pub fn cluster_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// All other settings.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Connections of peers and clients that this node accepts at a time: 1,024 if not given, and at least one.
    #[must_use]
    pub fn connections_max(mut self, connections_max: usize) -> Self {
        self.connections_max = Some(connections_max.max(1));
        self
    }

    /// Checks the settings, opens the data and starts the actors.
    pub async fn start(self) -> Result<Node, StartError> {
        self.boxed().await
    }

    /// Makes this node's data directory, which must not be there, of a snapshot file of another cluster, and returns what was in it. The
    /// list of nodes, the token and the snapshot found a *new* cluster, which begins with that state and goes on at its index. Do it for each
    /// node of the list with the same file, and start them without the list: a node that was not restored is of another cluster. It blocks:
    /// reads the file twice and writes it once.
    pub fn restore(self, snapshot: &Path) -> Result<Restored, RestoreFailed> {
        self.config.validate().map_err(StartError::from)?;
        let id = NodeId::new(&self.id).map_err(StartError::from)?;
        let members = self.members(&id)?;
        let fingerprint = self.config.cluster.fingerprint();
        let entropy = self.entropy.unwrap_or_else(clock::entropy);
        let Storage::Directory(directory) = &self.storage else { return Err(RestoreFailed::NoDirectory) };
        let of = Restore { node: id, members, token: &self.token, fingerprint, entropy };
        restore(snapshot, directory, of)
    }

    /// The body of an async function is compiled where it is awaited, with everything that only it reaches: here every
    /// actor. In a box it is compiled with this crate, once, and not with each program that starts a node
    /// (`docs/decisions/0015-boxed-at-the-door.md`).
    fn boxed(self) -> Pin<Box<dyn Future<Output = Result<Node, StartError>> + Send>> {
        Box::pin(self.checked())
    }

    async fn checked(self) -> Result<Node, StartError> {
        self.config.validate()?;
        let id = NodeId::new(&self.id)?;
        let members = self.members(&id)?;
        let fingerprint = self.config.cluster.fingerprint();
        let is_list = self.is_list || !self.peers.is_empty();
        let entropy = self.entropy.unwrap_or_else(clock::entropy);
        let disk: Box<dyn Disk> = match self.storage {
            Storage::Directory(directory) => {
                let room_idle_max = Duration::from_millis(self.config.node.store_silence_ms_max);
                let options = FjallOptions { room_idle_max, ..FjallOptions::default() };
                Box::new(FjallDisk::lock(&directory, options)?)
            }
            Storage::Given(disk) => disk,
        };
        let (mut joins, mut cluster) = (None, None);
        if !self.join.is_empty() {
            if is_list {
                return Err(StartError::ListAndJoin { node: id });
            }
            if self.listen.is_none() {
                return Err(StartError::NotListening { node: id });
            }
            if peek(&*disk)?.is_none() {
                cluster = Some(reach(&self.join, self.net.clone(), entropy).await?);
            }
            let raft = members[&id].raft.clone();
            joins = Some(Joins { addresses: self.join, raft, as_learner: self.join_as == JoinAs::Learner });
        }
        let given = Given {
            members,
            is_list,
            token: self.token,
            fingerprint,
            is_joiner: joins.is_some(),
            joins: cluster,
        };
        let spec = NodeSpec {
            id,
            given,
            joins,
            listen: self.listen,
            port_as_founded: self.port_as_founded,
            api: self.api,
            config: self.config,
            connections_max: self.connections_max,
            net: self.net,
            entropy,
            workers: self
                .machine_threads
                .map_or(Workers::Caller, |threads| Workers::Given(threads, "".into())),
            snapshot_workers: Workers::Caller,
            wall: self.wall,
            inline: self.inline,
        };
        let running = lifetime::start(spec, disk, self.placement).await?;
        Ok(Node::new(running))
    }

    /// This node and its peers, each once, each with an address that can be dialled.
    fn members(&self, id: &NodeId) -> Result<BTreeMap<NodeId, Member>, StartError> {
        if self.listen.is_none() && !self.peers.is_empty() {
            return Err(StartError::NotListening { node: id.clone() });
        }
        let mut members = BTreeMap::new();
        let own = self.advertise.clone().or_else(|| self.listen.clone()).unwrap_or_default();
        if !own.is_empty() {
            check_address(id, &own)?;
        }
        members.insert(id.clone(), Member { raft: own, api: self.api.clone(), ..Member::default() });
        for (peer, address, api) in &self.peers {
            let peer = NodeId::new(peer)?;
            check_address(&peer, address)?;
            let member = Member { raft: address.clone(), api: api.clone(), ..Member::default() };
            if members.insert(peer.clone(), member).is_some() {
                return Err(StartError::Twice { node: peer });
            }
        }
        Ok(members)
    }
}

/// For simulation, and to run a node on parts of your own.
impl NodeBuilder {
    /// Runs the node's actors on the caller's runtime instead of a thread of their own: for simulation, and to measure
    /// what the thread is worth.
    #[must_use]
    pub fn on_callers_runtime(mut self) -> Self {
        self.placement = Placement::Caller;
        self
    }

    /// Keeps the data on this disk and not in the directory: a simulated disk, or your own.
    #[must_use]
    pub fn disk(mut self, disk: Box<dyn Disk>) -> Self {
        self.storage = Storage::Given(disk);
        self
    }

    /// Calls the disk from the log store's actor, without an I/O thread: for simulation.
    #[must_use]
    pub fn inline_disk(mut self) -> Self {
        self.inline = true;
        self
    }

    /// Runs state machines there, for a node on the [caller's runtime](Self::on_callers_runtime): for simulation. They run on
    /// that runtime's own thread otherwise.
    #[must_use]
    pub fn machine_threads(mut self, threads: Arc<dyn MachineThreads>) -> Self {
        self.machine_threads = Some(threads);
        self
    }

    /// Reaches peers over this network in place of the system's TCP: for simulation.
    #[must_use]
    pub fn net(mut self, net: Arc<dyn Net>) -> Self {
        self.net = net;
        self
    }

    /// Seeds election timeouts, jitter and the incarnation: for simulation. Drawn from the system otherwise.
    #[must_use]
    pub fn entropy(mut self, entropy: u64) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// Stamps entries with this in place of the system's clock, in milliseconds since 1970: for simulation.
    #[must_use]
    pub fn wall_clock(mut self, wall_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.wall = Some(Arc::new(wall_ms));
        self
    }
}

/// The cluster that a member at one of these addresses is of.
async fn reach(addresses: &[String], net: Arc<dyn Net>, entropy: u64) -> Result<Hash, StartError> {
    // Another client than the one that will ask to be taken in: no two may have the same randomness.
    let client = client_of(addresses, net, !entropy).await.map_err(|source| StartError::Join { source })?;
    let reached = client.reach_cluster(deadline_after(REACH_MAX)).await;
    client.close().await;
    reached.map_err(|detail| StartError::NotReached {
        addresses: addresses.join(", "),
        detail,
        waited_ms: u64::try_from(REACH_MAX.as_millis()).unwrap_or(u64::MAX),
    })
}

fn check_address(node: &NodeId, address: &str) -> Result<(), StartError> {
    if is_host_and_port(address) {
        return Ok(());
    }
    Err(StartError::Address { node: node.clone(), address: address.chars().take(120).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(builder: NodeBuilder) -> String {
        builder.start().await.expect_err("refused").to_string()
    }

    #[tokio::test]
    async fn wrong_settings_name_the_mistake_and_the_remedy() {
        let node = || NodeBuilder::new("node0", PathBuf::from("unused"));
        assert!(refused(NodeBuilder::new("a b", PathBuf::new())).await.contains("\"a b\" is not a name"));
        assert!(refused(node().peer("node1", "h:1")).await.contains("does not listen"));
        let twice = node().listen("h:1").peer("node0", "h:2");
        assert!(refused(twice).await.contains("node0 is named twice"));
        let address = node().listen("h:1").peer("node1", "nowhere");
        assert!(refused(address).await.contains("\"nowhere\" of node1 is not host:port"));
        let mut config = Config::default();
        config.live.call_timeout_ms = 0;
        assert!(refused(node().config(config)).await.contains("call_timeout_ms is 0"));
    }
}

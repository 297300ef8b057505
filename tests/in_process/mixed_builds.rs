//! Nodes of different builds in one cluster: what a build cannot read is neither skipped nor appended by it.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader};
use quorate::{Consistency, Node, Outcome, ProposeError, QueryError, StateMachine};
use quorate_bridge::{Bridge, BridgeOptions, Encoding, Identity, PeerAddress, PeerKind, Protocol};
use quorate_core::{
    AppendEntries, Body, Boot, Entry, EntryKind, GroupId, Hash, Index, LogId, Message, NodeId, Position,
    ReplicationSession, Round, Term, Time,
};
use quorate_tests::cluster::{Cluster, free_ports, quick, quiet_panics};
use quorate_tests::wait::{PATIENCE, eventually};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The node whose build is old. A node is told by the names of its threads.
static OLD: Mutex<Option<usize>> = Mutex::new(None);

fn is_old() -> bool {
    let old = OLD.lock().expect("no test panics with it").map(|at| format!("node{at}/"));
    let thread = std::thread::current();
    old.is_some_and(|old| thread.name().is_some_and(|name| name.starts_with(&old)))
}

/// `2` was added by a later build.
#[derive(Clone, Copy, Serialize)]
struct Command(u8);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Command(u8);
        let Command(kind) = Command::deserialize(decoder)?;
        if kind == 2 && is_old() {
            return Err(de::Error::custom("unknown variant 2"));
        }
        Ok(Self(kind))
    }
}

#[derive(Default)]
struct Sum(u64);

impl StateMachine for Sum {
    type Command = Command;
    type Reply = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, Command(kind): Command) -> u64 {
        self.0 += u64::from(kind);
        self.0
    }

    fn query(&self, (): ()) -> u64 {
        self.0
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(self.0)
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value().map(Self)
    }
}

#[tokio::test]
async fn an_old_build_appends_no_command_that_it_cannot_read_and_stops_at_one_in_its_log() -> Result<()> {
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let groups = cluster.group("sum", Sum::default).await?;
    let old = cluster.leader(&groups).await?;
    let other = (old + 1) % 3;
    assert_eq!(groups[other].propose(Command(1)).await?, 1);
    *OLD.lock().expect("no one panics") = Some(old);
    let refused = groups[other].propose(Command(2)).await.expect_err("the leader cannot read it");
    assert!(
        matches!(&refused, ProposeError::NotReadHere { detail } if detail.contains("unknown variant 2")),
        "{refused}"
    );
    assert_eq!(refused.outcome(), Outcome::Refused);

    let to = cluster.node(other).id().clone();
    groups[old].transfer(Some(to), PATIENCE).await?;
    assert_eq!(
        groups[other].propose_by(Command(2), PATIENCE).await?.reply,
        3,
        "a leader that can read it takes it"
    );
    let halted = eventually("the old build stops", async || groups[old].status().await.halted).await?;
    let index = groups[old].status().await.fault_here.expect("it has an index").to_string();
    for part in [index.as_str(), "unknown variant 2", "upgrade this node"] {
        assert!(halted.contains(part), "{part}: {halted}");
    }
    let asked = groups[old].query_by((), Consistency::Stale, Duration::from_secs(1)).await;
    assert!(asked.is_err(), "it answers nothing that the others would not: {asked:?}");
    assert_eq!(groups[other].propose(Command(1)).await?, 4, "the others go on");
    cluster.stop_all().await;
    Ok(())
}

/// The protocol of a group, as far as it is cast.
struct Group;

#[derive(Serialize, Deserialize)]
enum Request {
    Consensus { protocol: u8, message: Bytes },
}

impl Protocol for Group {
    type Message = Request;
    type Reply = ();
    const NAME: &'static str = "quorate.group";
    const VERSION: u16 = 2;
    const ENCODING: Encoding = Encoding::Named;
}

/// What node1 sends of a log that has a no-op at index 1.
fn append() -> Vec<u8> {
    let entry = Entry::follow(Position::ORIGIN, Term(7), 1, EntryKind::Noop, Bytes::new(), Hash::of(b""));
    let append = AppendEntries {
        session: ReplicationSession(1),
        prev: LogId::default(),
        entries: vec![entry].into(),
        commit: Index::ZERO,
        round: Round::ZERO,
        sent_at: Time(1),
        snapshot: None,
    };
    let node = |id| NodeId::new(id).expect("a legal name");
    let body = Body::AppendEntries(append);
    Message { from: node("node1"), to: node("node0"), boot: Boot(1), term: Term(7), body }.encode().to_vec()
}

/// A replica that cannot read what its leader sends lacked it without a word.
#[tokio::test]
async fn a_replica_that_cannot_read_the_entries_of_a_peer_says_which_and_what_to_do() -> Result<()> {
    let ports = free_ports(2)?;
    let at = |port: usize| format!("127.0.0.1:{}", ports[port]);
    let directory = tempfile::tempdir()?;
    let node = Node::builder("node0", directory.path())
        .config(quick())
        .listen(&at(0))
        .peer("node1", &at(1))
        .start()
        .await?;
    let group = node.group("sum", Sum::default()).await?;
    let identity = Identity {
        kind: PeerKind::Peer,
        fingerprint: quick().cluster.fingerprint(),
        ..Identity::peer(node.identity().cluster.0, "node1", 7, 1)
    };
    let bridge = Bridge::start(BridgeOptions::new("node1", identity), None).await?;
    bridge.add_peer(PeerAddress::new("node0", at(0)))?;
    let remote = bridge.remote::<Group>("node0", &format!("group/{}", GroupId::of_name("sum")))?;
    let send = |message: Vec<u8>| remote.cast(&Request::Consensus { protocol: 1, message: message.into() });
    let mut newer = append();
    let kind = newer.len() - quorate_core::HEADER_BYTES + 1;
    newer[kind] = 9;
    let halted = eventually("it says so", async || {
        let _ = send(newer.clone());
        group.status().await.halted
    })
    .await?;
    for part in ["index 1", "kind 9", "upgrade this node", "node1"] {
        assert!(halted.contains(part), "{part}: {halted}");
    }
    let asked =
        group.query_by((), Consistency::Linearizable, Duration::from_millis(500)).await.expect_err("halted");
    assert!(
        matches!(&asked, QueryError::NotReady { detail } if detail.contains("upgrade this node")),
        "{asked}"
    );
    eventually("entries that it can read end it", async || {
        let _ = send(append());
        group.status().await.halted.is_none().then_some(())
    })
    .await?;
    bridge.stop().await;
    node.stop().await;
    Ok(())
}

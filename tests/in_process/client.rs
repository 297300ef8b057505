//! `quorate::Client`, the way `quorate bench` goes into a cluster: it finds the leader, and what it retries under a
//! session happens once.

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{
    Add, ApplyContext, CLIENTS_MAX, Counter, Kv, KvCommand, KvReply, RestoreError, Snapshot, SnapshotReader,
    Total,
};
use quorate::{
    Client, ClientError, ClientOptions, Consistency, Outcome, ProposeError, QueryError, StateMachine,
};
use quorate_tests::cluster::{Cluster, free_ports, quick};
use quorate_tests::wait::PATIENCE;
use serde::{Deserialize, Serialize, Serializer, ser};
use tokio::task::JoinSet;

/// How many propose at once.
const CALLERS: u64 = 8;
/// How many each of them proposes.
const EACH: u64 = 50;

fn options() -> ClientOptions {
    ClientOptions { timeout: PATIENCE, ..ClientOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_what_a_session_retries_happens_once_under_any_leader() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let handles = cluster.group("counter", Counter::default).await?;
    let first = cluster.leader(&handles).await?;
    let addresses: Vec<String> = (0..3).map(|at| format!("127.0.0.1:{}", cluster.port(at))).collect();
    let client = Client::connect(addresses, options()).await?;
    let count = client.group::<Counter>("counter");
    let total = count.propose(Add(1)).await?.reply;
    assert_eq!(total, 1);

    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let count = count.clone();
        callers.spawn(async move {
            for _ in 0..EACH {
                count.propose(Add(1)).await?.reply.checked()?;
            }
            anyhow::Ok(())
        });
    }
    // The first caller to be done has seen the leader at work; the others see it die.
    callers.join_next().await.context("there are callers")???;
    cluster.kill(first).await;
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let total = count.query(Total, Consistency::Linearizable).await?;
    assert_eq!(total, i64::try_from(1 + CALLERS * EACH)?, "each acknowledged once, none twice");
    client.close().await;
    cluster.stop_all().await;
    Ok(())
}

/// A client that was given one address could only write if its node led.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_given_one_follower_writes_and_outlives_it() -> Result<()> {
    let mut cluster = Cluster::start(3, quick()).await?;
    let handles = cluster.group("counter", Counter::default).await?;
    let leader = cluster.leader(&handles).await?;
    let follower = (leader + 1) % 3;
    let address = || [format!("127.0.0.1:{}", cluster.port(follower))];
    let (writes, reads) =
        (Client::connect(address(), options()).await?, Client::connect(address(), options()).await?);
    let written = writes.group::<Counter>("counter");
    assert_eq!(written.propose(Add(1)).await?.reply, 1);
    // This one is served by the follower and has no failure to learn from.
    let read = reads.group::<Counter>("counter");
    assert_eq!(read.query(Total, Consistency::Linearizable).await?, 1);

    cluster.kill(follower).await;
    assert_eq!(written.propose(Add(1)).await?.reply, 2);
    assert_eq!(read.query(Total, Consistency::Linearizable).await?, 2);
    // It comes back, the leader goes: there is a majority again, of which no one was named.
    cluster.start_node(follower).await?;
    let back = cluster.node(follower).group("counter", Counter::default()).await?;
    cluster.kill(leader).await;
    assert_eq!(written.propose(Add(1)).await?.reply, 3);
    assert_eq!(read.query(Total, Consistency::Linearizable).await?, 3);
    drop(back);
    for client in [writes, reads] {
        client.close().await;
    }
    cluster.stop_all().await;
    Ok(())
}

/// What is in the log must fit into one message to a peer. One that did not, by a few bytes, stopped its group permanently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_no_peer_could_be_sent_is_refused_and_the_next_one_is_taken() -> Result<()> {
    let cluster = Cluster::start(3, quick()).await?;
    let handles = cluster.group("kv", Kv::default).await?;
    cluster.leader(&handles).await?;
    let addresses = (0..3).map(|at| format!("127.0.0.1:{}", cluster.port(at)));
    // This client has no limit of its own, as any program may be written that speaks the protocol.
    let options = ClientOptions { command_bytes_max: 64 << 20, ..options() };
    let client = Client::connect(addresses, options).await?;
    let kv = client.group::<Kv>("kv");
    for bytes in [(1 << 20) + 1, (8 << 20) + 1, 16_776_900, 16_777_000, 16_777_100, 16_777_216, 17 << 20] {
        let error = kv.propose(KvCommand::set("key", vec![7; bytes])).await.expect_err("it is too large");
        assert_eq!(error.outcome(), Outcome::Refused, "{bytes} bytes: {error}");
    }
    let taken = kv.propose(KvCommand::set("key", "value")).await?.reply;
    assert_eq!(taken, KvReply::Set { previous: None });
    client.close().await;
    cluster.stop_all().await;
    Ok(())
}

/// The cluster remembers so many clients; then it forgets, and may not take who comes back for new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_12_bug_76_a_forgotten_client_goes_on_and_a_new_one_begins() -> Result<()> {
    let cluster = Cluster::start(1, quick()).await?;
    let handles = cluster.group("counter", Counter::default).await?;
    cluster.leader(&handles).await?;
    let address = format!("127.0.0.1:{}", cluster.port(0));
    let (mine, others) = (
        Client::connect([address.clone()], options()).await?,
        Client::connect([address.clone()], options()).await?,
    );
    let count = mine.group::<Counter>("counter");
    assert_eq!(count.propose(Add(1)).await?.reply, 1);
    // Proposals under way at once have a session each.
    let mut callers = JoinSet::new();
    for _ in 0..CLIENTS_MAX + 100 {
        let count = others.group::<Counter>("counter");
        callers.spawn(async move { count.propose(Add(0)).await });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    assert_eq!(count.propose(Add(1)).await?.reply, 2, "it was forgotten");
    assert_eq!(count.propose(Add(1)).await?.reply, 3);
    let late = Client::connect([address], options()).await?;
    assert_eq!(late.group::<Counter>("counter").propose(Add(1)).await?.reply, 4, "it knows no index yet");
    assert_eq!(count.query(Total, Consistency::Linearizable).await?, 4);
    for client in [mine, others, late] {
        client.close().await;
    }
    cluster.stop_all().await;
    Ok(())
}

/// A counter whose query cannot be written.
struct Mute;

impl StateMachine for Mute {
    type Command = u8;
    type Reply = ();
    type Query = Wordless;
    type Answer = ();

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, _: u8) {}

    fn query(&self, _: Wordless) {}

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(())
    }

    fn restore(_: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        Ok(Self)
    }
}

#[derive(Deserialize)]
struct Wordless;

impl Serialize for Wordless {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("no words"))
    }
}

/// A retry, which *not ready* asks for, would end the same way.
#[tokio::test]
async fn a_query_that_cannot_be_written_is_called_unreadable() -> Result<()> {
    let client = Client::connect(["127.0.0.1:1"], options()).await?;
    let error = client.group::<Mute>("mute").query(Wordless, Consistency::Stale).await.expect_err("no words");
    assert!(matches!(error, QueryError::Unreadable { .. }), "{error}");
    client.close().await;
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_refused_and_says_why() -> Result<()> {
    let port = free_ports(1)?[0];
    let options = ClientOptions { timeout: Duration::from_millis(300), ..options() };
    let client = Client::connect([format!("127.0.0.1:{port}")], options).await?;
    let error = client.group::<Counter>("counter").propose(Add(1)).await.err().context("no node is there")?;
    assert_eq!(error.outcome(), Outcome::Refused, "{error}");
    assert!(
        matches!(&error, ProposeError::NotReady { detail, .. } if detail.contains("127.0.0.1")),
        "{error}"
    );
    client.close().await;
    let none = Client::connect(Vec::<String>::new(), ClientOptions::default()).await;
    assert!(matches!(none, Err(ClientError::NoAddress)));
    Ok(())
}

/// A deadline that no clock can show panicked in the caller's task.
#[tokio::test]
async fn the_longest_timeout_is_a_timeout_in_every_call() -> Result<()> {
    let cluster = Cluster::start(1, quick()).await?;
    let handles = cluster.group("counter", Counter::default).await?;
    let options = ClientOptions { timeout: Duration::MAX, ..ClientOptions::default() };
    let client = Client::connect([format!("127.0.0.1:{}", cluster.port(0))], options).await?;
    let (count, here) = (client.group::<Counter>("counter"), &handles[0]);
    let key = |text: &str| quorate::machine::IdempotencyKey::of_text(text);
    assert!(here.wait_for_leader(Duration::MAX).await.is_some());
    assert_eq!(count.propose(Add(1)).await?.reply, 1);
    assert_eq!(count.propose_by(Add(1), Duration::MAX).await?.reply, 2);
    assert_eq!(count.propose_once(key("a"), Add(1), Duration::MAX).await?.reply, 3);
    assert_eq!(here.propose_by(Add(1), Duration::MAX).await?.reply, 4);
    assert_eq!(here.propose_once(key("b"), Add(1), Duration::MAX).await?.reply, 5);
    assert_eq!(count.query(Total, Consistency::Linearizable).await?, 5);
    assert_eq!(count.query_by(Total, Consistency::Linearizable, Duration::MAX).await?.answer, 5);
    assert_eq!(here.query_by(Total, Consistency::Linearizable, Duration::MAX).await?.answer, 5);
    let me = here.wait_for_leader(PATIENCE).await;
    assert_eq!(here.transfer(me.clone(), Duration::MAX).await.ok(), me);
    client.close().await;
    cluster.stop_all().await;
    Ok(())
}

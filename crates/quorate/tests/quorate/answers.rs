//! What a caller is told where a machine or a group is not there: the cause, and the names that the user gave.

use std::time::Duration;

use anyhow::Result;
use quorate::machine::{
    Add, ApplyContext, Counter, IdempotencyKey, RestoreError, Snapshot, SnapshotReader, Total,
};
use quorate::{Client, ClientError, ClientOptions, Consistency, Node, Outcome, ProposeError, StateMachine};

/// Adds up, and panics on thirteen.
#[derive(Default)]
struct Superstitious(i64);

impl StateMachine for Superstitious {
    type Command = i64;
    type Reply = i64;
    type Query = ();
    type Answer = i64;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, amount: i64) -> i64 {
        assert!(amount != 13, "thirteen is feared");
        self.0 += amount;
        self.0
    }

    fn query(&self, (): ()) -> i64 {
        self.0
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(self.0)
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value().map(Self)
    }
}

/// Writes two values, and reads back one of them: a forgotten field.
struct Forgetful;

impl StateMachine for Forgetful {
    type Command = i64;
    type Reply = ();
    type Query = ();
    type Answer = ();

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, _: i64) {}

    fn query(&self, (): ()) {}

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value((7_u8, 8_u8))
    }

    fn restore(mut reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let mut first = [0];
        std::io::Read::read_exact(&mut reader, &mut first)
            .map_err(|_| RestoreError::invalid("it is empty"))?;
        Ok(Self)
    }
}

fn says(error: &dyn std::fmt::Display, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// The entry is one of the next: that of the cluster's membership may come between.
fn says_where(error: &ProposeError, before: u64) {
    let text = error.to_string();
    let is_there = |index: u64| text.contains(&format!("panicked at index {index}:"));
    assert!((before + 1..before + 4).any(is_there), "no entry soon after {before} is in: {text}");
}

/// A node alone, which clients can dial, and one of them.
async fn node_and_client(directory: &std::path::Path, timeout: Duration) -> Result<(Node, Client)> {
    let node = Node::builder("n1", directory).listen("127.0.0.1:0").start().await?;
    let address = node.local_addr().expect("it listens").to_string();
    let client = Client::connect([address], ClientOptions { timeout, ..ClientOptions::default() }).await?;
    Ok((node, client))
}

#[tokio::test]
async fn who_proposed_what_a_machine_panics_on_is_told_so() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (node, client) = node_and_client(directory.path(), Duration::from_secs(60)).await?;
    let jobs = node.group("jobs", Superstitious::default()).await?;
    let before = jobs.propose_by(1, Duration::from_secs(60)).await?;
    let told =
        client.group::<Superstitious>("jobs").propose_without_session(13).await.expect_err("it panics");
    assert_eq!(told.outcome(), Outcome::Unknown, "{told}");
    says_where(&told, before.index);
    says(&told, &["thirteen is feared", "group jobs", "node n1"]);

    let feared = node.group("feared", Superstitious::default()).await?;
    let before = feared.propose_by(1, Duration::from_secs(60)).await?;
    let told = feared.propose(13).await.expect_err("it panics");
    assert_eq!(told.outcome(), Outcome::Unknown, "{told}");
    says_where(&told, before.index);
    says(&told, &["thirteen is feared", "group feared", "node n1"]);

    // A client that may send it again does so until the group is faulted, and is told of both.
    let more = node.group("more", Superstitious::default()).await?;
    more.propose_by(1, Duration::from_secs(60)).await?;
    let told = client.group::<Superstitious>("more").propose(13).await.expect_err("it panics");
    assert_eq!(told.outcome(), Outcome::Unknown, "{told}");
    says(&told, &["panicked at index", "thirteen is feared", "group more", "faulted at index"]);
    client.close().await;
    node.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_machine_that_cannot_be_restored_says_why() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::builder("n1", directory.path()).start().await?;
    let jobs = node.group("jobs", Forgetful).await?;
    let told = jobs.propose_by(1, Duration::from_secs(60)).await.expect_err("there is no machine");
    assert!(matches!(told, ProposeError::Faulted { index: 0, .. }), "{told}");
    says(&told, &["cannot be restored", "were read"]);
    assert!(!told.to_string().contains("panics"), "nothing did: {told}");
    let asked = jobs.query((), Consistency::Stale).await.expect_err("there is no machine");
    says(&asked, &["cannot be restored", "were read"]);
    let halted = jobs.status().await.halted.expect("it is");
    says(&halted, &["cannot be restored"]);
    node.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_misspells_a_group_is_told_its_name_and_the_node() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (node, client) = node_and_client(directory.path(), Duration::from_secs(1)).await?;
    let jobs = node.group("jobs", Counter::default()).await?;
    assert_eq!(jobs.propose(Add(1)).await?, 1);
    let job = client.group::<Counter>("job");
    let told = job.propose(Add(1)).await.expect_err("there is none");
    assert_eq!(told, ProposeError::NoSuchGroup { group: "job".into(), node: "n1".into() });
    let asked = job.query(Total, Consistency::Linearizable).await.expect_err("there is none");
    for told in [told.to_string(), asked.to_string()] {
        says(&told, &["group job", "node n1"]);
        assert!(!told.contains("group/"), "no one knows it by a number: {told}");
    }
    client.close().await;
    node.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_client_has_the_keys_and_the_deadlines_of_a_handle() -> Result<()> {
    let (directory, patience) = (tempfile::tempdir()?, Duration::from_secs(60));
    let (node, client) = node_and_client(directory.path(), patience).await?;
    node.group("jobs", Counter::default()).await?;
    let key = IdempotencyKey::of_text("order-4711");
    let first = client.group::<Counter>("jobs").propose_once(key, Add(5), patience).await?;
    client.close().await;

    // The program is started again, and does not know whether its order was taken.
    let address = node.local_addr().expect("it listens").to_string();
    let client = Client::connect([address], ClientOptions::default()).await?;
    let jobs = client.group::<Counter>("jobs");
    let again = jobs.propose_once(key, Add(5), patience).await?;
    assert_eq!(again.index, first.index);
    assert_eq!(again.reply, 5);
    let other = jobs.propose_once(key, Add(6), patience).await;
    assert_eq!(other, Err(ProposeError::KeyReused { index: first.index }));
    let next = jobs.propose_by(Add(1), patience).await?;
    assert_eq!(next.reply, 6);
    let answered = jobs.query_by(Total, Consistency::Stale, patience).await?;
    assert_eq!(answered.answer, 6);
    assert!(answered.applied >= next.index, "{answered:?} shows {next:?}");
    client.close().await;
    node.stop().await;
    Ok(())
}

/// A name without a port was dialled until the deadline of each call.
#[tokio::test]
async fn an_address_without_a_port_is_refused_at_once() {
    for address in ["127.0.0.1", "127.0.0.1:", ":7000", "host:http"] {
        let refused = Client::connect([address], ClientOptions::default()).await;
        assert!(matches!(refused, Err(ClientError::Address { .. })), "{address}: {refused:?}");
    }
}

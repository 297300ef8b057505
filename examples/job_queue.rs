//! A program of your own in three processes: a bounded queue of jobs, a process that is killed, and nothing lost.
//!
//! `cargo run -p quorate-examples --example job_queue` starts itself three times and is their client. The tutorial
//! `docs/tutorial/own-machine.md` explains it.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader, StateMachine};
use quorate::{Client, ClientOptions, Consistency, Node};
use quorate_examples::{free_addresses, log, quick};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Jobs {
    tickets: u64,
    waiting: VecDeque<(u64, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Change {
    Push { job: String, at_most: usize },
    Take,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Done {
    Pushed { ticket: u64 },
    Full,
    Took(Option<(u64, String)>),
}

impl StateMachine for Jobs {
    type Command = Change;
    type Reply = Done;
    /// How many wait?
    type Query = ();
    type Answer = usize;

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, change: Change) -> Done {
        match change {
            Change::Push { at_most, .. } if self.waiting.len() >= at_most => Done::Full,
            Change::Push { job, .. } => {
                self.tickets += 1;
                self.waiting.push_back((self.tickets, job));
                Done::Pushed { ticket: self.tickets }
            }
            Change::Take => Done::Took(self.waiting.pop_front()),
        }
    }

    fn query(&self, (): ()) -> usize {
        self.waiting.len()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(self.clone())
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value()
    }
}

/// A node: it is called as `job_queue DIRECTORY OWN-NUMBER ADDRESS..`, with the same addresses on every node.
async fn serve(directory: &str, own: usize, addresses: &[String]) -> Result<()> {
    let id = format!("node{own}");
    let own_address = addresses.get(own).context("the own number is one of the addresses")?;
    let mut builder = Node::builder(&id, Path::new(directory).join(&id)).listen(own_address).config(quick());
    for (at, address) in addresses.iter().enumerate().filter(|(at, _)| *at != own) {
        builder = builder.peer(&format!("node{at}"), address);
    }
    let node = builder.start().await?;
    let _jobs = node.group("jobs", Jobs::default()).await?;
    // Until Ctrl-C, or until the node has a reason to end by itself.
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal?,
        failure = node.failed() => anyhow::bail!("{}", failure.context("it says why")?),
    }
    node.stop().await;
    Ok(())
}

fn spawn(directory: &Path, own: usize, addresses: &[String]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(directory).arg(own.to_string()).args(addresses).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn use_it() -> Result<()> {
    let (directory, addresses) = (tempfile::tempdir()?, free_addresses(3)?);
    let mut nodes: Vec<Child> =
        (0..3).map(|own| spawn(directory.path(), own, &addresses)).collect::<Result<_>>()?;

    let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
    let client = Client::connect(addresses.clone(), options).await?;
    let jobs = client.group::<Jobs>("jobs");
    let push = |job: &str| Change::Push { job: job.to_owned(), at_most: 2 };
    for (at, job) in ["wash", "dry", "iron"].into_iter().enumerate() {
        let done = jobs.propose(push(job)).await?.reply;
        println!("push {job}: {done:?}");
        let expected = if at < 2 { Done::Pushed { ticket: at as u64 + 1 } } else { Done::Full };
        ensure!(done == expected, "a refusal is a reply");
    }

    // As a lost machine: kill -9. Leader or not, two of three go on.
    nodes[0].kill().await?;
    let took = jobs.propose(Change::Take).await?.reply;
    println!("node0 killed, take: {took:?}");
    ensure!(took == Done::Took(Some((1, "wash".into()))), "what was acknowledged is there");

    // All of them, and they start again from their directories.
    for node in &mut nodes[1..] {
        node.kill().await?;
    }
    let _again: Vec<Child> =
        (0..3).map(|own| spawn(directory.path(), own, &addresses)).collect::<Result<_>>()?;
    let waiting = jobs.query((), Consistency::Linearizable).await?;
    println!("all killed and started again, waiting: {waiting:?}");
    client.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    log();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => use_it().await,
        [directory, own, addresses @ ..] => serve(directory, own.parse()?, addresses).await,
        [_] => anyhow::bail!("usage: job_queue [DIRECTORY OWN-NUMBER ADDRESS..]"),
    }
}

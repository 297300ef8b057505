//! Your own state machine: seats that are held for a while. It asks no clock and draws no number by itself: the
//! entry brings the time, and a refusal is a reply.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader, StateMachine};
use quorate::{Consistency, Node};
use serde::{Deserialize, Serialize};

/// How long a seat is held, in milliseconds of the leader's clock.
const HOLD_MS: u64 = 60_000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seats {
    held: BTreeMap<u32, Hold>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Hold {
    by: String,
    until_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    Hold { seat: u32, by: String },
    Release { seat: u32, by: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Reply {
    Held { until_ms: u64 },
    Released,
    Taken { by: String },
    NotYours,
}

impl StateMachine for Seats {
    type Command = Command;
    type Reply = Reply;
    /// Which seat?
    type Query = u32;
    /// Who holds it.
    type Answer = Option<String>;

    fn apply(&mut self, cx: &mut ApplyContext<'_>, command: Command) -> Reply {
        // The time comes from the log, so every replica, and every replay, sees the same.
        let now_ms = cx.time_ms();
        self.held.retain(|_, hold| hold.until_ms > now_ms);
        match command {
            Command::Hold { seat, by } => match self.held.get(&seat) {
                Some(hold) if hold.by != by => Reply::Taken { by: hold.by.clone() },
                Some(_) | None => {
                    let until_ms = now_ms + HOLD_MS;
                    self.held.insert(seat, Hold { by, until_ms });
                    Reply::Held { until_ms }
                }
            },
            Command::Release { seat, by } => match self.held.get(&seat) {
                Some(hold) if hold.by == by => {
                    self.held.remove(&seat);
                    Reply::Released
                }
                Some(_) | None => Reply::NotYours,
            },
        }
    }

    fn query(&self, seat: u32) -> Option<String> {
        self.held.get(&seat).map(|hold| hold.by.clone())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(self.clone())
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = || Node::builder("node0", directory.path()).start();
    let node = start().await?;
    let seats = node.group("seats", Seats::default()).await?;
    let hold = |by: &str| Command::Hold { seat: 7, by: by.to_owned() };

    let ann = seats.propose(hold("ann")).await?;
    let bob = seats.propose(hold("bob")).await?;
    println!("ann: {ann:?}\nbob: {bob:?}");
    ensure!(
        matches!(ann, Reply::Held { .. }) && bob == Reply::Taken { by: "ann".into() },
        "the first one has it"
    );
    let wrong = seats.propose(Command::Release { seat: 7, by: "bob".into() }).await?;
    ensure!(wrong == Reply::NotYours, "a refusal is a reply: {wrong:?}");

    // The state is not written anywhere but in the log: a new process replays it and is where it was.
    node.stop().await;
    let node = start().await?;
    let seats = node.group("seats", Seats::default()).await?;
    let holder = seats.query(7_u32, Consistency::Linearizable).await?;
    println!("after a restart seat 7 is held by {holder:?}");
    ensure!(holder.as_deref() == Some("ann"), "the log was replayed");
    let released = seats.propose(Command::Release { seat: 7, by: "ann".into() }).await?;
    ensure!(released == Reply::Released && seats.propose(hold("bob")).await? != bob, "bob has it at last");
    node.stop().await;
    Ok(())
}

//! An application links a Raft actor into its own ractor tree: it calls it as any actor, starts it again when it fails,
//! and is told when the group is over. The group itself is supervised by its node alone.

use anyhow::{Context, Result, ensure};
use quorate::machine::{Add, Added, Counter, Total};
use quorate::{Consistency, FacadeMessage, GroupHandle, Injury, Node};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc;

const PATIENCE_MS: u64 = 10_000;

/// The application's own supervisor.
struct Supervisor;

enum Ask {
    /// The running facade.
    Facade(RpcReplyPort<ActorRef<FacadeMessage<Counter>>>),
}

struct State {
    count: GroupHandle<Counter>,
    facade: ActorRef<FacadeMessage<Counter>>,
    ends: mpsc::Sender<String>,
}

impl Actor for Supervisor {
    type Msg = Ask;
    type State = State;
    type Arguments = (GroupHandle<Counter>, mpsc::Sender<String>);

    async fn pre_start(
        &self,
        me: ActorRef<Ask>,
        (count, ends): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let facade = count.spawn_facade(Some(me.get_cell())).await?;
        Ok(State { count, facade, ends })
    }

    async fn handle(&self, _: ActorRef<Ask>, ask: Ask, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Ask::Facade(reply) = ask;
        Ok(reply.send(state.facade.clone())?)
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Ask>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let why = match event {
            SupervisionEvent::ActorTerminated(_, _, why) => why.unwrap_or_else(|| "stopped".into()),
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            _ => return Ok(()),
        };
        // A facade that ended because the group is over would end again.
        if !why.contains("the node stopped") {
            state.facade = state.count.spawn_facade(Some(me.get_cell())).await?;
        }
        Ok(state.ends.send(why).await?)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::builder("node0", directory.path()).start().await?;
    let count = node.group("counter", Counter::default()).await?;
    let (ends, mut ended) = mpsc::channel(8);
    let (supervisor, join) = Actor::spawn(None, Supervisor, (count.clone(), ends)).await?;

    println!("through the facade: {}", add(&supervisor).await?);

    // The Raft actors behind it may crash: the node heals them, and the facade finds the group again.
    let victim =
        node.actors().into_iter().find(|actor| actor.kind == "leader").context("the one node leads")?;
    ensure!(node.injure(&victim.name, Injury::Panic), "{} is there", victim.name);
    println!("{} panicked; through the same facade: {}", victim.name, total(&supervisor).await?);
    ensure!(ended.try_recv().is_err(), "the application's tree saw nothing of it");

    // The facade itself is the application's: its end is an event to the supervisor, which starts another.
    facade(&supervisor).await?.kill();
    let why = ended.recv().await.context("the supervisor saw the end")?;
    let total = add(&supervisor).await?;
    println!("the facade was killed ({why}); through the next one: {total}");
    ensure!(total == 2, "the state is the group's, not the facade's: {total}");

    // When the node ends the facade ends, and says why.
    node.stop().await;
    let why = ended.recv().await.context("the supervisor saw the end")?;
    println!("the facade ended: {why}");
    ensure!(why.contains("the node stopped"), "{why}");
    supervisor.stop(None);
    join.await?;
    Ok(())
}

async fn facade(supervisor: &ActorRef<Ask>) -> Result<ActorRef<FacadeMessage<Counter>>> {
    Ok(ractor::call_t!(supervisor, Ask::Facade, PATIENCE_MS)?)
}

/// Adds one through the facade: a call as to any actor. Its error says refused, failed or unknown.
async fn add(supervisor: &ActorRef<Ask>) -> Result<Added> {
    Ok(ractor::call_t!(facade(supervisor).await?, FacadeMessage::Propose, PATIENCE_MS, Add(1))??)
}

/// A query changes nothing, so the group asks it again by itself while it heals.
async fn total(supervisor: &ActorRef<Ask>) -> Result<i64> {
    let consistency = Consistency::Linearizable;
    Ok(ractor::call_t!(
        facade(supervisor).await?,
        FacadeMessage::Query,
        PATIENCE_MS,
        Total.into(),
        consistency
    )??)
}

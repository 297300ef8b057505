//! Two processes, one actor: a remote ping, then the actor crashes, then its process ends, and a monitor tells both.
//!
//! `cargo run -p quorate-examples --example bridge_ping` starts itself a second time as the child.

use anyhow::Context;
use quorate_bridge::{
    Bridge, BridgeHandle, BridgeOptions, DownReason, Exposed, Identity, Inbound, MonitorChange, MonitorEvent,
    PeerAddress, Protocol,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

const CLUSTER: [u8; 32] = *b"bridge_ping: all of one example.";
const PATIENCE: Duration = Duration::from_secs(5);

/// The contract both processes compile in.
struct PingPong;

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    Ping { n: u64 },
    Crash,
}

impl Protocol for PingPong {
    type Message = Ask;
    type Reply = u64;
    const NAME: &'static str = "ping-pong";
    const VERSION: u16 = 1;
}

struct Ponger;

/// What the bridge casts: everything that came for us in one read of the socket.
struct Arrived(Vec<Inbound<PingPong>>);

impl From<Vec<Inbound<PingPong>>> for Arrived {
    fn from(batch: Vec<Inbound<PingPong>>) -> Self {
        Self(batch)
    }
}

impl Actor for Ponger {
    type Msg = Arrived;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Arrived>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Arrived>,
        batch: Arrived,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        for Inbound { message, reply, .. } in batch.0 {
            match (message, reply) {
                (Ask::Ping { n }, Some(reply)) => reply.send(&(n + 1))?,
                (Ask::Ping { .. }, None) => {}
                (Ask::Crash, _) => return Err("asked to crash".into()),
            }
        }
        Ok(())
    }
}

async fn bridge(node: &str) -> anyhow::Result<BridgeHandle> {
    let mut options = BridgeOptions::new(node, Identity::peer(CLUSTER, node, 1, 1));
    options.listen = Some("127.0.0.1:0".into());
    Ok(Bridge::start(options, None).await?)
}

/// Exposes the actor, says where on standard output, and stays until its input ends.
async fn child() -> anyhow::Result<()> {
    let bridge = bridge("child").await?;
    let (ponger, _) = Actor::spawn(None, Ponger, ()).await?;
    bridge.expose("ponger", Exposed::actor::<PingPong, Arrived>(ponger))?;
    println!("{}", bridge.local_addr().context("it listens")?);
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn next(events: &mut mpsc::Receiver<MonitorEvent>) -> anyhow::Result<MonitorChange> {
    let event = timeout(PATIENCE, events.recv()).await?.context("the monitor lives")?;
    println!("monitor: {}@{} {:?}", event.name, event.node, event.change);
    Ok(event.change)
}

async fn parent() -> anyhow::Result<()> {
    let mut process = tokio::process::Command::new(std::env::current_exe()?)
        .arg("child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = process.stdout.take().context("it is piped")?;
    let address = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await??;

    let bridge = bridge("parent").await?;
    bridge.add_peer(PeerAddress::new("child", address.context("the child says where it listens")?))?;
    // The first event says how it stands: not connected yet. Sixteen are more than this example makes.
    let (tell, mut events) = mpsc::channel(16);
    bridge.monitor("child", "ponger", move |event| drop(tell.try_send(event)))?;
    while !matches!(next(&mut events).await?, MonitorChange::Up { .. }) {}

    let (tell, mut links) = mpsc::channel(16);
    bridge.on_link_event(move |event| drop(tell.try_send(event.change)));
    let ponger = bridge.remote::<PingPong>("child", "ponger")?;
    for n in [1, 41] {
        println!("ping {n}, pong {}", ponger.call(&Ask::Ping { n }, PATIENCE).await?);
    }
    ponger.cast(&Ask::Crash)?;
    let crashed = next(&mut events).await?;
    anyhow::ensure!(matches!(crashed, MonitorChange::Down { reason: DownReason::Died(_) }));
    let refused = ponger.call(&Ask::Ping { n: 1 }, PATIENCE).await.err().context("no node is there")?;
    println!("call: {refused} ({:?})", refused.outcome());

    // The actor was down already; that its node is lost too, the link tells.
    process.kill().await?;
    let lost = timeout(PATIENCE, links.recv()).await?.context("the bridge lives")?;
    println!("node {} is down: {lost:?}", ponger.node());
    bridge.stop().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("child") { child().await } else { parent().await }
}

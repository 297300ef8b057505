//! A Link: the outbound connection to one peer. Connects, shakes hands, serves, and reconnects.
//!
//! - Owns: the connection's tasks. The peer (address, counters, monitors) lives above it.
//! - Hears: [`LinkMessage`] from its task, its timer and the Bridge.
//! - Asks: the network and admission, in its task.
//! - Never: resends a message; what was lost is reported (`CallError`, `LinkEvent`).
//! - A crash loses the connection and what was queued on it. The Bridge restarts it; refs and monitors stay.
//! - Bound: one connection; its queue is bounded in bytes (`connection/queue.rs`).

use super::messages::LinkMessage;
use crate::backoff::Jitter;
use crate::connection::{Admitted, Connection, Handshake, HandshakeError, say_once_steady};
use crate::endpoint::{LinkObservers, Peer, Target, serve_outbound};
use crate::event::{LinkChange, LinkRefusal};
use crate::net::Stream;
use crate::options::BridgeOptions;
use crate::task::OwnedTask;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

pub(crate) struct Link;

pub(crate) struct Arguments {
    pub(crate) context: Context,
    /// Of its backoff jitter.
    pub(crate) seed: u64,
}

/// What a Link and its connections work with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) peer: Arc<Peer>,
    pub(crate) options: Arc<BridgeOptions>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) observers: Arc<LinkObservers>,
}

pub(crate) struct State {
    context: Context,
    jitter: Jitter,
    /// Of the current connection or pause; messages of older ones are stale.
    generation: u64,
    /// Failed attempts in a row.
    attempt: u32,
    target: Option<Target>,
    task: Option<OwnedTask>,
}

impl Actor for Link {
    type Msg = LinkMessage;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<LinkMessage>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { context, seed } = arguments;
        let jitter = Jitter::new(seed, &context.peer.node);
        myself.send_message(LinkMessage::Dial { generation: 0 })?;
        Ok(State { context, jitter, generation: 0, attempt: 0, target: None, task: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<LinkMessage>,
        message: LinkMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LinkMessage::Dial { generation } if generation == state.generation => state.dial(&myself).await,
            LinkMessage::Ended { generation, up_for } if generation == state.generation => {
                state.task = None;
                state.pause(&myself, up_for);
            }
            LinkMessage::TaskLost { generation } if generation == state.generation => {
                return Err("the task of the connection panicked".into());
            }
            LinkMessage::Panic => panic!("told to panic"),
            LinkMessage::Redial => {
                if state.context.peer.target() != state.target || state.task.is_none() {
                    state.attempt = 0;
                    state.dial(&myself).await;
                }
            }
            // The pauses that follow a failure stay what they are: a connection that ends at once is not dialled in a tight loop.
            LinkMessage::Heard if state.task.is_none() => state.dial(&myself).await,
            LinkMessage::Heard
            | LinkMessage::Dial { .. }
            | LinkMessage::Ended { .. }
            | LinkMessage::TaskLost { .. } => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<LinkMessage>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.end_task().await;
        Ok(())
    }
}

impl State {
    async fn end_task(&mut self) {
        if let Some(task) = self.task.take() {
            task.end().await;
        }
    }

    async fn dial(&mut self, myself: &ActorRef<LinkMessage>) {
        // The old connection reports its Down before the new one is made.
        self.end_task().await;
        self.generation += 1;
        let generation = self.generation;
        let Some(target) = self.context.peer.target() else {
            myself.stop(Some("the peer was removed".into()));
            return;
        };
        self.target = Some(target.clone());
        let work = run(self.context.clone(), target);
        let done = move |up_for| LinkMessage::Ended { generation, up_for };
        let lost = move || LinkMessage::TaskLost { generation };
        self.task = Some(OwnedTask::spawn_reporting(myself.clone(), work, done, lost));
    }

    fn pause(&mut self, myself: &ActorRef<LinkMessage>, up_for: Option<Duration>) {
        let options = &self.context.options;
        // A peer that accepts a connection and drops it at once must not be dialled in a tight loop.
        if up_for.is_some_and(|up_for| up_for >= Duration::from_millis(options.backoff_max_ms)) {
            self.attempt = 0;
        }
        let pause = self.jitter.backoff(self.attempt, options.backoff_min_ms, options.backoff_max_ms);
        self.attempt = self.attempt.saturating_add(1);
        self.generation += 1;
        let generation = self.generation;
        // Not cancelled: a newer generation makes it stale.
        drop(myself.send_after(pause, move || LinkMessage::Dial { generation }));
    }
}

/// Takes the link down and reports it when the task ends, by abort or panic too.
struct LinkUp {
    context: Context,
    connection: Arc<Connection>,
    since: Instant,
    /// Whether the log says that it is up.
    told: AtomicBool,
}

impl Drop for LinkUp {
    fn drop(&mut self) {
        let Context { peer, observers, .. } = &self.context;
        self.connection.close("the link was stopped");
        let reason = self.connection.close_reason().expect("it is closed").to_string();
        if self.told.load(Ordering::Relaxed) {
            tracing::info!(node = %peer.node, %reason, "link down");
        }
        peer.flaps.lock().ended(self.since.elapsed());
        let was_current = peer.connection_down(&self.connection, &reason);
        // The end of an older connection may be noticed when a newer one is up already: the link is not down.
        if !was_current {
            return;
        }
        let (gap, by_peer) = (peer.last_gap(), self.connection.is_closed_by_peer());
        observers.report(&peer.node, Some(&self.connection.peer), LinkChange::Down { reason, gap, by_peer });
    }
}

/// One connection from dial to end; returns how long it was up, `None` if it did not come up.
async fn run(context: Context, target: Target) -> Option<Duration> {
    let Context { peer, options, observers, .. } = &context;
    peer.connecting();
    let (stream, Admitted { peer: info, buffer, .. }) = match connect(&context, &target).await {
        Ok(connected) => connected,
        Err((refusal, reason)) => {
            if peer.connect_failed(&reason) {
                tracing::warn!(node = %peer.node, address = %target.address, %reason, "no link, retrying");
                observers.report(&peer.node, None, LinkChange::Refused { refusal, reason });
            }
            return None;
        }
    };
    let since = Instant::now();
    let connection = Connection::new(info, options.clone(), peer.counters.clone());
    context.handshake.made(&connection);
    let is_first = peer.counters.ups.get() == 0;
    let gap = if is_first { None } else { Some(peer.last_gap()) };
    let (told, short_before) = peer.flaps.lock().up();
    let up = LinkUp {
        context: context.clone(),
        connection: connection.clone(),
        since,
        told: AtomicBool::new(told),
    };
    peer.connection_up(&connection);
    let info = connection.peer.clone();
    let say = || {
        tracing::info!(node = %peer.node, address = %info.address, boot = info.boot, short_before, "link up");
    };
    if told {
        say();
    }
    observers.report(&peer.node, Some(&info), LinkChange::Up { gap });
    let serving = serve_outbound(peer.clone(), connection, stream, buffer);
    say_once_steady(serving, || {
        if !up.told.swap(true, Ordering::Relaxed) {
            say();
        }
    })
    .await;
    Some(since.elapsed())
}

async fn connect(context: &Context, target: &Target) -> Result<(Stream, Admitted), (LinkRefusal, String)> {
    let Context { peer, options, handshake, .. } = context;
    let (limit_ms, address) = (options.connect_timeout_ms, &target.address);
    let unreachable = |reason| (LinkRefusal::Unreachable, reason);
    let mut stream = timeout(Duration::from_millis(limit_ms), options.net.connect(address))
        .await
        .map_err(|_| {
            unreachable(format!(
                "cannot connect to {address} within {limit_ms} ms: is the node up, is a firewall between?"
            ))
        })?
        .map_err(|error| unreachable(format!("cannot connect to {address}: {error}")))?;
    let expected = if target.any_node { None } else { Some(&*peer.node) };
    match handshake.dial(&mut stream, expected).await {
        Ok(admitted) => Ok((stream, admitted)),
        Err(error) => {
            let reason = format!("{address}: {error}");
            let refusal = match error {
                HandshakeError::ByThem(refusal) => LinkRefusal::ByPeer(refusal.code),
                HandshakeError::ByUs { refusal, .. } => LinkRefusal::ByUs(refusal.code),
                HandshakeError::TimedOut(_)
                | HandshakeError::Io(_)
                | HandshakeError::Closed
                | HandshakeError::GaveWay
                | HandshakeError::Frame(_) => LinkRefusal::Unreachable,
            };
            Err((refusal, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Peers;
    use crate::identity::{Identity, PeerInfo, PeerKind};
    use crate::lock::Lock;

    /// A connection that the link has just made.
    fn up(context: &Context) -> LinkUp {
        let info = PeerInfo {
            node: "node1".into(),
            kind: PeerKind::Peer,
            incarnation: 2,
            boot: 1,
            level: 0,
            replaced: Vec::new(),
            cluster: [7; 32],
            api_address: String::new(),
            address: "127.0.0.1:1".into(),
            message_bytes_max: 1 << 20,
        };
        let connection = Connection::new(info, context.options.clone(), context.peer.counters.clone());
        context.peer.connection_up(&connection);
        let (since, told) = (Instant::now(), AtomicBool::new(true));
        LinkUp { context: context.clone(), connection, since, told }
    }

    /// It was told as the end of the link: its leader took a peer for gone to which there was a link.
    #[tokio::test]
    async fn the_end_of_an_older_connection_is_not_the_end_of_the_link() {
        let options = Arc::new(BridgeOptions::new("link", Identity::peer([7; 32], "node0", 1, 1)));
        let peer = Peers::default().get_or_insert("node1");
        let handshake = Arc::new(Handshake::new(options.clone()));
        let context = Context { peer, options, handshake, observers: Arc::default() };
        let downs = Arc::new(Lock::new(0));
        let heard = downs.clone();
        context.observers.subscribe(Arc::new(move |event| {
            assert!(matches!(event.change, LinkChange::Down { .. }), "{event:?}");
            *heard.lock() += 1;
        }));
        let (older, newer) = (up(&context), up(&context));
        drop(older);
        assert_eq!(*downs.lock(), 0);
        let current = context.peer.current().expect("the link is up");
        assert!(Arc::ptr_eq(&current, &newer.connection));
        drop(newer);
        assert_eq!(*downs.lock(), 1);
        assert!(context.peer.current().is_none());
    }
}

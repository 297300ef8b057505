//! A Link: the way to one peer. Connects, shakes hands, serves, and connects again.
//!
//! - Owns: the connection's tasks. The slot (address, counters, monitors) belongs to `Core`.
//! - Hears: [`LinkMessage`] from its task, its timer and the Bridge.
//! - Asks: the network, admission, in its task.
//! - Never: sends a message again; what was lost is told (`CallError`, `LinkEvent`).
//! - A crash loses the connection and what was queued on it. The Bridge starts it again; refs and monitors stay.
//! - Bound: one connection; its queue is bounded in bytes (`wire/queue.rs` states the policy of each class).

use crate::core::Core;
use crate::event::{LinkChange, LinkState};
use crate::handshake::{self, Admitted};
use crate::jitter::Jitter;
use crate::net::Connection;
use crate::slot::{Slot, Target};
use crate::task::OwnedTask;
use crate::wire::{Side, Wire, serve};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout};

pub(crate) struct Link;

pub(crate) struct Arguments {
    pub(crate) core: Arc<Core>,
    pub(crate) slot: Arc<Slot>,
}

/// What a Link hears.
pub(crate) enum LinkMessage {
    /// From its timer: the pause of this generation is over.
    Dial { generation: u64 },
    /// From its task: the connection of this generation is over, or did not come about.
    Ended { generation: u64, up_for: Option<Duration> },
    /// The task of this generation panicked.
    TaskLost { generation: u64 },
    /// From the Bridge: the peer was added again, perhaps under another address.
    Redial,
    /// From [`panic_in`](super::panic_in): panic, as a bug would.
    Panic,
}

pub(crate) struct State {
    core: Arc<Core>,
    slot: Arc<Slot>,
    jitter: Jitter,
    /// Of the connection or pause of now; messages of older ones are stale.
    generation: u64,
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
        let Arguments { core, slot } = arguments;
        // The serial keeps a restarted Link from repeating the pauses that led to its end.
        let jitter = Jitter::new(core.options.seed.wrapping_add(core.serial()), &slot.node);
        myself.send_message(LinkMessage::Dial { generation: 0 })?;
        Ok(State { core, slot, jitter, generation: 0, attempt: 0, target: None, task: None })
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
                return Err("the task of the connection died".into());
            }
            LinkMessage::Panic => panic!("told to panic"),
            LinkMessage::Redial => {
                let target = state.slot.info.lock().target.clone();
                if target != state.target || state.task.is_none() {
                    state.attempt = 0;
                    state.dial(&myself).await;
                }
            }
            LinkMessage::Dial { .. } | LinkMessage::Ended { .. } | LinkMessage::TaskLost { .. } => {}
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
        // The older connection's guards run before the new one is made: its Down comes first.
        self.end_task().await;
        self.generation += 1;
        let generation = self.generation;
        let Some(target) = self.slot.info.lock().target.clone() else {
            myself.stop(Some("the peer was removed".into()));
            return;
        };
        self.target = Some(target.clone());
        let work = run(self.core.clone(), self.slot.clone(), target);
        let done = move |up_for| LinkMessage::Ended { generation, up_for };
        let lost = move || LinkMessage::TaskLost { generation };
        self.task = Some(OwnedTask::spawn_telling(myself.clone(), work, done, lost));
    }

    fn pause(&mut self, myself: &ActorRef<LinkMessage>, up_for: Option<Duration>) {
        let options = &self.core.options;
        // A peer that takes the connection and drops it at once must not be dialled in a tight loop.
        if up_for.is_some_and(|up_for| up_for >= Duration::from_millis(options.backoff_max_ms)) {
            self.attempt = 0;
        }
        let pause = self.jitter.backoff(self.attempt, options.backoff_min_ms, options.backoff_max_ms);
        self.attempt = self.attempt.saturating_add(1);
        self.generation += 1;
        let generation = self.generation;
        // Not recalled when overtaken: the generation makes it stale.
        drop(myself.send_after(pause, move || LinkMessage::Dial { generation }));
    }
}

/// Takes the link down when its task ends, by abort or panic too, and says so.
struct LinkUp {
    core: Arc<Core>,
    slot: Arc<Slot>,
    wire: Arc<Wire>,
}

impl Drop for LinkUp {
    fn drop(&mut self) {
        self.wire.close("the link was stopped");
        let reason =
            self.wire.close_reason().map_or_else(|| "closed".to_owned(), |reason| reason.to_string());
        tracing::info!(node = %self.slot.node, %reason, "link down");
        self.slot.wire_down(&self.wire, &reason);
        let gap = self.slot.last_gap();
        self.core.link_event(&self.slot.node, Some(&self.wire.peer), &LinkChange::Down { reason, gap });
    }
}

/// One connection from dial to end; says how long it was up.
async fn run(core: Arc<Core>, slot: Arc<Slot>, target: Target) -> Option<Duration> {
    slot.info.lock().state = LinkState::Connecting;
    let (connection, admitted) = match connect(&core, &slot, &target).await {
        Ok(connected) => connected,
        Err(reason) => {
            let is_new = {
                let mut info = slot.info.lock();
                info.state = LinkState::Backoff;
                info.last_error.replace(reason.clone()).as_ref() != Some(&reason)
            };
            if is_new {
                tracing::warn!(node = %slot.node, address = %target.address, %reason, "no link; trying on");
                core.link_event(&slot.node, None, &LinkChange::Refused { reason });
            }
            return None;
        }
    };
    let since = Instant::now();
    let wire = Wire::new(admitted.peer, &core.options, slot.counters.clone());
    let is_first = slot.counters.ups.load(Ordering::Relaxed) == 0;
    let gap = if is_first { None } else { Some(slot.last_gap()) };
    let _up = LinkUp { core: core.clone(), slot: slot.clone(), wire: wire.clone() };
    slot.wire_up(&wire);
    tracing::info!(node = %slot.node, address = %wire.peer.address, boot = wire.peer.boot, "link up");
    core.link_event(&slot.node, Some(&wire.peer), &LinkChange::Up { gap });
    serve(core, wire, connection, admitted.buffer, Side::Dialler(slot)).await;
    Some(since.elapsed())
}

async fn connect(core: &Core, slot: &Slot, target: &Target) -> Result<(Connection, Admitted), String> {
    let limit_ms = core.options.connect_timeout_ms;
    let address = &target.address;
    let mut connection = timeout(Duration::from_millis(limit_ms), core.options.net.connect(address))
        .await
        .map_err(|_| {
            format!(
                "cannot connect to {address} within {limit_ms} ms: is the node up, is a firewall between?"
            )
        })?
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let expected = if target.any_node { None } else { Some(&*slot.node) };
    let admitted = handshake::dial(core, &mut connection, expected)
        .await
        .map_err(|error| format!("{address}: {error}"))?;
    Ok((connection, admitted))
}

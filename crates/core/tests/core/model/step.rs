//! One step: carries out an action and its effects, and checks the invariants after each.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{Body, Change, Effect, Effects, Index, Membership, Proposal, ReadId, RoleEvent, Sequence};

use super::action::Action;
use super::check::{Met, Sight};
use super::config::{Config, Writes};
use super::history::Read;
use super::invariants::{self, Before};
use super::site::Site;
use super::state::State;
use crate::world::{Broken, ReplicaEvent, name, place_of};

/// A different payload for each proposal.
const PAYLOADS: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];

/// The state and what a step needs beside it.
pub(crate) struct Step<'a> {
    pub(crate) config: &'a Config,
    pub(crate) founding: &'a Membership,
    pub(crate) met: &'a Met,
    pub(crate) state: State,
    /// Events that the node is still to be told in this step.
    hears: VecDeque<ReplicaEvent>,
}

/// The state after an action. A failed assertion in core or in the disk counts as a violated invariant.
pub(crate) fn after(
    config: &Config,
    founding: &Membership,
    met: &Met,
    last: &State,
    action: &Action,
) -> State {
    let mut step = Step { config, founding, met, state: last.clone(), hears: VecDeque::new() };
    let carried = catch_unwind(AssertUnwindSafe(|| step.carry(action)));
    let broken = match carried {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Broken { invariant: "an assertion", what: text.unwrap_or_default() })
        }
    };
    let mut state = step.state;
    state.broken = broken.map(Arc::new);
    for (site, before) in state.sites.iter_mut().zip(&last.sites) {
        if !Arc::ptr_eq(site, before) {
            Arc::make_mut(site).seal();
        }
    }
    if !Arc::ptr_eq(&state.history, &last.history) {
        state.history_identity = state.history.identity();
    }
    state
}

impl Step<'_> {
    fn carry(&mut self, action: &Action) -> Result<(), Broken> {
        let left = &mut self.state.left;
        match action {
            Action::Deliver(packet) => {
                self.state.network.remove(packet);
                self.deliver(packet)
            }
            Action::Duplicate(packet) => {
                left.duplicates -= 1;
                self.met.saw(Sight::Duplicate, 1);
                self.deliver(packet)
            }
            Action::Persisted(at) => {
                let sequence = self.site(*at).disk.complete_one().expect("a write is under way");
                self.tell(*at, RoleEvent::Persisted(sequence))
            }
            Action::Timeout(at) => {
                left.timeouts -= 1;
                self.site(*at).lapse();
                self.tell(*at, RoleEvent::Tick)
            }
            Action::Lapse(at) => {
                left.timeouts -= 1;
                self.site(*at).lapse();
                Ok(())
            }
            Action::Tick(at) => self.tell(*at, RoleEvent::Tick),
            Action::Heartbeat(at) => {
                left.heartbeats -= 1;
                self.tell(*at, RoleEvent::Tick)
            }
            Action::Propose(at) => {
                left.proposals -= 1;
                let payload = Bytes::from_static(PAYLOADS[usize::from(left.proposals)]);
                self.run(*at, ReplicaEvent::Propose { wall_ms: 0, proposals: vec![Proposal::new(payload)] })
            }
            Action::Read(at) => {
                left.reads -= 1;
                let (id, floor) = (u64::from(left.reads), self.state.history.acknowledged);
                Arc::make_mut(&mut self.state.history).reads.push(Read { id, at: *at, floor });
                self.run(*at, ReplicaEvent::Read(vec![ReadId(id)]))
            }
            Action::Transfer(at) => {
                left.transfers -= 1;
                self.run(*at, ReplicaEvent::Transfer(None))
            }
            Action::Remove { at, node } => {
                left.changes -= 1;
                let expected = self.site(*at).state().membership_index();
                let change = Change::Remove { node: name(*node) };
                self.run(*at, ReplicaEvent::Change { change, expected, wall_ms: 0 })
            }
            Action::Crash { at, survive, torn } => {
                left.crashes -= 1;
                self.met.saw(Sight::TornCrash, u64::from(*torn > 0));
                self.site(*at).disk.crash_keeping(*survive, *torn);
                self.restart(*at)
            }
            Action::Damage { at, keep } => {
                left.damages -= 1;
                let noticed = !self.config.silent_damage;
                let disk = &mut self.site(*at).disk;
                disk.crash_keeping(0, 0);
                disk.lose_suffix(*keep);
                disk.hard_state.recovering = noticed;
                self.restart(*at)
            }
        }
    }

    pub(crate) fn site(&mut self, at: usize) -> &mut Site {
        Arc::make_mut(&mut self.state.sites[at])
    }

    fn deliver(&mut self, packet: &super::network::Packet) -> Result<(), Broken> {
        let at = place_of(&packet.message.to);
        self.tell(at, RoleEvent::Message(packet.message.clone()))
    }

    fn tell(&mut self, at: usize, common: RoleEvent) -> Result<(), Broken> {
        self.run(at, ReplicaEvent::Role(common))
    }

    /// Down time needs no action: a node that is down is the same as one to which nothing happens.
    fn restart(&mut self, at: usize) -> Result<(), Broken> {
        let (config, founding) = (self.config, self.founding);
        let site = self.site(at);
        let (next, effects) =
            Site::start(at, std::mem::take(&mut site.disk), site.boot.next(), founding, config);
        *site = next;
        let reads = &mut Arc::make_mut(&mut self.state.history).reads;
        reads.retain(|read| read.at != at);
        self.carry_out(at, None, effects)?;
        self.go_on(at)
    }

    /// Carries out an event and everything that follows from it at once.
    fn run(&mut self, at: usize, event: ReplicaEvent) -> Result<(), Broken> {
        self.hears.push_back(event);
        self.go_on(at)
    }

    fn go_on(&mut self, at: usize) -> Result<(), Broken> {
        loop {
            while let Some(event) = self.hears.pop_front() {
                let site = self.site(at);
                let before = Before::of(site);
                let now = site.now;
                let effects = site.step(now, event).expect("it is up");
                self.carry_out(at, Some(&before), effects)?;
            }
            match self.written(at) {
                Some(sequence) => self.hears.push_back(ReplicaEvent::Role(RoleEvent::Persisted(sequence))),
                None => return Ok(()),
            }
        }
    }

    fn written(&mut self, at: usize) -> Option<Sequence> {
        let waits = self.config.writes == Writes::AtOnce && !self.state.sites[at].disk.pending.is_empty();
        if waits { self.site(at).disk.complete_one() } else { None }
    }

    fn carry_out(&mut self, at: usize, before: Option<&Before>, effects: Effects) -> Result<(), Broken> {
        invariants::stepped(self, at, before)?;
        effects.into_iter().try_for_each(|effect| self.carry_out_one(at, effect))
    }

    fn carry_out_one(&mut self, at: usize, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Persist(persist) => {
                invariants::persisting(self, at, &persist)?;
                self.site(at).disk.submit(persist);
                Ok(())
            }
            Effect::Send(message) => {
                invariants::sending(self, at, &message)?;
                let forced = matches!(&message.body, Body::VoteRequest(request) if request.forced);
                self.met.saw(Sight::ForcedVote, u64::from(forced));
                self.state.network.send(message, self.config.link_max);
                Ok(())
            }
            Effect::Apply { entries } => {
                invariants::applied(self, at, &entries)?;
                let through = entries.last().map_or(Index::ZERO, |entry| entry.index);
                self.hears.push_back(ReplicaEvent::Role(RoleEvent::Applied(through)));
                Ok(())
            }
            Effect::ReadReady { reads, index } => {
                reads.iter().try_for_each(|id| invariants::read_ready(self, at, *id, index))
            }
            Effect::ReadRefused { reads } => {
                let waiting = &mut Arc::make_mut(&mut self.state.history).reads;
                waiting.retain(|read| !reads.contains(&ReadId(read.id)));
                Ok(())
            }
            Effect::Notice(notice) => invariants::notice(self, &notice),
            Effect::Accepted { .. }
            | Effect::Refused { .. }
            | Effect::TransferBegun { .. }
            | Effect::TransferRefused(_)
            | Effect::ChangeBegun { .. }
            | Effect::ChangeRefused(_)
            | Effect::LeaderChanged { .. } => Ok(()),
            Effect::MembershipChanged(membership) => {
                let ends = !membership.is_joint() && membership.voters.len() < self.config.voters;
                self.met.saw(Sight::MemberRemoved, u64::from(ends));
                Ok(())
            }
            Effect::ReadLog { .. } => panic!("all of a log is in memory here"),
            Effect::PublishSnapshot(_)
            | Effect::Compact { .. }
            | Effect::FetchSnapshot(_)
            | Effect::RestoreMachine => panic!("no snapshot is taken here"),
            Effect::StartReplicator { .. }
            | Effect::StopReplicator { .. }
            | Effect::ToReplicator { .. }
            | Effect::Become(_) => panic!("a replica keeps {effect:?} to itself"),
        }
    }
}

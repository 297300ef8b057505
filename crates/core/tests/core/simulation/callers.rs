//! Callers of the quiet phase: each has one command under way, at the leader, and asks again a while after it is answered. What
//! they hear is counted by outcome, since a cluster in which nothing breaks must not merely be safe.
//!
//! Bound: a few callers, with one command each.

use quorate_core::{Refusal, ReplicaState};

use super::cluster::{Cluster, Event};

/// What a caller hears of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    Refused(Refusal),
    /// The store of the leader is behind, so its shell takes no commands; or its build cannot read this one.
    NotTaken,
    /// Another command took its place.
    Superseded,
    /// Its node ended.
    Unknown,
}

/// Outcomes, counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes {
    pub(crate) acknowledged: u64,
    pub(crate) refused: Vec<(Refusal, u64)>,
    pub(crate) superseded: u64,
    pub(crate) unknown: u64,
    /// No node led when a caller wanted to ask.
    pub(crate) without_leader: u64,
    /// The longest time from a command to its acknowledgement.
    pub(crate) longest: u64,
}

impl Outcomes {
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn refused_for(&self, reason: Refusal) -> u64 {
        self.refused.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }

    fn refuse(&mut self, reason: Refusal) {
        match self.refused.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((reason, 1)),
        }
    }
}

/// All callers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callers {
    /// The command under way of each, and when it was asked.
    asked: Vec<Option<(u64, u64)>>,
    pause: u64,
    ask: bool,
    /// No one else proposes.
    pub(crate) are_alone: bool,
    pub(crate) heard: Outcomes,
    /// When the first acknowledgement came.
    pub(crate) first: Option<u64>,
}

impl Callers {
    pub(crate) fn all_are_answered(&self) -> bool {
        self.asked.iter().all(Option::is_none)
    }

    /// Of the commands under way, for how long the oldest has been.
    pub(crate) fn oldest(&self, now: u64) -> u64 {
        self.asked.iter().flatten().map(|(_, at)| now - at).max().unwrap_or(0)
    }
}

impl Cluster {
    /// So many callers begin to ask, with a pause between a reply and the next command.
    pub(crate) fn callers_come(&mut self, count: usize, pause: u64) {
        self.callers.asked.resize(count, None);
        self.callers.pause = pause;
        self.callers_ask();
    }

    pub(crate) fn callers_ask(&mut self) {
        self.callers.ask = true;
        for number in 0..self.callers.asked.len() {
            let delay = self.rng.range(1, self.callers.pause);
            self.schedule(delay, Event::Caller(number));
        }
    }

    pub(crate) fn callers_rest(&mut self) {
        self.callers.ask = false;
    }

    pub(crate) fn caller(&mut self, number: usize) {
        if !self.callers.ask || self.callers.asked[number].is_some() {
            return;
        }
        let Some(at) = self.leader() else {
            self.callers.heard.without_leader += 1;
            self.caller_asks_again(number);
            return;
        };
        let id = self.clients.next_is();
        self.callers.asked[number] = Some((id, self.now));
        self.propose_at(at, 1);
        if self.clients.next_is() == id {
            // It could not be asked at all: the store of the leader is busy, or its build does not take the command.
            self.caller_hears(id, Outcome::NotTaken);
        }
    }

    /// The node that leads the newest term, of those that must make progress.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = self.nodes.iter().filter(|node| node.frozen.is_none() && node.leads());
        leads.max_by_key(|node| node.state().map(ReplicaState::term)).map(|node| node.at)
    }

    fn caller_asks_again(&mut self, number: usize) {
        let pause = self.rng.range(self.callers.pause.div_ceil(2), self.callers.pause * 3 / 2 + 1);
        self.schedule(pause, Event::Caller(number));
    }

    /// A command has been answered; whose it is, if a caller of a quiet phase asked it, is known here.
    pub(crate) fn caller_hears(&mut self, id: u64, outcome: Outcome) {
        if outcome == Outcome::Superseded {
            self.coverage.note("superseded");
        }
        let asked = self.callers.asked.iter().position(|asked| asked.is_some_and(|(known, _)| known == id));
        let Some(number) = asked else { return };
        let (_, since) = self.callers.asked[number].take().expect("just found");
        let (heard, first) = (&mut self.callers.heard, &mut self.callers.first);
        match outcome {
            Outcome::Acknowledged => {
                first.get_or_insert(self.now);
                heard.acknowledged += 1;
                heard.longest = heard.longest.max(self.now - since);
            }
            Outcome::Refused(reason) => heard.refuse(reason),
            Outcome::NotTaken => {}
            Outcome::Superseded => heard.superseded += 1,
            Outcome::Unknown => heard.unknown += 1,
        }
        self.caller_asks_again(number);
    }

    /// A machine was made of a snapshot: who waits for what it stands for is told that the outcome is unknown.
    pub(crate) fn callers_jumped_over(&mut self, at: usize) {
        let later = self.nodes[at].applier.applied.next();
        let waiting = &mut self.nodes[at].waiting;
        let rest = waiting.split_off(&later);
        for (_, id) in std::mem::replace(waiting, rest).into_values() {
            self.caller_hears(id, Outcome::Unknown);
        }
    }

    /// A process ends: those who wait there are told that the outcome is unknown.
    pub(crate) fn callers_lose(&mut self, at: usize) {
        let waiting: Vec<u64> = self.nodes[at].waiting.values().map(|(_, id)| *id).collect();
        for id in waiting {
            self.caller_hears(id, Outcome::Unknown);
        }
    }
}

//! The search for an order.
//!
//! Search in the style of Wing and Gong. Operations that were replied to are sorted by start. A configuration is the set
//! of operations already placed and the state they leave; one already visited is not searched again. It is kept as: how
//! many of the first are all placed, which beyond those, which unknown ones, and the state; so it is small however long
//! the history is.
//!
//! An operation may come next unless some unplaced operation ended before it began. An operation of unknown outcome has
//! no end and need not be placed. Two rules prune those: an unknown operation whose effect is overwritten before anything
//! reads it is left out, and of several with the same effect the earliest is tried.

use std::collections::{HashMap, HashSet};

use super::record::{Call, Ended, Operation, Reply};
use super::register::{self, Observed, State};
use super::window::Window;

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Searched {
    Order,
    NoOrder,
    OutOfSteps,
}

#[derive(Debug, Clone, Copy)]
struct Replied<'a> {
    operation: &'a Operation,
    call: Call,
    start: u64,
    end: u64,
    reply: Reply,
}

/// An operation to put next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Replied(usize),
    Unknown(usize),
}

/// One choice on the way: what was chosen, and what else could be.
#[derive(Debug)]
struct Frame {
    before: State,
    low_before: usize,
    chosen: Next,
    others: Vec<Next>,
}

/// A configuration: see the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    low: usize,
    beyond: Box<[u32]>,
    unknown: Box<[u64]>,
    state: State,
    /// What came last is of unknown outcome: what comes next must look at it.
    awaits_look: bool,
}

/// How far the search got where it got furthest.
#[derive(Debug, Default)]
struct Furthest {
    held_up_by: u64,
    order: Vec<Next>,
    state: State,
    waiting: Vec<usize>,
}

pub(super) struct Search<'a> {
    replied: Vec<Replied<'a>>,
    unknown: Vec<&'a Operation>,
    /// Of each unknown one, the one before it that does the same.
    twin: Vec<Option<usize>>,
    placed: Vec<bool>,
    unknown_placed: Vec<bool>,
    /// All before it are placed.
    low: usize,
    /// How many beyond `low` are placed.
    left: usize,
    state: State,
    pub(super) steps: u64,
    seen: HashSet<Seen>,
    furthest: Furthest,
}

impl<'a> Search<'a> {
    pub(super) fn new(operations: &[&'a Operation]) -> Self {
        let mut observed = Observed::default();
        let mut replied = Vec::new();
        for &operation in operations {
            match operation.ended {
                Ended::Replied { at, reply } => {
                    let Operation { call, start, .. } = *operation;
                    observed.replied(call, reply);
                    replied.push(Replied { operation, call, start, end: at, reply });
                }
                Ended::Unknown => observed.unknown(operation.call),
                Ended::Refused => {}
            }
        }
        replied.sort_by_key(|operation| operation.start);
        let may_matter =
            |operation: &&&Operation| operation.ended == Ended::Unknown && observed.needs(operation.call);
        let mut unknown: Vec<_> = operations.iter().filter(may_matter).copied().collect();
        unknown.sort_by_key(|operation| operation.start);
        let mut newest = HashMap::new();
        let same = |(at, operation): (usize, &&Operation)| newest.insert(observed.kind(operation.call), at);
        let twin = unknown.iter().enumerate().map(same).collect();
        Self {
            twin,
            placed: vec![false; replied.len()],
            unknown_placed: vec![false; unknown.len()],
            low: 0,
            left: replied.len(),
            state: None,
            steps: 0,
            seen: HashSet::new(),
            furthest: Furthest::default(),
            replied,
            unknown,
        }
    }

    /// Depth first, without recursion: histories are long.
    pub(super) fn run(&mut self, steps_max: u64) -> Searched {
        let mut path: Vec<Frame> = Vec::new();
        let mut choices = self.choices(&path);
        loop {
            if self.left == 0 {
                return Searched::Order;
            }
            if self.steps > steps_max {
                return Searched::OutOfSteps;
            }
            if let Some(chosen) = choices.pop() {
                self.steps += 1;
                let Some(state) = self.after(chosen) else { continue };
                let frame = Frame { before: self.state, low_before: self.low, chosen, others: choices };
                self.place(chosen, state);
                path.push(frame);
                let to_be_seen = matches!(chosen, Next::Unknown(_));
                let is_new = self.seen.insert(self.configuration(to_be_seen));
                choices = if is_new { self.choices(&path) } else { Vec::new() };
            } else if let Some(frame) = path.pop() {
                self.take_back(&frame);
                choices = frame.others;
            } else {
                return Searched::NoOrder;
            }
        }
    }

    /// What the operation would leave, if it could come now and makes a difference.
    fn after(&self, next: Next) -> Option<State> {
        match next {
            Next::Replied(at) => {
                let Replied { call, reply, .. } = self.replied[at];
                register::replied(self.state, call, reply)
            }
            Next::Unknown(at) => {
                let state = register::unknown(self.state, self.unknown[at].call);
                (state != self.state).then_some(state)
            }
        }
    }

    fn place(&mut self, next: Next, state: State) {
        match next {
            Next::Replied(at) => {
                self.placed[at] = true;
                self.left -= 1;
                while self.placed.get(self.low) == Some(&true) {
                    self.low += 1;
                }
            }
            Next::Unknown(at) => self.unknown_placed[at] = true,
        }
        self.state = state;
    }

    fn take_back(&mut self, frame: &Frame) {
        match frame.chosen {
            Next::Replied(at) => {
                self.placed[at] = false;
                self.left += 1;
            }
            Next::Unknown(at) => self.unknown_placed[at] = false,
        }
        self.low = frame.low_before;
        self.state = frame.before;
    }

    /// What may come next in real time, the last of the list first. One that only looks and fits is the only choice.
    fn choices(&mut self, path: &[Frame]) -> Vec<Next> {
        let mut first_end = u64::MAX;
        let mut waiting = Vec::new();
        for (at, operation) in self.replied.iter().enumerate().skip(self.low) {
            if operation.start > first_end {
                break;
            }
            if !self.placed[at] {
                first_end = first_end.min(operation.end);
                waiting.push(at);
            }
        }
        if first_end != u64::MAX && first_end > self.furthest.held_up_by {
            let order = path.iter().map(|frame| frame.chosen).collect();
            let waiting = waiting.clone();
            self.furthest = Furthest { held_up_by: first_end, order, state: self.state, waiting };
        }
        let looks = waiting.iter().copied().find(|&at| {
            register::only_looks(self.replied[at].reply) && self.after(Next::Replied(at)).is_some()
        });
        if let Some(at) = looks {
            return vec![Next::Replied(at)];
        }
        let may_come = |&at: &usize| {
            let has_begun = self.unknown[at].start < first_end;
            has_begun
                && !self.unknown_placed[at]
                && self.twin[at].is_none_or(|twin| self.unknown_placed[twin])
        };
        let unknown = (0..self.unknown.len()).filter(may_come).map(Next::Unknown);
        // Those that ended first are tried first: most often they came first.
        waiting.sort_by_key(|&at| std::cmp::Reverse(self.replied[at].end));
        let to_be_seen = path.last().is_some_and(|frame| matches!(frame.chosen, Next::Unknown(_)));
        let all = unknown.chain(waiting.into_iter().map(Next::Replied));
        all.filter(|next| !to_be_seen || self.depends(*next)).collect()
    }

    fn depends(&self, next: Next) -> bool {
        match next {
            Next::Replied(at) => register::depends(self.replied[at].call, Some(self.replied[at].reply)),
            Next::Unknown(at) => register::depends(self.unknown[at].call, None),
        }
    }

    fn configuration(&self, awaits_look: bool) -> Seen {
        let placed_beyond = self.replied.len() - self.left - self.low;
        let beyond = (self.low..self.replied.len()).filter(|&at| self.placed[at]);
        let beyond = beyond.map(|at| (at - self.low) as u32).take(placed_beyond).collect();
        let mut unknown = vec![0; self.unknown.len().div_ceil(64)];
        for at in (0..self.unknown.len()).filter(|&at| self.unknown_placed[at]) {
            unknown[at / 64] |= 1 << (at % 64);
        }
        Seen { low: self.low, beyond, unknown: unknown.into(), state: self.state, awaits_look }
    }

    /// How many operations with a reply there are.
    pub(super) fn replied(&self) -> usize {
        self.replied.len()
    }

    /// The end of an operation by which every order breaks off.
    pub(super) fn held_up_by(&self) -> u64 {
        self.furthest.held_up_by
    }

    /// Where the search got furthest, to be shown with the `fewest` operations that contradict each other.
    pub(super) fn window(&self, all: &[&'a Operation], fewest: Vec<Operation>) -> Window {
        let Furthest { order, state, waiting, held_up_by } = &self.furthest;
        let operation = |next: &Next| match *next {
            Next::Replied(at) => self.replied[at].operation,
            Next::Unknown(at) => self.unknown[at],
        };
        let order: Vec<_> = order.iter().map(operation).collect();
        let waiting: Vec<_> = waiting.iter().map(|&at| self.replied[at].operation).collect();
        Window::new(&order, *state, &waiting, *held_up_by, fewest, all)
    }
}

/// Whether one key's operations have an order; `None` if that was not found out in so many steps. Adds to `steps`.
pub(super) fn has_order(operations: &[&Operation], steps_max: u64, steps: &mut u64) -> Option<bool> {
    let mut search = Search::new(operations);
    let found = search.run(steps_max);
    *steps += search.steps;
    match found {
        Searched::Order => Some(true),
        Searched::NoOrder => Some(false),
        Searched::OutOfSteps => None,
    }
}

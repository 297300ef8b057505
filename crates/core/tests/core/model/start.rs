//! The states that checks begin with: the founding cluster, and the steps that lead from it to the others. They are steps of
//! the model, so every such state is reachable.

use std::sync::Arc;

use quorate_core::{Boot, Index, Membership, Message};

use super::action::Action;
use super::check::Met;
use super::config::{Budget, Config, Start, Writes};
use super::history::History;
use super::network::Network;
use super::site::Site;
use super::state::State;
use super::step::after;
use crate::world::{Disk, place_of};

/// Enough for the first steps.
const PLENTY: Budget = Budget { timeouts: 20, proposals: 1, ..Budget::NONE };

/// The state a check begins with.
pub(crate) fn state(config: &Config, founding: &Membership) -> State {
    let mut opening = Opening {
        config: Config {
            budget: PLENTY,
            writes: Writes::AtOnce,
            link_max: 8,
            append_entries_max: 8,
            ..config.clone()
        },
        founding,
        met: Met::default(),
        state: fresh(config, founding),
    };
    match config.start {
        Start::Fresh => opening.act(&Action::Timeout(0)),
        Start::Elected => opening.elect(0, &[0, 1, 2]),
        Start::Behind => {
            opening.elect(0, &[0, 1, 2]);
            opening.act(&Action::Propose(0));
            opening.deliver_among(&[0, 2], |_| false);
            assert_eq!(opening.state.history.committed.last(), Index(2), "the command was committed");
            opening.state.network.clear();
        }
        Start::Diverged => opening.diverge(),
        Start::Returned => {
            opening.diverge();
            opening.elect(0, &[0, 2]);
        }
    }
    opening.state.left = config.budget;
    opening.state
}

fn fresh(config: &Config, founding: &Membership) -> State {
    let sites = (0..config.voters).map(|at| {
        let (mut site, _) = Site::start(at, Disk::default(), Boot::ZERO.next(), founding, config);
        site.seal();
        Arc::new(site)
    });
    let history = History::default();
    State {
        sites: sites.collect(),
        network: Network::default(),
        history_identity: history.identity(),
        history: Arc::new(history),
        left: PLENTY,
        broken: None,
    }
}

struct Opening<'a> {
    config: Config,
    founding: &'a Membership,
    met: Met,
    state: State,
}

impl Opening<'_> {
    fn act(&mut self, action: &Action) {
        self.state = after(&self.config, self.founding, &self.met, &self.state, action);
        assert!(self.state.broken.is_none(), "the first steps keep every invariant: {:?}", self.state.broken);
    }

    fn diverge(&mut self) {
        self.elect(0, &[0, 1, 2]);
        self.act(&Action::Propose(0));
        self.state.network.clear();
        self.act(&Action::Lapse(2));
        self.elect(1, &[1, 2]);
    }

    /// Only `among` elect `at`. If these are all nodes, they hear of it; otherwise what it sends next is lost.
    fn elect(&mut self, at: usize, among: &[usize]) {
        let all = among.len() == self.state.sites.len();
        let term = self.state.sites[at].state().term();
        let elected = |state: &State| state.sites[at].leads() && state.sites[at].state().term() > term;
        for _ in 0..5 {
            self.act(&Action::Timeout(at));
            self.deliver_among(among, |state| !all && elected(state));
            if elected(&self.state) {
                self.state.network.clear();
                return;
            }
        }
        panic!("n{at} is elected after a few attempts");
    }

    /// Delivers messages among these nodes until none is in flight, or until `until`; all others are lost.
    fn deliver_among(&mut self, among: &[usize], until: impl Fn(&State) -> bool) {
        let inside = |m: &Message| among.contains(&place_of(&m.from)) && among.contains(&place_of(&m.to));
        while !until(&self.state) {
            self.state.network.lose(|message| !inside(message));
            let Some(packet) = self.state.network.packets().first().cloned() else { return };
            self.act(&Action::Deliver(packet));
        }
    }
}

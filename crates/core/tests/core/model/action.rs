//! The actions of the model: everything that can happen next.

use std::fmt;
use std::sync::Arc;

use super::config::{Config, Writes};
use super::network::Packet;
use super::site::Site;
use super::state::State;
use crate::world::Role;

/// One step of the model. Numbers are places of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Deliver(Arc<Packet>),
    /// Delivers it and leaves a copy in flight.
    Duplicate(Arc<Packet>),
    /// The oldest write becomes durable.
    Persisted(usize),
    /// Its deadline passes, and it is ticked.
    Timeout(usize),
    /// Its deadline passes, but its timer fires late.
    Lapse(usize),
    /// The late timer fires.
    Tick(usize),
    Heartbeat(usize),
    Propose(usize),
    Read(usize),
    Transfer(usize),
    /// A leader is asked to remove a voter, perhaps itself.
    Remove {
        at: usize,
        node: usize,
    },
    /// The process ends and starts again; see [`crate::world::Disk::crash_keeping`].
    Crash {
        at: usize,
        survive: usize,
        torn: usize,
    },
    /// The same, and the disk keeps only `keep` entries.
    Damage {
        at: usize,
        keep: usize,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(packet) => write!(f, "deliver {}", packet.message),
            Self::Duplicate(packet) => write!(f, "deliver and keep {}", packet.message),
            Self::Persisted(_)
            | Self::Timeout(_)
            | Self::Lapse(_)
            | Self::Tick(_)
            | Self::Heartbeat(_)
            | Self::Propose(_)
            | Self::Read(_)
            | Self::Transfer(_)
            | Self::Remove { .. }
            | Self::Crash { .. }
            | Self::Damage { .. } => write!(f, "{self:?}"),
        }
    }
}

/// Every action that is possible in this state.
pub(crate) fn actions(config: &Config, state: &State, out: &mut Vec<Action>) {
    for packet in state.network.packets() {
        out.push(Action::Deliver(Arc::clone(packet)));
        if state.left.duplicates > 0 {
            out.push(Action::Duplicate(Arc::clone(packet)));
        }
    }
    for site in &state.sites {
        of_site(config, state, site, out);
        ends_of_site(state, site, out);
    }
}

fn of_site(config: &Config, state: &State, site: &Site, out: &mut Vec<Action>) {
    let (at, left) = (site.at, &state.left);
    if config.writes == Writes::Later && !site.disk.pending.is_empty() {
        out.push(Action::Persisted(at));
    }
    match site.role() {
        Some(Role::Leader(leader)) => {
            let can = [
                (left.heartbeats, Action::Heartbeat(at)),
                (left.proposals, Action::Propose(at)),
                (left.timeouts, Action::Timeout(at)),
                (u8::from(leader.transferring_to().is_none()) * left.transfers, Action::Transfer(at)),
            ];
            out.extend(can.into_iter().filter(|(count, _)| *count > 0).map(|(_, action)| action));
            if left.changes > 0 {
                // Beside itself one is like any other.
                out.extend([at, (at + 2) % state.sites.len()].map(|node| Action::Remove { at, node }));
            }
        }
        Some(Role::Follower(_) | Role::Candidate(_)) | None => {
            // No node campaigns for a term beyond the last.
            let may_stand = site.state().term().0 < config.terms_max;
            if may_stand && site.is_due() {
                out.push(Action::Tick(at));
            } else if may_stand && left.timeouts > 0 {
                out.push(Action::Timeout(at));
            }
            if left.timeouts > 0 && site.follows_a_leader() && !site.is_due() {
                out.push(Action::Lapse(at));
            }
        }
    }
    if left.reads > 0 {
        out.push(Action::Read(at));
    }
}

fn ends_of_site(state: &State, site: &Site, out: &mut Vec<Action>) {
    let at = site.at;
    if state.left.crashes > 0 {
        for survive in 0..=site.disk.pending.len() {
            // With all of its parts a write would not be torn.
            let parts = site.disk.parts_of(survive).max(1);
            out.extend((0..parts).map(|torn| Action::Crash { at, survive, torn }));
        }
    }
    // Only while a majority has lost nothing: beyond that a group stays unavailable by design.
    let whole = state.sites.iter().filter(|s| s.at != at && !s.disk.hard_state.recovering).count();
    if state.left.damages > 0 && whole > state.sites.len() / 2 {
        out.extend((0..site.disk.log.len()).map(|keep| Action::Damage { at, keep }));
    }
}

//! Invariants, checked after every step and named as in the simulation and the docs. Those of [`crate::world`] are shared. The
//! others are written a second time, because everything remembered is part of a state here: as much as possible is judged from
//! the disks, and only the rest is remembered ([`super::history`]).

use std::sync::Arc;

use quorate_core::{
    Body, Entry, Index, LogId, Message, Notice, Persist, Position, ReadId, Standing, Term, VoteKind,
};

use super::check::Sight;
use super::site::Site;
use super::state::State;
use super::step::Step;
use crate::world::{
    Judged, Node, Role, acknowledged_is_durable, holds, is_harmless, place_of, recovered_is_whole,
};

/// The state of a node before an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    term: Term,
    commit: Index,
    last: Position,
    leads: bool,
}

impl Before {
    pub(crate) fn of(site: &Site) -> Self {
        let state = site.state();
        Self { term: state.term(), commit: state.commit(), last: state.tail().last(), leads: site.leads() }
    }
}

fn node_of(site: &Arc<Site>) -> &Node {
    site
}

/// A replica was stepped (or, without `before`, started); its effects have not been carried out.
pub(crate) fn stepped(step: &mut Step<'_>, at: usize, before: Option<&Before>) -> Judged {
    let new = step.state.sites[at].state().tail().last();
    election_safety(step, at)?;
    committed_on_quorum(step, at)?;
    let (state, site) = (&step.state, &step.state.sites[at]);
    let committed = state.history.committed.at(site.state().commit());
    holds("committed immutable", site.position(site.state().commit()) == committed, || {
        format!("{} at {}", site.id, site.state().commit())
    })?;
    leader_completeness(state)?;
    order(site)?;
    if let Some(before) = before {
        monotonic(before, site)?;
        leader_append_only(before, site)?;
    }
    if before.is_none_or(|before| before.last != new) {
        log_matching(state, site)?;
    }
    Ok(())
}

/// At most one leader in a term, and it has the votes of a majority. They are counted on the disks, because a vote is given
/// only once it is durable.
fn election_safety(step: &mut Step<'_>, at: usize) -> Judged {
    let site = &step.state.sites[at];
    let term = site.state().term();
    let name = "election safety";
    if !site.leads() {
        let stands = matches!(site.role(), Some(Role::Candidate(_)));
        let may = !stands || site.state().standing() == Standing::Voter;
        return holds(name, may, || format!("{} stands and may not", site.id));
    }
    if let Some(leader) = step.state.history.leaders.get(&term) {
        return holds(name, *leader == at, || format!("n{leader} and n{at} lead term {term}"));
    }
    let given = |voter: &&Arc<Site>| {
        let on_disk = &voter.disk.hard_state;
        on_disk.term > term || (on_disk.term == term && on_disk.voted_for.as_ref() == Some(&site.id))
    };
    // By its own membership, which decides whose votes count (Raft thesis, section 4.1).
    let votes = step.state.sites.iter().filter(given).count();
    let elected = site.state().membership().is_quorum(|id| given(&&step.state.sites[place_of(id)]));
    holds(name, elected, || format!("n{at} leads term {term} by {votes} votes"))?;
    holds(name, !site.state().hard_state().recovering, || format!("n{at} leads and is recovering"))?;
    step.met.leader(term);
    Arc::make_mut(&mut step.state.history).leaders.insert(term, at);
    Ok(())
}

/// When the commit index first reaches an entry, a majority has it and all before it on disk.
fn committed_on_quorum(step: &mut Step<'_>, at: usize) -> Judged {
    let site = &step.state.sites[at];
    let (commit, term) = (site.state().commit(), site.state().term());
    let known = step.state.history.committed.last();
    if commit <= known {
        return Ok(());
    }
    let place = site.position(commit).expect("the commit index is inside the log");
    let have = step.state.sites.iter().filter(|site| site.disk.holds(place)).count();
    let is_quorum =
        site.state().membership().is_quorum(|id| step.state.sites[place_of(id)].disk.holds(place));
    holds("committed on quorum", is_quorum, || {
        format!("{} commits {}, which {have} disks have", site.id, place.log_id())
    })?;
    let new: Vec<Position> = (known.0 + 1..=commit.0)
        .map(|index| site.position(Index(index)).expect("below the commit index"))
        .collect();
    let commands = (known.0 + 1..=commit.0).filter_map(|index| site.state().tail().get(Index(index)));
    step.met.committed(commands);
    let history = Arc::make_mut(&mut step.state.history);
    for place in new {
        history.committed.push(place, term);
    }
    Ok(())
}

/// What was committed in an earlier term is in the log of every later leader. It is also in the log of every possible
/// leader: a node that lacks it finds no majority that would elect it, judging by the disks.
fn leader_completeness(state: &State) -> Judged {
    let name = "leader completeness";
    for site in state.sites.iter().filter(|site| site.leads()) {
        if let Some(at) = state.history.committed.last_before(site.state().term()) {
            let has = site.position(at.index) == Some(at);
            holds(name, has, || {
                format!("{} of term {} lacks {}", site.id, site.state().term(), at.log_id())
            })?;
        }
    }
    let committed = state.history.committed.at(state.history.committed.last()).expect("the last one");
    for site in state.sites.iter().filter(|site| !site.disk.hard_state.recovering) {
        let last = site.state().tail().last().log_id();
        if site.position(committed.index) == Some(committed) {
            continue;
        }
        let votes_for = |voter: &Site| voter.at == site.at || would_vote(voter, last);
        let votes = state.sites.iter().filter(|voter| votes_for(voter)).count();
        let is_elected = site.state().membership().is_quorum(|id| votes_for(&state.sites[place_of(id)]));
        holds(name, !is_elected, || {
            format!("{} lacks {} and could be elected by {votes}", site.id, committed.log_id())
        })?;
    }
    Ok(())
}

fn would_vote(voter: &Site, last: LogId) -> bool {
    let own = voter.disk.position(voter.disk.last()).expect("the last place of a log").log_id();
    !voter.disk.hard_state.recovering && last >= own
}

/// Commit and durable index are inside the log, and the applied index is at most the commit index.
fn order(site: &Site) -> Judged {
    let state = site.state();
    let (commit, durable, last) = (state.commit(), state.durable(), state.tail().last().index);
    let held = commit <= last && durable <= last && durable <= site.disk.last() && state.applied() <= commit;
    holds("order", held, || {
        format!("{}: applied {} commit {commit} durable {durable} last {last}", site.id, state.applied())
    })
}

/// Term and commit index never fall.
fn monotonic(before: &Before, site: &Site) -> Judged {
    let state = site.state();
    let held = state.term() >= before.term && state.commit() >= before.commit;
    holds("monotonic", held, || format!("{} from {before:?} to {} {}", site.id, state.term(), state.commit()))
}

/// A leader never removes or replaces an entry of its log.
fn leader_append_only(before: &Before, site: &Site) -> Judged {
    let leads = before.leads && site.leads() && before.term == site.state().term();
    let kept = !leads || site.position(before.last.index) == Some(before.last);
    holds("leader append-only", kept, || format!("{} lost {}", site.id, before.last.log_id()))
}

/// If two logs have an entry with the same index and term, the entry and everything before it are the same: the chain hash
/// covers the prefix.
fn log_matching(state: &State, site: &Site) -> Judged {
    for other in state.sites.iter().filter(|other| other.at != site.at) {
        let (ours, theirs) = (site.state().tail(), other.state().tail());
        let shorter = ours.last().index.min(theirs.last().index).0;
        let common =
            (1..=shorter).rev().map(Index).find(|index| ours.term_at(*index) == theirs.term_at(*index));
        let Some(index) = common else { continue };
        holds("log matching", site.position(index) == other.position(index), || {
            format!("{} and {} at {index}", site.id, other.id)
        })?;
    }
    Ok(())
}

/// A write is about to be ordered.
pub(crate) fn persisting(step: &Step<'_>, at: usize, persist: &Persist) -> Judged {
    let site = &step.state.sites[at];
    let of_its_term = persist.entries.iter().all(|entry| entry.term <= persist.hard_state.term);
    holds("log matching", of_its_term, || format!("{} has an entry of a later term than its own", site.id))?;
    let is_committed = |place: Position| step.state.history.committed.at(place.index) == Some(place);
    recovered_is_whole(site, persist, is_committed, &step.state.sites.iter().map(node_of))?;
    let Some(from) = persist.truncate_from else { return Ok(()) };
    step.met.saw(Sight::Truncation, 1);
    let gone = site.disk.position(from);
    let known = step.state.history.committed.at(from);
    holds("committed immutable", gone.is_none() || gone != known, || {
        format!("{} removes {from}, which is committed, from its disk", site.id)
    })?;
    holds("leader append-only", !site.leads(), || format!("{} truncates while it leads", site.id))
}

/// A message is about to leave.
pub(crate) fn sending(step: &mut Step<'_>, at: usize, message: &Message) -> Judged {
    let sites = &step.state.sites;
    acknowledged_is_durable(&sites[at], &sites[place_of(&message.to)], message)?;
    let candidate = match &message.body {
        Body::VoteReply(reply) if reply.granted && reply.kind == VoteKind::Real => &message.to,
        Body::VoteRequest(request) if request.kind == VoteKind::Real => &message.from,
        _ => return Ok(()),
    };
    let candidate = place_of(candidate);
    let votes = &step.state.history.votes;
    let Some(given) = votes.get(&(at, message.term)) else {
        let history = Arc::make_mut(&mut step.state.history);
        history.votes.insert((at, message.term), candidate);
        return Ok(());
    };
    holds("vote once", *given == candidate, || {
        format!("n{at} votes for n{given} and n{candidate} in term {}", message.term)
    })
}

/// No two nodes apply different entries at one index; entries are applied in order, and on followers only durable ones.
pub(crate) fn applied(step: &mut Step<'_>, at: usize, entries: &[Entry]) -> Judged {
    let site = &step.state.sites[at];
    let first = entries.first().expect("nothing is never handed over").index;
    holds("state machine safety", first == site.state().applied().next(), || {
        format!("{} applies {first} after {}", site.id, site.state().applied())
    })?;
    for entry in entries {
        let known = step.state.history.committed.at(entry.index);
        holds("state machine safety", known == Some(entry.position()), || {
            format!("{} applies {} otherwise", site.id, entry.log_id())
        })?;
    }
    let last = entries.last().map_or(Index::ZERO, |entry| entry.index);
    holds("order", site.leads() || last <= site.disk.last(), || {
        format!("{} follows and applies {last} before its disk has it", site.id)
    })?;
    // A leader answers the callers that proposed in its term.
    let own = entries.iter().rev().find(|entry| site.leads() && entry.term == site.state().term());
    if let Some(index) = own.map(|entry| entry.index).filter(|i| *i > step.state.history.acknowledged) {
        Arc::make_mut(&mut step.state.history).acknowledged = index;
    }
    Ok(())
}

/// A read index is not below any index that a caller was told of before the read began.
pub(crate) fn read_ready(step: &mut Step<'_>, at: usize, id: ReadId, index: Index) -> Judged {
    let reads = &step.state.history.reads;
    let Some(read) = reads.iter().find(|read| read.id == id.0 && read.at == at).copied() else {
        return Ok(());
    };
    holds("reads linearizable", index >= read.floor, || {
        format!("n{at} reads at {index}, but {} was acknowledged before", read.floor)
    })?;
    step.met.saw(Sight::ReadAnswered, 1);
    let history = Arc::make_mut(&mut step.state.history);
    history.reads.retain(|other| other.id != read.id);
    // A later read must see at least what was seen here.
    history.acknowledged = history.acknowledged.max(index);
    Ok(())
}

pub(crate) fn notice(step: &Step<'_>, notice: &Notice) -> Judged {
    step.met.saw(Sight::Recovered, u64::from(matches!(notice, Notice::Recovered { .. })));
    holds("election safety, log matching or durability", is_harmless(notice), || format!("{notice:?}"))
}

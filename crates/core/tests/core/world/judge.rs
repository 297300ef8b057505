//! Invariants that can be judged from the nodes alone: the simulation and the model check share this code. Invariants that
//! need a memory of the past are in each of the two, which remember it in different ways.

use quorate_core::{AppendResult, Body, Entry, Message, Notice, Persist, Position, VoteKind};

use super::Node;

/// An invariant that does not hold, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// Whether an invariant holds.
pub(crate) type Judged = Result<(), Broken>;

pub(crate) fn holds(invariant: &'static str, condition: bool, what: impl FnOnce() -> String) -> Judged {
    if condition { Ok(()) } else { Err(Broken { invariant, what: what() }) }
}

/// Acknowledged is durable: no message leaves before what it says is on its sender's disk (`safety.md` 1): its term, the
/// vote it gives or asks with, the entries it acknowledges. And what is acknowledged agrees with the leader's log.
pub(crate) fn acknowledged_is_durable(sender: &Node, addressee: &Node, message: &Message) -> Judged {
    let (disk, on_disk) = (&sender.disk, &sender.disk.hard_state);
    let demand = |condition: bool, what: &str| {
        holds("acknowledged is durable", condition, || format!("{message}: {what}"))
    };
    demand(message.term <= on_disk.term, "the term is not durable")?;
    demand(message.boot == sender.boot, "another boot")?;
    match &message.body {
        Body::VoteReply(reply) if reply.granted => {
            let given = on_disk.term > reply.campaign || on_disk.voted_for.as_ref() == Some(&message.to);
            demand(reply.kind == VoteKind::Pre || given, "the vote is not durable")?;
            demand(!on_disk.recovering, "a recovering node votes")
        }
        Body::VoteRequest(request) if request.kind == VoteKind::Real => {
            let given = on_disk.term > request.campaign || on_disk.voted_for.as_ref() == Some(&message.from);
            demand(given, "its own vote is not durable")
        }
        Body::AppendReply(reply) => {
            let AppendResult::Matched { index } = reply.result else { return Ok(()) };
            demand(index <= disk.last(), "what it acknowledges is not durable")?;
            let of_its_term = addressee.state().is_some_and(|state| state.term() == message.term);
            let agrees = disk.position(index) == addressee.position(index);
            demand(!(addressee.leads() && of_its_term) || agrees, "the logs do not agree there")
        }
        Body::VoteRequest(_)
        | Body::VoteReply(_)
        | Body::AppendEntries(_)
        | Body::TimeoutNow
        | Body::ReadIndexRequest(_)
        | Body::ReadIndexReply(_) => Ok(()),
    }
}

/// Recovered is whole: a node that ends Recovering either has again every committed entry it had lost, or that entry is
/// on a majority of the voters' disks without it (`safety.md` 5). From that moment its vote and its disk count.
pub(crate) fn recovered_is_whole<'a>(
    node: &Node,
    persist: &Persist,
    is_committed: impl Fn(Position) -> bool,
    voters: &(impl ExactSizeIterator<Item = &'a Node> + Clone),
) -> Judged {
    let disk = &node.disk;
    if persist.hard_state.recovering || !disk.hard_state.recovering {
        return Ok(());
    }
    for place in disk.lost.iter().map(Entry::position).filter(|place| is_committed(*place)) {
        let has = |other: &&Node| other.at != node.at && other.disk.holds(place);
        let others = voters.clone().filter(has).count();
        let whole = disk.position(place.index) == Some(place) || others > voters.len() / 2;
        holds("recovered is whole", whole, || {
            format!("{} lost {}, which is committed, on {others} other disks", node.id, place.log_id())
        })?;
    }
    Ok(())
}

/// Whether a notice can occur without a bug.
pub(crate) fn is_harmless(notice: &Notice) -> bool {
    match notice {
        Notice::TwoLeaders { .. }
        | Notice::BadEntries { .. }
        | Notice::Diverged { .. }
        | Notice::RolledBack { .. }
        | Notice::PeerRefuses { .. }
        | Notice::TermJump { .. } => false,
        Notice::DiskStalled
        | Notice::TransferFailed { .. }
        | Notice::ApplyLag { .. }
        | Notice::PeerNoSpace { .. }
        | Notice::MajorityNoSpace { .. }
        | Notice::Recovered { .. }
        | Notice::Founded
        | Notice::Removed { .. }
        | Notice::ToldNoVoter { .. }
        | Notice::TimeJump { .. } => true,
    }
}

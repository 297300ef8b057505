//! Stage 4 of 7, Replicated, back at the leader: what a peer's acknowledgement changes, if its boot and replication session
//! are the current ones.

use crate::effect::{Effect, Effects, Notice};
use crate::entry::LogId;
use crate::ids::{Boot, Index, NodeId, Round, Time};
use crate::leader::progress::{PeerStatus, Progress, Said};
use crate::leader::role::Leader;
use crate::message::{AppendReply, AppendResult, ReadIndexRequest};
use crate::replicator::ReplicatorEvent;

impl Leader {
    /// Every peer, ordered by name.
    pub fn peers(&self, now: Time) -> Vec<PeerStatus> {
        let status = |(peer, progress): (&NodeId, &Progress)| PeerStatus {
            peer: peer.clone(),
            matched: progress.match_index,
            contact_age_us: u64::try_from(now.since(progress.contact).as_micros()).unwrap_or(u64::MAX),
            rolled_back: progress.rolled_back,
            applied: progress.said.applied,
            apply_lag: self.apply_lag_of(progress),
        };
        self.progress.iter().map(status).collect()
    }

    /// Starts a replicator in a new replication session. What the peer acknowledged before still counts, unless its boot
    /// number has changed: see [`Self::forget`].
    pub(super) fn start_replicator(&mut self, now: Time, peer: NodeId, effects: &mut Effects) {
        let is_member = self.state.membership().members.contains_key(&peer);
        if !is_member && !self.departing.contains_key(&peer) {
            return;
        }
        self.state.sessions = self.state.sessions.next();
        let session = self.state.sessions;
        let progress = self.progress.entry(peer.clone()).or_insert(Progress {
            session,
            boot: None,
            match_index: Index::ZERO,
            matched_at: now,
            // A new leader gives every peer one election timeout to answer.
            contact: self.started_at.max(now),
            round: Round::ZERO,
            rewound_at: now,
            rolled_back: false,
            has_room: None,
            refused_at: None,
            said: Said::default(),
            link_up: true,
            is_unheard: false,
        });
        progress.session = session;
        progress.rewound_at = now;
        effects.push(Effect::StartReplicator { peer, session, prev: self.state.last() });
    }

    /// The peer restarted and may have lost what it acknowledged before (`safety.md` 5).
    fn forget(&mut self, now: Time, peer: NodeId, boot: Boot, effects: &mut Effects) {
        if let Some(progress) = self.progress.get_mut(&peer) {
            progress.boot = Some(boot);
            progress.match_index = Index::ZERO;
            progress.matched_at = now;
            progress.round = Round::ZERO;
            progress.rolled_back = false;
            progress.has_room = None;
            progress.refused_at = None;
            progress.said = Said::default();
        }
        self.start_replicator(now, peer, effects);
    }

    /// Whether a message of this boot of the peer counts. Any message may be the first of a new boot: a Recovering peer sends
    /// its read index request before its first acknowledgement, and must not be answered while acknowledgements of the earlier
    /// boot still count (`safety.md` 5).
    pub(super) fn hears_boot(&mut self, now: Time, from: &NodeId, boot: Boot, effects: &mut Effects) -> bool {
        let Some(progress) = self.progress.get_mut(from) else { return true };
        match progress.boot {
            Some(known) if boot < known => return false,
            Some(known) if boot > known => self.forget(now, from.clone(), boot, effects),
            _ => progress.boot = Some(boot),
        }
        true
    }

    /// A request of a peer for a read index.
    pub(super) fn read_request(
        &mut self,
        now: Time,
        from: NodeId,
        boot: Boot,
        request: &ReadIndexRequest,
        effects: &mut Effects,
    ) {
        if self.progress.get(&from).is_some_and(|progress| progress.is_unheard) {
            if request.recovering {
                // It may have lost what it acknowledged in this session. It asks again.
                self.start_replicator(now, from, effects);
            }
        } else if self.hears_boot(now, &from, boot, effects) {
            self.peer_read(now, from, request, effects);
        }
    }

    pub(super) fn append_reply(
        &mut self,
        now: Time,
        from: NodeId,
        boot: Boot,
        reply: &AppendReply,
        effects: &mut Effects,
    ) {
        if let Some(progress) = self.progress.get_mut(&from).filter(|progress| progress.is_unheard) {
            if reply.session != progress.session {
                return;
            }
            progress.is_unheard = false;
        }
        if !self.hears_boot(now, &from, boot, effects) {
            return;
        }
        let Some(progress) = self.progress.get_mut(&from) else { return };
        if reply.session != progress.session || progress.rolled_back {
            return;
        }
        // An answer that was held for the disk may come after a newer one.
        let is_newest = reply.sent_at >= progress.contact;
        progress.contact = progress.contact.max(reply.sent_at);
        progress.round = progress.round.max(reply.round);
        let had_room = progress.has_room;
        if is_newest {
            progress.has_room = Some(!reply.disk_full && reply.result != AppendResult::NoSpace);
            progress.said = Said {
                recovering: reply.recovering,
                machine_down: reply.machine_down,
                applied: reply.applied.or(progress.said.applied),
            };
        }
        if had_room != Some(false) && progress.has_room == Some(false) {
            effects.push(Effect::Notice(Notice::PeerNoSpace { peer: from.clone() }));
        }
        match reply.result {
            AppendResult::Matched { index } => self.matched(now, &from, index, effects),
            AppendResult::Conflict { hint, last } => {
                self.conflict(now, from, reply.sent_at, hint, last, effects);
            }
            AppendResult::NoSpace => self.tell(from, ReplicatorEvent::NoSpace, effects),
            AppendResult::Refused { at } => {
                if let Some(progress) = self.progress.get_mut(&from)
                    && progress.refused_at.replace(at) != Some(at)
                {
                    effects.push(Effect::Notice(Notice::PeerRefuses { peer: from.clone(), at }));
                }
                self.tell(from, ReplicatorEvent::Refused, effects);
            }
        }
    }

    fn matched(&mut self, now: Time, from: &NodeId, index: Index, effects: &mut Effects) {
        let Some(at) = self.state.tail.log_id_at(index) else {
            if index < self.state.tail.start().index {
                // It follows, and what comes next for it was forgotten meanwhile.
                self.tell(from.clone(), self.compacted(), effects);
            }
            return;
        };
        if let Some(progress) = self.progress.get_mut(from)
            && index > progress.match_index
        {
            progress.match_index = index;
            progress.matched_at = now;
        }
        self.tell(from.clone(), ReplicatorEvent::Matched(at), effects);
        self.transfer_if_ready(now, from, effects);
    }

    fn conflict(
        &mut self,
        now: Time,
        from: NodeId,
        sent_at: Time,
        hint: LogId,
        last: Index,
        effects: &mut Effects,
    ) {
        let to = self.state.tail.terms().last_not_above(hint);
        let Some(progress) = self.progress.get_mut(&from) else { return };
        if last < progress.match_index && sent_at > progress.matched_at {
            let acknowledged = progress.match_index;
            progress.rolled_back = true;
            progress.match_index = Index::ZERO;
            // Its replicator goes on: heartbeats keep the peer from campaigning, and its replies show when it has restarted.
            effects.push(Effect::Notice(Notice::RolledBack { peer: from, acknowledged, last }));
            return;
        }
        if sent_at < progress.rewound_at || to.index < progress.match_index {
            return;
        }
        let start = self.state.tail.start();
        if last < start.index || (hint.index <= start.index && hint != start) {
            // The log no longer has what the peer lacks, or where the two part: probing would never end. Where the log begins it
            // has a place and no entry to send.
            self.tell(from, self.compacted(), effects);
            return;
        }
        progress.rewound_at = now;
        self.tell(from, ReplicatorEvent::Rewind(to), effects);
    }
}

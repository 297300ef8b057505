//! What the leader knows of each peer, and what their acknowledgements do to it.

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Effects, Notice};
use crate::entry::LogId;
use crate::ids::{Boot, Index, NodeId, ReplicationSession, Round, Time};
use crate::leader::Leader;
use crate::message::{AppendReply, AppendResult};
use crate::replicator::ReplicatorEvent;

/// One peer, as the leader counts it.
///
/// Invariants: `matched` rises within a session and boot; it never exceeds the leader's last index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    pub(super) session: ReplicationSession,
    /// The newest boot of the peer that was heard; `None` before the first answer.
    boot: Option<Boot>,
    /// What the peer has on disk and agrees with ours.
    pub(super) matched: Index,
    /// When `matched` last rose.
    matched_at: Time,
    /// When this leader sent the newest message that was answered.
    pub(super) contact: Time,
    /// The newest round that was answered.
    pub(super) round: Round,
    /// Rejections of what was sent before this moment are late.
    rewound_at: Time,
    /// Its log went back behind what it acknowledged: not counted until it restarts.
    rolled_back: bool,
    /// Its disk was full when it was last sent entries.
    pub(super) no_space: bool,
}

/// What a leader tells of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who.
    pub peer: NodeId,
    /// What it has on disk and agrees with the leader.
    pub matched: Index,
    /// Microseconds since the leader sent the newest message that was answered.
    pub contact_age_us: u64,
    /// Its log went back behind what it acknowledged.
    pub rolled_back: bool,
}

impl Leader {
    /// Every peer, in order of name.
    pub fn peers(&self, now: Time) -> Vec<PeerStatus> {
        let status = |(peer, progress): (&NodeId, &Progress)| PeerStatus {
            peer: peer.clone(),
            matched: progress.matched,
            contact_age_us: u64::try_from(now.since(progress.contact).as_micros()).unwrap_or(u64::MAX),
            rolled_back: progress.rolled_back,
        };
        self.progress.iter().map(status).collect()
    }

    /// Starts a replicator in a session of its own. What the peer acknowledged before still counts, unless its boot
    /// changed: that is [`Self::forget`].
    pub(super) fn start_replicator(&mut self, now: Time, peer: NodeId, effects: &mut Effects) {
        if !self.state.membership().members.contains_key(&peer) {
            return;
        }
        self.state.sessions = self.state.sessions.next();
        let session = self.state.sessions;
        let progress = self.progress.entry(peer.clone()).or_insert(Progress {
            session,
            boot: None,
            matched: Index::ZERO,
            matched_at: now,
            // A new leader gives everyone one election timeout to answer.
            contact: self.started_at.max(now),
            round: Round::ZERO,
            rewound_at: now,
            rolled_back: false,
            no_space: false,
        });
        progress.session = session;
        progress.rewound_at = now;
        effects.push(Effect::StartReplicator { peer, session, prev: self.state.last() });
    }

    /// The peer restarted: what it acknowledged before may be gone (`safety.md` 5).
    fn forget(&mut self, now: Time, peer: NodeId, boot: Boot, effects: &mut Effects) {
        if let Some(progress) = self.progress.get_mut(&peer) {
            progress.boot = Some(boot);
            progress.matched = Index::ZERO;
            progress.matched_at = now;
            progress.round = Round::ZERO;
            progress.rolled_back = false;
        }
        self.start_replicator(now, peer, effects);
    }

    /// Whether what this boot of the peer says counts. Any message may be the first of a new boot: a recovering peer's
    /// read request comes before its first acknowledgement, and must not be answered while those of the boot before
    /// still count (`safety.md` 5).
    pub(super) fn hears_boot(&mut self, now: Time, from: &NodeId, boot: Boot, effects: &mut Effects) -> bool {
        let Some(progress) = self.progress.get_mut(from) else { return true };
        match progress.boot {
            Some(known) if boot < known => return false,
            Some(known) if boot > known => self.forget(now, from.clone(), boot, effects),
            _ => progress.boot = Some(boot),
        }
        true
    }

    pub(super) fn append_reply(
        &mut self,
        now: Time,
        from: NodeId,
        boot: Boot,
        reply: &AppendReply,
        effects: &mut Effects,
    ) {
        if !self.hears_boot(now, &from, boot, effects) {
            return;
        }
        let Some(progress) = self.progress.get_mut(&from) else { return };
        if reply.session != progress.session || progress.rolled_back {
            return;
        }
        progress.contact = progress.contact.max(reply.sent_at);
        progress.round = progress.round.max(reply.round);
        match reply.result {
            AppendResult::Matched { index } => self.matched(now, &from, index, effects),
            AppendResult::Conflict { hint, last } => {
                self.conflict(now, from, reply.sent_at, hint, last, effects);
            }
            AppendResult::NoSpace => {
                progress.no_space = true;
                effects.push(Effect::Notice(Notice::PeerNoSpace { peer: from.clone() }));
                self.tell(from, ReplicatorEvent::NoSpace, effects);
            }
        }
    }

    fn matched(&mut self, now: Time, from: &NodeId, index: Index, effects: &mut Effects) {
        let Some(at) = self.state.tail.log_id_at(index) else { return };
        if let Some(progress) = self.progress.get_mut(from)
            && index > progress.matched
        {
            progress.matched = index;
            progress.matched_at = now;
            progress.no_space = false;
        }
        self.tell(from.clone(), ReplicatorEvent::Matched(at), effects);
        self.transfer_if_ready(from, effects);
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
        if last < progress.matched && sent_at > progress.matched_at {
            let acknowledged = progress.matched;
            progress.rolled_back = true;
            progress.matched = Index::ZERO;
            // Its replicator goes on: heartbeats keep the peer from standing, and its answer tells when it restarted.
            effects.push(Effect::Notice(Notice::RolledBack { peer: from, acknowledged, last }));
            return;
        }
        if sent_at < progress.rewound_at || to.index < progress.matched {
            return;
        }
        let start = self.state.tail.start();
        if last < start.index {
            // What it lacks is no longer in the log: probing would go on for ever.
            self.tell(from, ReplicatorEvent::Compacted { through: start }, effects);
            return;
        }
        progress.rewound_at = now;
        self.tell(from, ReplicatorEvent::Rewind(to), effects);
    }
}

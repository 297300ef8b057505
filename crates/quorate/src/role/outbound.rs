//! Sends messages of a role or replicator to its peers.
//!
//! A full queue or a link that is down loses a message; that is ordinary, and Raft sends again. A message that can never be
//! sent would stop its group in silence, so it is logged; config validation must exclude it
//! (`crate::config`). What is meant for a member is not sent to another disk that has its name (`crate::roster`). Bound: it keeps a count, and
//! whom it looked at last.

use std::sync::Arc;

use quorate_bridge::{CastError, PeerInfo, RemoteRef};
use quorate_core::{GroupId, Message};

use crate::error::BROKEN_TARGET;
use crate::protocol::GroupProtocol;
use crate::role::codec::encode_message;
use crate::roster::Roster;

/// What one role or replicator sends.
pub(crate) struct Outbound {
    group: GroupId,
    roster: Arc<Roster>,
    /// The other end of the connection that was looked at last, when that was by the roster's count of changes, and whether it is the member.
    looked_at: Option<(Arc<PeerInfo>, u64, bool)>,
    unsendable: u64,
}

impl Outbound {
    pub(crate) fn of(group: GroupId, roster: Arc<Roster>) -> Self {
        Self { group, roster, looked_at: None, unsendable: 0 }
    }

    /// Queues a message for its peer.
    pub(crate) fn send(&mut self, remote: &RemoteRef<GroupProtocol>, message: &Message) {
        let cast = remote.cast_to(&encode_message(message), |peer| self.is_meant(peer));
        let Err(CastError::Malformed { detail }) = cast else { return };
        self.unsendable += 1;
        // It is resent after every timeout: the first, second, fourth .. are logged.
        if self.unsendable.is_power_of_two() {
            let (peer, count) = (&message.to, self.unsendable);
            tracing::error!(target: BROKEN_TARGET, %peer, count, detail, "a message to a peer can never be sent");
        }
    }

    fn is_meant(&mut self, peer: &Arc<PeerInfo>) -> bool {
        let changes = self.roster.changes();
        if let Some((before, at, is_member)) = &self.looked_at
            && Arc::ptr_eq(before, peer)
            && *at == changes
        {
            return *is_member;
        }
        let is_member = self.roster.is_of_group(self.group, peer);
        self.looked_at = Some((peer.clone(), changes, is_member));
        is_member
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_bridge::{Bridge, BridgeHandle, BridgeOptions, Identity, LinkChange, PeerAddress};
    use quorate_core::{
        AppendEntries, Body, Boot, Entry, EntryKind, Hash, Index, NodeId, Position, ReplicationSession,
        Round, Term, Time,
    };
    use quorate_log_lines::lines_of;
    use tokio::sync::mpsc;

    use super::*;

    /// Messages of 8 KiB at most.
    async fn bridge(node: &str, incarnation: u64) -> BridgeHandle {
        let identity = Identity::peer([7; 32], node, incarnation, 1);
        let usual = BridgeOptions::new(format!("outbound-{node}"), identity);
        let listen = Some("127.0.0.1:0".to_owned());
        let options = BridgeOptions { listen, message_bytes_max: 8 << 10, ..usual };
        Bridge::start(options, None).await.expect("it starts")
    }

    fn entries(bytes: usize) -> Message {
        let payload = Bytes::from(vec![0; bytes]);
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(Position::ORIGIN, Term(1), 5, EntryKind::Command, payload, leaf);
        let body = Body::AppendEntries(AppendEntries {
            session: ReplicationSession(1),
            prev: Position::ORIGIN.log_id(),
            entries: vec![entry].into(),
            commit: Index::ZERO,
            round: Round::ZERO,
            sent_at: Time(1),
            snapshot: None,
        });
        let node = |name| NodeId::new(name).expect("a legal name");
        Message { from: node("node0"), to: node("node1"), boot: Boot(1), term: Term(1), body }
    }

    /// The error was thrown away: a group that could send nothing looked like one whose peers are away.
    #[tokio::test]
    async fn a_message_that_can_never_be_sent_is_an_error_in_the_log_ever_less_often() {
        let (here, there) = (bridge("node0", 1).await, bridge("node1", 2).await);
        let (up, mut is_up) = mpsc::channel(8);
        here.on_link_event(move |event| {
            if matches!(event.change, LinkChange::Up { .. }) {
                let _ = up.try_send(());
            }
        });
        let remote = here.remote("node1", "group").expect("legal names");
        let me = NodeId::new("node0").expect("a legal name");
        let roster = Roster::new(me, quorate_core::Incarnation(1), false, std::collections::BTreeMap::new());
        let mut outbound = Outbound::of(GroupId(1), Arc::new(roster));
        let lines = |outbound: &mut Outbound, bytes| lines_of(|| outbound.send(&remote, &entries(bytes))).1;
        assert_eq!(lines(&mut outbound, 64 << 10), [""; 0], "while the link is down, messages are lost");

        let address = there.local_addr().expect("it listens").to_string();
        here.add_peer(PeerAddress::new("node1", address)).expect("legal names");
        is_up.recv().await.expect("the link comes up");
        assert_eq!(lines(&mut outbound, 64), [""; 0], "what can be sent is sent");
        let said: Vec<_> = (1..=5).map(|_| lines(&mut outbound, 64 << 10)).collect();
        let counts: Vec<_> = said.iter().map(Vec::len).collect();
        assert_eq!(counts, [1, 1, 0, 1, 0], "{said:#?}");
        let [line] = &said[3][..] else { panic!("one line: {said:#?}") };
        assert!(line.starts_with("ERROR ") && line.contains(" peer=node1 count=4 "), "{line}");
        here.stop().await;
        there.stop().await;
    }
}

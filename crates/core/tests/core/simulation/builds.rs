//! Mixed builds: one node does not know the newest kind of entries (`docs/decisions/0036-mixed-builds.md`).
//!
//! What it is sent goes through the shipped codec, with a kind that no build knows in the place of the newer one. Of such a
//! message it reads nothing, as the door of a group does. As a leader it is given no newer command, since its machine cannot
//! read it. It is upgraded when all heals, or in a minority not at all.

use bytes::{Bytes, BytesMut};
use quorate_core::{AppendEntries, Body, Entry, EntryKind, Message, MessageError};

use super::cluster::Cluster;
use super::healing::Frozen;
use super::process::Process;

/// What the payload of a newer command has behind its number.
const NEWER: u8 = 9;

/// A kind on the wire that this build does not know.
const UNKNOWN_KIND: u8 = 9;

fn is_newer(entry: &Entry) -> bool {
    entry.kind == EntryKind::Command && entry.payload.get(8) == Some(&NEWER)
}

/// The message as a build sends it that has a kind of its own for newer commands.
fn on_the_wire(message: &Message, append: &AppendEntries) -> Bytes {
    let mut bytes = BytesMut::from(&message.encode()[..]);
    let length: usize = append.entries.iter().map(Entry::encoded_bytes).sum();
    let mut at = bytes.len() - length;
    for entry in &append.entries {
        if is_newer(entry) {
            bytes[at + 1] = UNKNOWN_KIND;
        }
        at += entry.encoded_bytes();
    }
    bytes.freeze()
}

impl Cluster {
    /// Whether the build of this node reads the message.
    pub(crate) fn can_read(&mut self, at: usize, message: &Message) -> bool {
        let Body::AppendEntries(append) = &message.body else { return true };
        let newer = append.entries.iter().find(|entry| is_newer(entry));
        let Some(newer) = newer.filter(|_| self.options.old_build == Some(at)) else { return true };
        match Message::decode(&on_the_wire(message, append)) {
            Err(MessageError::Entries { index, error }) if error.is_newer() => {
                assert_eq!(index, newer.index, "an old build names the entry that it cannot read");
            }
            read => panic!("an entry of an unknown kind is read, or refused without its reason: {read:?}"),
        }
        self.trace(|| format!("n{at} cannot read {message}"));
        self.coverage.note("entries of a newer kind at an old build");
        false
    }

    /// Whether the next command is a newer one; `None` if this node is asked, whose build does not take it.
    pub(crate) fn draws_newer(&mut self, at: usize) -> Option<bool> {
        let Some(old) = self.options.old_build else { return Some(false) };
        let is_newer = self.rng.chance(self.options.newer_commands);
        if is_newer && old == at {
            if self.nodes[at].leads() {
                self.coverage.note("newer command at an old leader");
            }
            return None;
        }
        Some(is_newer)
    }

    pub(crate) fn payload(&mut self, id: u64, is_newer: bool) -> Bytes {
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend(is_newer.then_some(NEWER));
        payload.resize(payload.len() + self.rng.below(self.options.payload_max) as usize, 7);
        payload.into()
    }

    /// Whether a newer command is committed that this node does not have: then it can win no election.
    fn lacks_what_is_committed(&self, at: usize) -> bool {
        let last = self.nodes[at].disk.log.len();
        let has_more = |node: &Process| {
            let commit = node.state().map_or(0, |state| state.commit().0 as usize);
            node.disk.log.iter().take(commit).skip(last).any(is_newer)
        };
        self.nodes.iter().any(has_more)
    }

    /// All is healed: the old build is replaced, or stays for good in a minority.
    pub(crate) fn upgrade(&mut self) {
        let Some(at) = self.options.old_build else { return };
        if self.nodes[at].frozen.is_some() {
            return;
        }
        if !self.options.heals_all && self.may_freeze(at) && self.lacks_what_is_committed(at) {
            self.freeze(at, Frozen::Old);
        } else {
            self.coverage.note("an old build is upgraded");
            self.options.old_build = None;
        }
    }
}

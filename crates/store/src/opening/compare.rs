//! Comparing the logs with the anchor, and rewriting the older copy of each hard state (`safety.md` 1, 5, 6).

use quorate_core::Position;

use super::report::OpenNotice;
use super::state::{Contents, Opening};
use crate::disk::{Batch, Keyspace};
use crate::error::OpenError;
use crate::log::{GroupState, Row, encode};

impl Opening {
    /// Compares, reports what is lost or damaged, and makes both sides agree, synced. Loss marks every group of the node: if
    /// something of one batch is lost, everything after that batch may be, too.
    pub(super) fn settle(&mut self, contents: &mut Contents) -> Result<(), OpenError> {
        let lost: Vec<OpenNotice> = contents
            .groups
            .values()
            .filter_map(|group| {
                let at = contents.at_durable.get(&group.group).copied().flatten();
                self.loss(group, at).map(|detail| OpenNotice::Lost { group: group.group, detail })
            })
            .collect();
        let any_lost = !lost.is_empty();
        self.notices.extend(lost);
        let bad = self.damage.bad.iter().chain(&self.damage.bad_tables);
        self.notices
            .extend(bad.map(|bad| OpenNotice::BadSector { sector: bad.sector, detail: bad.detail.clone() }));
        self.settle_hard_states(contents, any_lost)?;
        for group in contents.groups.values() {
            self.anchor.set_durable(group.slot, group.last);
        }
        self.anchor.write_tables(&mut *self.disk)?;
        Ok(self.anchor.sync(&mut *self.disk)?)
    }

    /// What a group lost; `at` is its position at the anchor's durable index.
    fn loss(&self, group: &GroupState, at: Option<Position>) -> Option<String> {
        if self.damage.unknown.contains(&group.slot) {
            return Some("both places of its durable index in the anchor are damaged".to_owned());
        }
        let durable = self.anchor.durable(group.slot);
        let start = self.anchor.groups[group.slot].record.start;
        if start.index > group.start.index {
            return Some(format!("it began after {}, now after {}", start.log_id(), group.start.log_id()));
        }
        if durable.index > group.last.index {
            return Some(format!("it had {} on disk and ends at {}", durable.log_id(), group.last.log_id()));
        }
        if durable.index >= group.start.index && at != Some(durable) {
            return Some(format!("it has another entry at {} than it had", durable.index));
        }
        None
    }

    /// Both copies get the newer term and vote, synced, the anchor first.
    fn settle_hard_states(&mut self, contents: &mut Contents, any_lost: bool) -> Result<(), OpenError> {
        let mut batch = Batch::new();
        for group in contents.groups.values_mut() {
            let proven = contents.proven.contains(&group.group);
            if any_lost || (contents.put_back.is_some() && !proven) {
                group.hard = group.hard.marked_recovering();
            } else if proven {
                group.hard = group.hard.unmarked();
            }
            let only_copy = group.memberships.current().all_voters().eq([&self.options.node]);
            let cell = &mut self.anchor.groups[group.slot].record;
            let changed = cell.hard != group.hard || cell.start != group.start || cell.only_copy != only_copy;
            let stale = cell.aside.is_some() && !group.hard.is_recovering();
            if changed || stale || !self.damage.bad.is_empty() {
                cell.only_copy = only_copy;
                let (slot, hard) = (group.slot, group.hard.clone());
                // Until the database has its new number, another start must find the same proof.
                if contents.put_back.is_some() {
                    self.anchor.write_group_with_aside(&mut *self.disk, slot, hard, group.start)?;
                } else {
                    self.anchor.write_group(&mut *self.disk, slot, hard, group.start)?;
                }
            }
            let key = Row::Hard.key(group.group);
            let value = encode(&key, &group.hard);
            if self.disk.get(Keyspace::Hard, &key)?.as_ref() != Some(&value) {
                batch.put(Keyspace::Hard, key, value);
            }
        }
        self.anchor.sync(&mut *self.disk)?;
        self.commit_database_record(batch)?;
        if contents.put_back.is_some() {
            for group in contents.groups.values() {
                self.anchor.write_group(&mut *self.disk, group.slot, group.hard.clone(), group.start)?;
            }
        }
        Ok(())
    }
}

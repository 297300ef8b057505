//! Making the database, at first start or in the place of a damaged one (`safety.md` 6).

use quorate_core::Position;

use super::report::OpenNotice;
use super::state::{Contents, Opening};
use crate::anchor::{Aside, DatabaseStatus, IDENTITY_SECTORS};
use crate::disk::Batch;
use crate::error::OpenError;

impl Opening {
    /// First start, or the continuation of one that was interrupted: what is here was never used, and is deleted. A database that the
    /// node did not begin to make itself is kept.
    pub(super) fn initialise(&mut self) -> Result<Contents, OpenError> {
        if self.disk.database_exists()? && !(self.is_blank() && self.disk.delete_unused_database()?) {
            let to = self.disk.set_database_aside()?;
            let detail = "it was there before the first start of this node was through".to_owned();
            self.notices.push(OpenNotice::SetAside { to, detail });
        }
        self.begin(self.boot_before.next());
        self.make_database()
    }

    /// Whether the anchor says that nothing was ever acknowledged here. A damaged sector of its identity is that of a start that ended
    /// while it wrote there that the database is made: until both sectors say so, nothing is acknowledged.
    fn is_blank(&self) -> bool {
        self.anchor.groups.is_empty()
    }

    /// Refuses to set the only copy of a log aside: without it nothing is left to recover from.
    pub(super) fn replace_damaged(&mut self, detail: String) -> Result<Contents, OpenError> {
        match self.anchor.groups.iter().find(|group| group.record.only_copy) {
            Some(only) => {
                let group = only.record.name.clone();
                Err(OpenError::OnlyCopy { place: self.disk.place(), group, database: detail })
            }
            None => self.rebuild(detail),
        }
    }

    /// Replaces a damaged database, in this order: every group is marked Recovering and synced; the identity says Rebuilding;
    /// the database is replaced.
    ///
    /// An interrupted replacement is done again from the start, marks included: the status that says so may come from an old
    /// sector of the identity, and the database may be a healthy one.
    pub(super) fn rebuild(&mut self, detail: String) -> Result<Contents, OpenError> {
        // An interrupted one may have torn the identity. Group cells were synced before that, and must be whole.
        let interrupted = self.anchor.identity.status == DatabaseStatus::Rebuilding;
        if let Some(bad) = self.damage.bad.iter().find(|bad| !(interrupted && bad.sector < IDENTITY_SECTORS))
        {
            let anchor = format!("sector {}: {}", bad.sector, bad.detail);
            return Err(OpenError::BothDamaged { place: self.disk.place(), database: detail, anchor });
        }
        self.anchor.write_again(&mut *self.disk)?;
        for slot in 0..self.anchor.groups.len() {
            let record = &self.anchor.groups[slot].record;
            // A cell that is marked already is not put at risk by another write.
            if !record.hard.is_recovering() || record.start != Position::ORIGIN {
                let hard = record.hard.marked_recovering();
                let (database, start, durable) =
                    (self.anchor.identity.database, record.start, self.anchor.durable(slot));
                if !record.hard.is_recovering() && !self.damage.unknown.contains(&slot) {
                    self.anchor.groups[slot].record.aside = Some(Aside { database, start, durable });
                }
                self.anchor.write_group(&mut *self.disk, slot, hard, Position::ORIGIN)?;
            }
            self.anchor.set_durable(slot, Position::ORIGIN);
        }
        self.anchor.write_tables(&mut *self.disk)?;
        self.anchor.sync(&mut *self.disk)?;
        self.anchor.identity.status = DatabaseStatus::Rebuilding;
        self.anchor.identity.database += 1;
        self.begin(self.boot_before.next());
        self.anchor.write_identity_twice(&mut *self.disk)?;
        if self.disk.database_exists()? {
            let to = self.disk.set_database_aside()?;
            self.notices.push(OpenNotice::SetAside { to, detail });
        }
        self.make_database()
    }

    fn make_database(&mut self) -> Result<Contents, OpenError> {
        self.disk.create_database()?;
        self.commit_database_record(Batch::new())?;
        self.anchor.identity.status = DatabaseStatus::Ready;
        self.anchor.write_identity_twice(&mut *self.disk)?;
        Ok(Contents { boot: self.boot_before, ..Contents::default() })
    }
}

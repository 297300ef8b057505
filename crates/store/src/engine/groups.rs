//! Making a group, or finding it.

use quorate_core::{GroupId, HardRecord, Index, Membership, Position, SnapshotBase, check_name};

use crate::anchor::GroupRecord;
use crate::disk::Batch;
use crate::error::{GroupError, StoreError};
use crate::log::{GroupState, NameRecord, Row, put};
use crate::store::Store;

impl Store {
    /// Makes a group, or finds it; in a group that exists `founding` is ignored. Returns its number.
    pub fn open_group(&mut self, name: &str, founding: &Membership) -> Result<GroupId, GroupError> {
        self.check_failed()?;
        check_name(name)?;
        let group = GroupId::of_name(name);
        let slot = self.anchor.slot_of(group);
        if let Some(slot) = slot {
            let other = &self.anchor.groups[slot].record.name;
            if other != name {
                return Err(GroupError::Collision { name: name.to_owned(), group, other: other.clone() });
            }
        }
        if !self.groups.contains_key(&group) {
            self.change(|store| store.make_group(group, slot, name, founding))?;
        }
        Ok(group)
    }

    fn make_group(
        &mut self,
        group: GroupId,
        slot: Option<usize>,
        name: &str,
        founding: &Membership,
    ) -> Result<(), StoreError> {
        let slot = if let Some(slot) = slot {
            slot
        } else {
            let hard = HardRecord::default();
            let record = GroupRecord {
                group,
                name: name.to_owned(),
                hard,
                start: Position::ORIGIN,
                aside: None,
                only_copy: founding.all_voters().eq([&self.identity.node]),
            };
            self.anchor.add_group(&mut *self.disk, record)?
        };
        let mut hard = self.anchor.groups[slot].record.hard.clone();
        let promised = !hard.is_initial() || self.anchor.durable(slot) != Position::ORIGIN;
        if promised && !hard.is_recovering() {
            // The anchor has made promises for a log that is not here: the node may not vote without it (`safety.md` 5).
            hard = hard.marked_recovering();
            self.anchor.write_group(&mut *self.disk, slot, hard.clone(), Position::ORIGIN)?;
            self.anchor.set_durable(slot, Position::ORIGIN);
            self.write_durable()?;
        }
        let mut state =
            GroupState::empty(group, name.to_owned(), hard, SnapshotBase::origin(founding.clone()));
        state.slot = slot;
        let mut batch = Batch::new();
        let record = NameRecord { name: name.to_owned(), founding: founding.clone() };
        put(&mut batch, Row::Name.key(group), &record);
        put(&mut batch, Row::Hard.key(group), &state.hard);
        put(&mut batch, Row::Marker.key(group), &state.marker(Index(1)));
        self.disk.commit(&batch)?;
        self.groups.insert(group, state);
        Ok(())
    }
}

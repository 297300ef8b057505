//! The anchor: what must survive the database (`safety.md` 1, 3 to 6). A small file in sectors of 4 KiB.
//!
//! Cell 0 is the identity. Then come blocks of one table cell and 64 group cells, so the file grows without moving
//! anything. A group cell holds term, vote, the Recovering flag and the log's beginning, and is synced when they change; a
//! table cell holds the durable index and hash of its block's groups, and lags (`safety.md` 3).

mod cell;
mod file;
mod records;
mod sector;
mod table;

pub(crate) use self::file::{Anchor, AnchorDamage, IDENTITY_SECTORS, newer_of};
pub(crate) use self::records::{Aside, DatabaseStatus, GroupRecord, IdentityRecord};

//! The disk of production: fjall for rows, a file for the anchor, a lock on both.
//!
//! `<dir>/lock`, `<dir>/anchor`, `<dir>/db/` (fjall), `<dir>/db.damaged-N/` (set aside), `<dir>/ballast`, `<dir>/snapshots/`.
//!
//! fjall is used in few ways, each measured: batches with `SyncData`, `get`, `range` on the writing thread, `drop_range`.
//! Never `insert`, `Buffer`, `clear`, `persist`, FIFO or deleted keyspaces: they pin journals, tear or lose. (`room` calls
//! `persist` when nothing is left to sync, to learn whether fjall's thread has ended.)
//!
//! fjall takes some damage for an ordinary torn tail or a newer format, so its files are checked here before it opens them:
//! `manifest` (which files count), `names` (which are fjall's own) and `preflight` (every journal). If it gives up all the same,
//! `tables` says whether a checksum is wrong; if none is, nothing is set aside. `in_place` watches that the files stay there, and
//! `unused` tells a database that was never used.

mod database;
mod disk;
mod drop_tables;
mod file;
mod in_place;
mod journal;
mod manifest;
mod names;
mod numbered;
mod preflight;
mod room;
mod snapshots;
mod tables;
mod unused;

pub use self::database::FjallOptions;
pub use self::disk::FjallDisk;
pub(crate) use self::snapshots::SnapshotDirectory;
#[cfg(test)]
pub(crate) use self::{
    database::guarded,
    journal::{Journal, check as check_journal, written as journal_written},
    preflight::write_last_batch,
};

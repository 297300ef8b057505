//! The disk under the store: the seam, fjall and the anchor's file behind it in production, and a simulated one.

mod backlog;
mod error;
mod fjall;
mod seam;
mod sim;
mod snapshots;

pub use self::backlog::Backlog;
pub use self::error::{DiskError, Lacking};
pub(crate) use self::fjall::SnapshotDirectory;
pub use self::fjall::{FjallDisk, FjallOptions};
#[cfg(test)]
pub(crate) use self::fjall::{Journal, check_journal, guarded, journal_written, write_last_batch};
pub use self::seam::{Batch, Disk, Files, Keyspace, SECTOR_BYTES, Sector, TornTail, Visit};
pub use self::sim::{Crash, Rot, SimDisk, SimImage};
pub use self::snapshots::{SnapshotDisk, VolumeBytes};

//! The durable snapshot files of a node: a machine's state at a position of its group's log (`docs/formats-store.md`).
//!
//! Owns the files' names and bytes in the directory `snapshots`. It is called by what takes, sends and receives snapshots, on a
//! thread that may block, and calls [`SnapshotDisk`](crate::SnapshotDisk) alone. It never decides when a snapshot is taken, which
//! are kept, or whether the log may be compacted, and it reads no clock. It leaves the reserve of the disk free, and takes what a reader found damaged out of the way.
//!
//! A file has its own name only when it is whole and synced; until then it is a *part*, under a name that no reader looks at. A
//! crash loses parts, which are made or fetched again, and leaves a published file whole. What is read is what was written, or a
//! [`SnapshotError`] that says where it is not. Bound: one chunk (256 KiB) in memory for each writer, reader and receiver, whatever
//! a file's lengths claim.

mod error;
mod file;
mod header;
mod name;
mod offline;
mod opened;
mod reader;
mod receive;
mod record;
mod room;
mod snapshots;
mod stored;
mod writer;

pub use self::error::SnapshotError;
pub use self::file::SnapshotFile;
pub use self::header::{SnapshotHead, SnapshotInfo};
pub use self::offline::{inspect_snapshot, open_snapshot};
pub use self::reader::SnapshotPayload;
pub use self::receive::Incoming;
pub use self::record::CHUNK_BYTES_MAX;
pub use self::snapshots::{DamagedSnapshot, SnapshotList, Snapshots};
pub use self::writer::{SnapshotWriter, Written};

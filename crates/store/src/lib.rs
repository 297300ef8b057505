//! The log store: everything that must survive a crash of this node, and nothing else.
//!
//! Theory of operation. One fjall database per node holds the logs of all its groups, one *run* of entries per row. A small
//! file, the *anchor*, holds what must survive the database: whose directory it is, each group's term, vote and Recovering
//! flag, and (a little behind) how far each log reached. fjall stores, and this crate verifies: a hash chain runs through
//! each log and is checked on every read from disk, and at opening the logs are compared with the anchor, so that a missing
//! old batch is detected. One batch and one sync carry everything that waits, of all groups. The rules are `docs/safety.md`
//! 1, 3 to 9, 14 and 16; the bytes are in `docs/formats-store.md`.
//!
//! - [`Disk`] is the seam: [`FjallDisk`] for production, [`SimDisk`] for simulation and in-memory nodes.
//! - [`Store`] is synchronous and owned by one thread: formats, ordering, opening.
//! - [`StoreThread`] starts that thread, or runs [`inline`](StoreThread::inline) in simulation.
//! - In front of it stands an actor of another crate, which gathers requests while the thread works.
//!
//! It never retries a sync, answers after a failure, decides what a vote or an entry means, or hashes what it is given to
//! write; it reads no clock except the thread's, for the anchor's lag.
//!
//! Beside it, and without it: [`Snapshots`], the files with the states of machines, on the seam [`SnapshotDisk`]. They are written
//! and read by other threads than the store's.
//!
//! Modules import downwards only: `disk`, `log` and `anchor`, `store`, `opening`, `engine`; `snapshot` knows `disk` alone.

mod anchor;
mod disk;
mod engine;
mod error;
mod lock;
mod log;
mod opening;
mod options;
mod snapshot;
mod space;
mod store;
#[cfg(test)]
mod tests;

pub use self::disk::{
    Backlog, Batch, Crash, Disk, DiskError, Files, FjallDisk, FjallOptions, Keyspace, Lacking, Rot,
    SECTOR_BYTES, Sector, SimDisk, SimImage, SnapshotDisk, TornTail, Visit, VolumeBytes,
};
pub use self::engine::{
    ANCHOR_LAG_MAX, Answer, FailureKind, FatalSink, Founded, GroupWrite, Install, LoadedGroup, PeerSource,
    Progress, ProgressSink, StoreEvent, StoreFatal, StoreHandle, StoreRequest, StoreSink, StoreStats,
    StoreThread, Submitted,
};
pub use self::error::{GroupError, OpenError, StoreError};
pub use self::opening::{GroupReport, Offline, OfflineGroup, OfflineReport, OpenNotice, OpenReport, peek};
pub use self::options::StoreOptions;
pub use self::snapshot::{
    CHUNK_BYTES_MAX, DamagedSnapshot, Incoming, SnapshotError, SnapshotFile, SnapshotHead, SnapshotInfo,
    SnapshotList, SnapshotPayload, SnapshotWriter, Snapshots, Written, inspect_snapshot, open_snapshot,
};
pub use self::space::{ByteCount, Resource, Shortage, Space};
pub use self::store::{Identity, Store};

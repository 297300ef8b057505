//! The log store: everything that must survive a crash of this node, and nothing else.
//!
//! Theory of operation. One fjall database per node holds the logs of all its groups, a *run* of entries per row; one
//! small file of our own, the *anchor*, holds what must survive the database: who this node is, each group's term, vote
//! and Recovering flag, and (a little behind) how far each log reached. fjall stores, and we verify: a hash chain runs
//! through each log and is checked on every read from disk, and at opening the logs are compared with the anchor, so
//! that an old batch that is silently gone is noticed. One batch and one sync carry everything that waits, of all
//! groups. The rules are `docs/safety.md` 1, 3 to 9, 14 and 16; the bytes are in `docs/formats-store.md`.
//!
//! - [`Disk`] is the seam: [`FjallDisk`] for production, [`SimDisk`] for simulation and `Node::single_memory` of quorate.
//! - [`Store`] is synchronous and owned by one thread: formats, ordering, opening.
//! - [`StoreThread`] starts that thread, or runs [`inline`](StoreThread::inline) in simulation.
//! - The actor in front of it is `quorate`'s `LogStore`: it gathers while the thread works.
//!
//! It never: retries a sync, answers after a failure, decides what a vote or an entry means, reads a clock (but the
//! thread's, for the anchor's lag), hashes on the way in.

mod anchor;
mod cell;
mod disk;
mod engine;
mod error;
mod event;
mod fjall;
mod fjall_drop;
mod fjall_room;
mod group;
mod lifecycle;
mod offline;
mod open;
mod preflight;
mod read;
mod records;
mod request;
mod runs;
mod sector;
mod sim;
mod sim_faults;
mod sim_image;
#[cfg(test)]
mod tests;
mod thread;
mod types;
mod version;
mod write;

pub use self::disk::{Batch, Disk, DiskError, Keyspace, SECTOR_BYTES, Sector, TornTail, Visit};
pub use self::engine::StoreStats;
pub use self::error::{GroupError, OpenError, StoreError};
pub use self::event::{FatalSink, StoreEvent, StoreFatal, StoreSink};
pub use self::fjall::{FjallDisk, FjallOptions};
pub use self::offline::{Offline, OfflineGroup, OfflineReport};
pub use self::open::{Store, peek};
pub use self::request::{Answer, StoreRequest};
pub use self::sim::SimDisk;
pub use self::sim_faults::Rot;
pub use self::sim_image::{Crash, SimImage};
pub use self::thread::{Progress, ProgressSink, StoreHandle, StoreThread, Submitted};
pub use self::types::{
    ANCHOR_LAG_MAX, GroupReport, GroupWrite, Identity, Install, LoadedGroup, OpenNotice, OpenReport,
    ScrubReport, Space, StoreOptions,
};

//! Opening: what is on disk is compared with what was promised, and nothing leaves this node before both agree.
//!
//! 1. The anchor is read; a cell with no whole sector is refused.
//! 2. The database is checked, opened, and every log walked from its first entry (`contents`).
//! 3. Anchor and database are compared (`safety.md` 1, 5, 6): the newer term and vote holds; a log that is shorter
//!    than its durable index, or has another hash there, was damaged (`compare`). A damaged database is replaced (`rebuild`).
//! 4. The anchor is written only when nothing can be refused any more: first its newest sectors again, since they may be in
//!    the page cache only, then the boot number, synced. A refusal that wrote the anchor would destroy its own evidence, and
//!    the next attempt would open.
//! 5. The older copies of term and vote are rewritten and synced; then the store is open.

mod compare;
mod contents;
mod offline;
mod open;
mod peek;
mod rebuild;
mod report;
mod state;

pub use self::offline::{Offline, OfflineGroup, OfflineReport};
pub use self::peek::peek;
pub use self::report::{GroupReport, OpenNotice, OpenReport};

//! What an open store does: writes, reads, and the I/O thread that carries out what roles ask for.

mod cut;
mod event;
mod execute;
mod founding;
mod groups;
mod install;
mod peers;
mod read;
mod reclaim;
mod request;
mod space;
mod thread;
mod work;
mod write;

pub use self::event::{FailureKind, FatalSink, StoreEvent, StoreFatal, StoreSink};
pub use self::execute::StoreStats;
#[cfg(test)]
pub(crate) use self::execute::{Engine, Shared};
pub use self::founding::Founded;
pub use self::install::Install;
pub use self::read::LoadedGroup;
pub use self::request::{Answer, PeerSource, StoreRequest};
pub use self::thread::{ANCHOR_LAG_MAX, Progress, ProgressSink, StoreHandle, StoreThread, Submitted};
pub use self::write::GroupWrite;

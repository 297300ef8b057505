//! The log store's actor, in front of [`quorate_store`] and its I/O thread.

mod actor;

pub use self::actor::{LogStore, LogStoreState};

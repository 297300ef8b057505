//! One running node with its API.
//!
//! Owns the node, and one task that owns the API's listeners and connections. The order at the end: nothing new is
//! accepted, leadership is handed over, what is under way is answered, the store is closed. A crash of a handler costs
//! its connection.

mod begun;
mod connection;
mod error;
mod explain;
mod listen;
mod listening;
mod lobby;
mod options;
mod places;
mod restore;
mod running;
mod signals;
mod stall;
mod starting;

pub use self::error::ServeError;
pub(crate) use self::options::RAFT_CONNECTIONS_MAX;
pub use self::options::ServeOptions;
pub use self::restore::{RestoreError, restore};
pub use self::running::{Running, serve};
pub(crate) use self::signals::until_signal;
pub use self::signals::{Ended, Signals};

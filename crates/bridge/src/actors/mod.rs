//! The three kinds of supervised actors and the supervisor above them.
//!
//! ```text
//! Bridge            restarts the rest; owned tables and the socket live above it, in Core
//! ├─ Listener       accepts
//! ├─ Session        one per inbound connection
//! └─ Link           one per peer: connect, handshake, serve, reconnect
//! ```

pub(crate) mod bridge;
pub(crate) mod children;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod session;

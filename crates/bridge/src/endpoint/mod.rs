//! What is exposed here and can be called there.
//!
//! - Contract: `protocol.rs` (what two ends agree on), `reply.rs` (the answer to one call).
//! - Exposed here: `expose.rs` (a name's target), `exposures.rs` (the table of names), `requests.rs` (the receiver of
//!   the side that was dialled), `monitored.rs` (the names its peer monitors).
//! - Called there: `peer.rs` (a remote node), `remote.rs` (a typed reference), `call.rs` (one call), `monitor.rs` (who
//!   monitors what), `answers.rs` (the receiver of the side that dialled).
//! - `observers.rs` and `outbox.rs` deliver events to callers' closures.

mod answers;
mod call;
mod expose;
mod exposures;
mod monitor;
mod monitored;
mod observers;
mod outbox;
mod peer;
mod protocol;
mod remote;
mod reply;
mod requests;

pub(crate) use answers::serve_outbound;
pub use expose::{Exposed, SinkClosed};
pub(crate) use exposures::Exposures;
pub(crate) use observers::LinkObservers;
pub(crate) use peer::{Peer, Peers, Target};
pub use protocol::{Inbound, Protocol};
pub use remote::RemoteRef;
pub use reply::{Replies, ReplyPort};
pub(crate) use requests::serve_inbound;

//! Who is at the other end of a connection, and whether it may connect. The lowest floor: it knows no frame and no
//! connection.
//!
//! - `node.rs`: what a node says of itself, and what is kept of that for each connection.
//! - `admission.rs`: the seam where the owner of the bridge decides.
//! - `boots.rs`: the boot numbers seen, so that an older start of a node is refused.

mod admission;
mod boots;
mod node;

pub(crate) use admission::AdmitAll;
pub use admission::{Admission, Admitting, Direction, Refusal, RefusalCode};
pub(crate) use boots::Boots;
pub use node::{Hello, Identity, PeerInfo, PeerKind};

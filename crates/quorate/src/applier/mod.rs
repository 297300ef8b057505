//! The applier: stages 6 and 7 of 7, Applied and Replied; from Committed to the caller.
//!
//! - `actor`: the actor, of one machine type.
//! - `waiters`: the proposals that have an index and wait for their entry.

mod actor;
mod waiters;

use std::future::Future;
use std::pin::Pin;

use ractor::{ActorCell, ActorRef, SpawnErr};
use tokio::task::JoinHandle;

pub(crate) use actor::{ApplierMessage, ApplierStart, MachineFactory};

/// What spawning an applier comes to.
pub(crate) type Spawning<'a> =
    Pin<Box<dyn Future<Output = Result<(ActorRef<ApplierMessage>, JoinHandle<()>), SpawnErr>> + Send + 'a>>;

/// Makes appliers of one machine type, as often as they end; owned above the group's actor.
pub(crate) trait ApplierFactory: Send + Sync {
    fn spawn(&self, name: String, start: ApplierStart, supervisor: ActorCell) -> Spawning<'_>;
}

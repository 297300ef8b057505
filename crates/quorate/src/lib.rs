//! A distributed runtime whose actors agree: an application spawns a *Raft actor* as it spawns any ractor actor, gives
//! it a state machine, and has one replicated, linearizable object that survives crashed actors, killed processes,
//! damaged disks and cut networks.
//!
//! ```
//! # async fn example() -> anyhow::Result<()> {
//! use quorate::machine::{Add, Counter, Total};
//! use quorate::{Consistency, Node};
//!
//! let count = Node::single_memory(Counter::default()).await?;
//! assert_eq!(count.propose(Add(5)).await?, 5);
//! assert_eq!(count.query(Total, Consistency::Linearizable).await?, 5);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! Start with [`Node::builder`]; write a [`StateMachine`] of your own after
//! [`machine::Counter`]. What is promised, and what is not, stands in the project's README.
//!
//! It is not: a database, a way to share memory between nodes, or Byzantine fault tolerant.

mod address;
mod applier;
mod attempt;
mod client;
mod clock;
pub mod config;
mod context;
mod error;
mod failure;
mod gauge;
mod group;
mod handle;
mod host;
mod instance;
mod lock;
mod log_store;
pub mod machine;
mod members;
mod messages;
mod no_space;
mod node;
mod ports;
mod protocol;
mod ranges;
mod recovering;
mod replay;
mod restarts;
mod role;
mod roster;
mod route;
mod route_watch;
mod snapshotter;
mod supervision;

/// The log store: the crate `quorate-store`, and the actor that drives it.
pub mod store {
    pub use quorate_store::*;

    pub use crate::log_store::{LogStore, LogStoreState};
    pub use crate::messages::store::{AnswerPort, Internal, StoreMessage, port_answer};
}

pub use client::{Client, ClientError, ClientOptions, RemoteGroup};
pub use clock::system_wall_ms;
pub use config::{Config, ConfigError};
pub use error::{
    BROKEN_TARGET, BusyCause, ChangeError, NotReadyReason, Outcome, ProposeError, QueryError, SnapshotFailed,
    TransferError,
};
pub use failure::{GroupError, NodeFailure};
pub use handle::facade::FacadeMessage;
pub use handle::group::GroupHandle;
pub use handle::log::LogEntry;
pub use handle::members::Members;
pub use handle::snapshot::SnapshotBytes;
pub use handle::status::GroupStatus;
pub use host::workers::{MachineJob, MachineThreads};
pub use machine::StateMachine;
pub use members::{JoinerView, MemberKind, MemberView, MembersView};
pub use messages::role::{MemberStatus, RoleStatus};
pub use node::{ActorStatus, Injury, Node, NodeBuilder, RestoreFailed, Restored, StartError};
pub use ports::{Answered, Applied};
pub use protocol::Consistency;
pub use quorate_bridge::{Acceptor, LinkState, LinkStatus, Net, NetFuture, Stream, TokioNet};
pub use quorate_core::{
    Change, ChangeRefusal, Entry, EntryKind, Incarnation, Index, Member, NodeId, PeerStatus, Standing,
    TransferRefusal,
};
pub use quorate_store::{ByteCount, Resource, Shortage, Space};
/// The actor library, in the version and with the features that the actors here were built with.
pub use ractor;
pub use ranges::SettingRange;
pub use restarts::{RESTART_RULES, RestartRule};

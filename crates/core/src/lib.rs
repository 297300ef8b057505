//! The rules of Raft, and nothing else: no runtime, no actor, no store, no clock, no randomness, no I/O.
//!
//! [`Follower`], [`Candidate`], [`Leader`] and [`Replicator`] are each stepped by a typed event and answer with typed
//! effects; none acts. The runtime's actors are thin shells around them. Tests compose the same types into one replica
//! (`tests/core/world`) for the model check, the golden transcripts and the simulation.
//!
//! The ordering contract that they keep is `docs/safety.md`. The words are those of the Raft paper (Ongaro, Ousterhout 2014)
//! and of Ongaro's thesis.
//!
//! It is not a library to embed directly: see the `quorate` crate.

mod apply;
mod candidate;
mod change;
mod config;
mod durability;
mod effect;
mod entries;
mod entry;
mod follower;
mod hard_state;
mod ids;
mod leader;
mod membership;
mod message;
mod random;
mod replicator;
mod stage;
mod state;
mod tail;
mod terms;
mod window;

pub use candidate::{Candidate, CandidateEvent, Phase};
pub use change::{Change, ChangeRefusal};
pub use config::{Config, ConfigError};
pub use durability::{Persist, SnapshotBase};
pub use effect::{
    Become, Effect, Effects, NextRole, Notice, PeerLink, ReadId, Reader, Refusal, RoleEvent, SnapshotWanted,
    TransferRefusal,
};
pub use entries::Entries;
pub use entry::{
    ENTRY_VERSION, Entry, EntryError, EntryKind, FIXED_BYTES, HEADER_BYTES, Hash, LogId, PAYLOAD_BYTES_MAX,
    Position, chain_hash, decode_run, encode_run, verify_run,
};
pub use follower::{Follower, FollowerEvent};
pub use hard_state::{BrokenPromise, HardRecord, HardState, TwoVotes};
pub use ids::{
    Boot, Epoch, GroupId, Incarnation, Index, NameError, NodeId, ReplicationSession, Round, Sequence, Term,
    Time, check_name,
};
pub use leader::{Leader, LeaderEvent, PeerStatus, Proposal};
pub use membership::{Member, Membership, MembershipLog, REMOVED_MAX, REPLACED_MAX};
pub use message::{
    AppendEntries, AppendReply, AppendResult, Body, MachineProgress, Message, MessageError, ReadIndexReply,
    ReadIndexRequest, VoteKind, VoteReply, VoteRequest,
};
pub use random::SplitMix64;
pub use replicator::{ReplicationState, Replicator, ReplicatorEffect, ReplicatorEvent};
pub use stage::Stage;
pub use state::{Loaded, ReplicaState, Standing};
pub use tail::Tail;
pub use terms::Terms;

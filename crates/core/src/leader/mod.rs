//! The leader: appends commands, decides what is committed, confirms that it still leads.
//!
//! - `propose`: stage 2 of 7 (Appended); `acks` and `commit`: stage 5 of 7 (Committed).
//! - It counts itself only once its own disk has the entry, but sends the entry before that (`safety.md` 10).
//! - It commits by counting only entries of its own term (Raft paper, section 5.4.2).
//! - `change`: the members change through joint configurations; `departing`: who comes and goes gets and loses its replicator.
//! - It steps down when it has not been in contact with a quorum for an election timeout (check quorum).

mod acks;
mod change;
mod commit;
mod commit_times;
mod departing;
mod fetch;
mod lag;
mod progress;
mod proposal;
mod propose;
mod reads;
mod role;
mod room;
mod transfer;
mod waiting_reads;

pub use progress::PeerStatus;
pub use proposal::Proposal;
pub use role::{Leader, LeaderEvent};

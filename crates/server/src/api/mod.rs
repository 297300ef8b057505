//! The REST API: what every node answers over HTTP. A write goes to the leader over the bridge, one hop, and a
//! linearizable read is confirmed by the leader and answered here; the library does both, so a handler only translates.
//!
//! - `command`, `kv`, `counters`: the data. `cluster`, `members`, `leader`, `status`, `log`: the cluster. `actors`, `drain`, `health`,
//!   `page`: this node. `ready`, `leaderless`, `linked`: what it needs to take work.
//! - `code`, `problem`, `unchanged`: every error, as `application/problem+json`, with refused, failed or unknown.
//! - `origin_guard`, `names`: which requests come from a web page and are refused. `caller`: which come from the node's own machine.
//! - `call`: how a request reaches the state machine. `params`, `headers`, `conditions`, `cursor`, `body`, `text`: what requests say.
//!   `understood`: headers that a call does not understand, which are refused.
//! - `answers`, `rooms`, `written`, `pages`: long answers, their room in memory, JSON that is written into it, and pages of lists. `state`, `options`: what handlers share. `peers`: other nodes' APIs. `router`: which handler answers which path.
//! - `openapi`: the description, made from the handlers; `describe` adds what is the same for many calls.
//!
//! Refused: axum's own extractors for bodies and parameters, because their errors are not problems; a layer that answers
//! when a time has passed, because it could not say whether a write may yet happen.

mod actors;
mod answers;
mod body;
mod call;
mod caller;
mod cluster;
mod code;
mod command;
mod conditions;
mod counters;
mod cursor;
mod describe;
mod drain;
mod headers;
mod health;
mod kv;
mod leader;
mod leaderless;
mod linked;
mod log;
mod members;
mod names;
pub(crate) mod openapi;
mod options;
mod origin_guard;
mod page;
mod pages;
mod params;
mod peers;
mod problem;
mod ready;
mod rooms;
mod router;
mod snapshots;
mod state;
mod status;
mod text;
mod unchanged;
mod understood;
mod written;

pub use self::actors::{ActorStopped, ActorView, ActorsView};
pub(crate) use self::caller::Caller;
pub use self::cluster::{ClusterView, MemberView};
pub use self::code::{About, Code};
pub use self::command::{CasDone, CommandBody, CommandDone, DeleteDone, GetDone, Line, Operation, SetDone};
pub use self::counters::{AddBody, CounterDeleted, CounterEntry, CounterPage, CounterValue, SetBody};
pub use self::drain::{DrainBody, Draining};
pub use self::kv::{KvDeleted, KvEntry, KvPage};
pub use self::leader::{TransferBody, TransferDone};
pub use self::log::{LogLine, LogPage, LoggedCommand};
pub use self::members::{
    AddMemberBody, MemberChanged, MemberState, MemberWaiting, MembersList, ReaddressBody,
};
pub use self::openapi::openapi;
pub use self::options::ApiOptions;
pub use self::params::Freshness;
pub use self::problem::{OutcomeName, Problem, ProblemBody};
pub use self::router::router;
pub use self::snapshots::SnapshotTaken;
pub(crate) use self::snapshots::{Client, Download};
pub use self::state::AppState;
pub use self::status::{NodeView, StatusView};
pub use self::text::Encoding;

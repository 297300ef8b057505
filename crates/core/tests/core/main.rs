//! All integration tests of core, in one binary.
//!
//! [`world`] is what they drive: the shipped roles and replicators composed into one replica, with a disk and a name. Three
//! drivers move a cluster of such nodes: [`script`] by hand, one command at a time (golden transcripts, rules and known
//! bugs); [`simulation`] by events drawn from a seed; [`model`] through every order of everything within bounds. The other
//! files step one role alone ([`alone`]).

mod alone;
mod apply_lag;
mod candidate;
mod early;
mod follower;
mod known_bugs;
mod leader;
mod lonely_leader;
mod model;
mod recovering;
mod replicator;
mod replicator_patience;
mod room;
mod rules;
mod script;
mod simulation;
mod traffic;
mod world;

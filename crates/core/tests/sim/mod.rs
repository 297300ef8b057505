//! A deterministic, seeded simulation of a cluster of core replicas.
//!
//! Every replica is the shipped role code ([`quorate_core::Replica`]); the network, the disks, the appliers, the
//! callers and the attacks around it are simulated in one queue of events in simulated time. All chance comes from the
//! seed. After every step the [`invariants`] hold or the run stops; then everything heals and the cluster must elect,
//! commit new proposals on every node and answer every read within a bound.

#![allow(dead_code, reason = "shared by several tests, each of which uses a part")]

pub(crate) mod applier;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod coverage;
pub(crate) mod disk;
pub(crate) mod healing;
pub(crate) mod invariants;
pub(crate) mod nemesis;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod options;
pub(crate) mod rng;
pub(crate) mod run;

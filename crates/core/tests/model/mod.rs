//! The exhaustive model check of the shipped role types (`stateright`): every order of deliveries, losses, duplicates,
//! timeouts, completed writes and crashes within the bounds of a [`Config`], with the invariants of the simulation.
//!
//! A state holds the real [`quorate_core::Replica`] of each node, its disk and what is on its way. Nothing is projected
//! away but the generator of election timeouts, which has no effect here ([`identity`]). It is not: a check of liveness.

#![allow(dead_code, reason = "shared by several tests, each of which uses a part")]

pub(crate) mod action;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod configs;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod invariants;
pub(crate) mod network;
pub(crate) mod site;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod step;

pub(crate) use check::{Summary, check};
pub(crate) use config::{Config, Search};

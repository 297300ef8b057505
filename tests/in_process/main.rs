//! Nodes of one cluster, all in the process of the test: what crosses crates and needs no process of its own.

mod applier_jobs;
mod apply_lag;
mod chaos;
mod client;
mod disks;
mod faults;
mod founding;
mod identity;
mod mixed_builds;
mod operate;
mod rest_answers;
mod rest_bounds;
mod rest_cluster;
mod rest_contract;
mod rest_described;
mod rest_door;
mod rest_http;
mod restore;
mod slow_machine;
mod slow_machine_figures;
mod snapshots;
mod supervision;
mod three_nodes;

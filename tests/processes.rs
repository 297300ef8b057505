//! Processes of the real binary, harmed while clients are at work: whatever the harm, what the clients saw is
//! linearizable, nothing acknowledged is lost, and once the harm is over the cluster answers in bounded time.

use quorate_tests::{skip, wait};

#[path = "processes/client.rs"]
mod client;
#[path = "processes/cluster.rs"]
mod cluster;
#[path = "processes/http.rs"]
mod http;
#[path = "processes/load.rs"]
mod load;

#[path = "processes/crashes.rs"]
mod crashes;
#[path = "processes/disks.rs"]
mod disks;
#[path = "processes/partitions.rs"]
mod partitions;
#[path = "processes/pauses.rs"]
mod pauses;
#[path = "processes/repair.rs"]
mod repair;

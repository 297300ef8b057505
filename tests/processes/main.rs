//! Processes of the real binary: asked as a user asks it, and harmed while clients are at work. Whatever the harm, what
//! the clients saw is linearizable, nothing acknowledged is lost, and once it is over the cluster answers in bounded time.

mod backup;
mod binary;
mod client;
mod cluster;
mod cut_disk;
mod harmed;
mod http;
mod load;
mod net;
mod shim;
mod soak;
mod started_by;
mod turn;

mod cli_cluster;
mod cli_usage;
mod clocks;
mod console;
mod crashes;
mod deleted;
mod descriptors;
mod disks;
mod endpoints;
mod environment;
mod field;
mod handing_over;
mod leadership;
mod members;
mod memory;
mod partitions;
mod pauses;
mod power;
mod repair;
mod signals;
mod slow_disks;
mod slow_links;
mod tour;

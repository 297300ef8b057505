//! What strains a run beside what breaks in it: links that carry so much a second, machines and disks that take their time,
//! commands that are too large, disks that are full together. Drawn apart from the other options, each kind in some runs: the
//! runs without any are what they were before.

use std::time::Duration;

use quorate_core::SplitMix64;

use super::applier::MachineTimes;
use super::link::LinkLimits;
use super::members;
use super::nemesis::Attack;
use super::options::Options;
use super::quiet::Quiet;
use super::storage::Writes;

/// A window of the replicator does not shrink below this (`crates/core/src/window.rs`): links are drawn by how long they take
/// for it.
const LEAST_WINDOW_BYTES: u64 = 64 << 10;

/// What a frame may have beside the largest entry.
const FRAME_HEAD_BYTES: usize = 1 << 10;

/// The largest command of a run with narrow links.
pub(crate) const NARROW_PAYLOAD_BYTES_MAX: u64 = 64_000;

/// Of a thousand runs, so many have one kind of strain.
const OFTEN: u64 = 150;

/// Some runs have no snapshots, and are what they were before.
fn snapshots(seed: u64, options: &mut Options) {
    let mut rng = SplitMix64::new(seed ^ 0x5a9_0000);
    // An old build cannot read what newer entries made of a machine, and none is far behind that begins with a snapshot.
    let may = options.old_build.is_none() && options.quiet != Quiet::FarBehind;
    if rng.chance(600) && may {
        options.snapshot_every = rng.pick(&[1, 3, 10, 40]);
        options.attacks.extend(Attack::OF_SNAPSHOTS.into_iter().filter(|_| rng.chance(300)));
    }
}

pub(crate) fn draw(seed: u64, options: &mut Options) {
    let mut rng = SplitMix64::new(seed ^ 0x57a1_0000);
    let rng = &mut rng;
    options.quiet = rng.pick(&Quiet::ALL);
    if rng.chance(OFTEN) || options.quiet == Quiet::SlowLinks {
        narrow_links(rng, options);
    }
    if rng.chance(OFTEN) {
        slow_machines(rng, options);
    }
    if rng.chance(OFTEN) {
        slow_disks(rng, options);
    }
    if rng.chance(OFTEN) && options.links.is_none() {
        // Some commands are larger than what a frame carries.
        options.config.payload_bytes_max = 1_000;
        options.config.append_bytes_max = rng.pick(&[1, 300]);
        options.payload_max = 4_000;
    }
    for attack in Attack::STRAINS {
        if rng.chance(OFTEN) {
            options.attacks.push(attack);
        }
    }
    if options.quiet == Quiet::FarBehind {
        options.config.apply_window_entries_max = rng.pick(&[1, 5, 20]);
    }
    mixed_builds(seed, options);
    snapshots(seed, options);
    members::draw(seed, options);
    let largest = options.config.append_bytes_max.max(options.config.payload_bytes_max);
    options.frame_bytes_max = largest + FRAME_HEAD_BYTES;
    if options.links.is_some() {
        options.entry_bytes_max = NARROW_PAYLOAD_BYTES_MAX as usize + FRAME_HEAD_BYTES;
    }
}

/// Drawn apart from the rest.
fn mixed_builds(seed: u64, options: &mut Options) {
    let mut rng = SplitMix64::new(seed ^ 0x6275_1d00);
    if rng.chance(OFTEN) {
        options.old_build = Some(rng.place(options.nodes()));
        options.newer_commands = rng.pick(&[20, 200]);
    }
    if rng.chance(OFTEN / 2) {
        options.quiet = Quiet::OldBuild;
    }
}

fn narrow_links(rng: &mut SplitMix64, options: &mut Options) {
    let election = options.election();
    // A least window takes from a tenth of an election timeout to three of them.
    let window_takes = election * rng.pick(&[1, 3, 10, 30]) / 10;
    let bytes_per_s = (LEAST_WINDOW_BYTES * 1_000_000 / window_takes).max(1);
    let limits = LinkLimits {
        bytes_per_s,
        fragment_bytes: ((bytes_per_s * election / 20_000_000) as usize).clamp(1 << 10, 64 << 10),
        control_bytes_max: rng.pick(&[4_000, 64_000]),
        bulk_bytes_max: rng.pick(&[200_000, 1_000_000]),
    };
    options.links = Some(limits);
    options.config.append_bytes_max = rng.pick(&[10_000, 100_000]);
    options.config.window_bytes_max = 1 << 20;
    options.config.window_messages_max = 64;
    options.config.uncommitted_bytes_max = rng.pick(&[100_000, 1_000_000]);
    options.config.tail_bytes_max = rng.pick(&[0, 100_000, 1_000_000]);
    options.payload_max = rng.pick(&[2_000, 16_000, NARROW_PAYLOAD_BYTES_MAX]);
    options.batch_max = rng.pick(&[1, 3]);
    // Half of what a link takes, or more than that.
    let takes = limits.time(options.payload_max as usize / 2);
    options.propose_every = (takes * rng.pick(&[1, 2, 4]) / 2).clamp(2_000, 200_000);
    // What is on a connection arrives in order, once, or is lost with it.
    (options.loss, options.duplicate, options.straggler, options.delay_max) = (0, 0, 0, options.delay_min);
    // Pieces are events, too.
    options.events *= 2;
}

fn slow_machines(rng: &mut SplitMix64, options: &mut Options) {
    let election = options.election();
    let node = rng.place(options.nodes());
    options.machine = MachineTimes {
        entry: rng.pick(&[0, 200, 2_000, 20_000]),
        long: election * rng.pick(&[1, 4, 8]),
        long_every: rng.pick(&[0, 7, 50, 300]),
        query: rng.pick(&[0, 100, 5_000]),
        restore: election * rng.pick(&[0, 1, 5, 20]),
        slow: rng.chance(500).then_some((node, 20)),
    };
}

fn slow_disks(rng: &mut SplitMix64, options: &mut Options) {
    let (factor, slow) = (rng.pick(&[5, 20, 100]), rng.place(options.nodes() + 1));
    // One of them, or all.
    let all = slow == options.nodes();
    options.disk_factors =
        (0..options.nodes()).map(|at| if all || at == slow { factor } else { 1 }).collect();
    options.writes = if rng.chance(700) { Writes::Together } else { Writes::Apart };
    if rng.chance(500) {
        options.config.persist_stall_max = Duration::from_micros(options.election() * 3);
    }
}

//! The store suite on both of our disks.

use std::path::PathBuf;

use quorate::store::{Crash, Disk, FjallDisk, FjallOptions, SimDisk};
use quorate_testkit::store_suite::{self, Storage, random_history};

struct Simulated(SimDisk);

impl Storage for Simulated {
    fn disk(&mut self) -> Box<dyn Disk> {
        self.0 = SimDisk::from_image(self.0.crash(Crash::Lost));
        Box::new(self.0.clone())
    }
}

struct Directory {
    _owner: tempfile::TempDir,
    path: PathBuf,
}

impl Storage for Directory {
    fn disk(&mut self) -> Box<dyn Disk> {
        let options = FjallOptions { cache_bytes: 1 << 20, worker_threads: 1, ..FjallOptions::default() };
        Box::new(FjallDisk::lock(&self.path, options).expect("a free directory is locked"))
    }
}

fn directory() -> Box<dyn Storage> {
    let owner = tempfile::tempdir().expect("a directory");
    let path = owner.path().join("data");
    Box::new(Directory { _owner: owner, path })
}

#[test]
fn store_suite_on_the_simulated_disk() {
    store_suite::run(&mut || Box::new(Simulated(SimDisk::new())));
}

#[test]
fn store_suite_on_fjall() {
    store_suite::run(&mut directory);
}

#[test]
fn store_random_histories_on_the_simulated_disk() {
    for seed in 100..200 {
        random_history(&mut Simulated(SimDisk::new()), seed, 150);
    }
}

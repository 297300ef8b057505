//! Disks: a byte that flipped, a file that cannot be read, no space left. The node that has it says so or mends itself,
//! and the others go on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use quorate_tests::files::{flip, journals};
use quorate_tests::skip::skipped;
use quorate_tests::wait::{PATIENCE, until};

use crate::cluster::Cluster;
use crate::load::Load;
use crate::turn;

#[test]
fn a_byte_that_flipped_costs_nothing_acknowledged() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        for round in 0..3 {
            load.writes(40)?;
            let leader = cluster.leader()?;
            // Followers are hit, and once the leader.
            let hit = if round == 1 { leader.at } else { (leader.at + 1) % 3 };
            cluster.kill(hit)?;
            let file =
                if round == 2 { cluster.data(hit).join("anchor") } else { journal(cluster.data(hit))? };
            let place = flip(&file)?;
            let before = cluster.log_length(hit);
            cluster.restart(hit)?;
            let said = cluster.logged_since(hit, before);
            ensure!(said.contains("damaged"), "it does not say that its store was damaged:\n{said}");
            println!("round {round}: node{hit} came back with byte {place} of {} flipped", file.display());
        }
        // Each copy was damaged or may have been: now it takes the mended ones to form a majority.
        let leader = cluster.leader()?;
        cluster.kill(leader.at)?;
        let took = load.answers(&cluster.apis(), cluster.answers_within())?;
        println!("the leader was killed then, answered after {took:?}");
        cluster.restart(leader.at)
    })
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_nothing_is_thrown_away() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        load.writes(40)?;
        let hit = (cluster.leader()?.at + 1) % 3;
        cluster.kill(hit)?;
        let file = journal(cluster.data(hit))?;
        // A link to itself: unlike a missing permission, it also keeps out a user who may read everything.
        let aside = file.with_extension("aside");
        std::fs::rename(&file, &aside)?;
        std::os::unix::fs::symlink(&file, &file)?;
        let before = cluster.log_length(hit);
        cluster.spawn(hit)?;
        let status = cluster.ended(hit)?;
        let said = cluster.logged_since(hit, before);
        let name = file.display().to_string();
        ensure!(
            status.code() == Some(1) && said.contains(&name),
            "{status}, and it does not name {name}:\n{said}"
        );
        load.writes(20)?;
        std::fs::remove_file(&file)?;
        std::fs::rename(&aside, &file)?;
        cluster.restart(hit)?;
        let kept = std::fs::read_dir(cluster.data(hit))?.filter_map(Result::ok);
        let kept: Vec<_> = kept.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        ensure!(!kept.iter().any(|name| name.contains("damaged")), "it was readable again: {kept:?}");
        load.writes(20)
    })
}

#[test]
fn a_full_disk_holds_nobody_else_up_and_heals_when_there_is_space() -> Result<()> {
    let mut cluster = Cluster::unstarted(3, turn::busy())?;
    let (small, hit) = match SmallDisk::mount(cluster.directory(), "small", 450) {
        Ok(small) => (small, 0),
        Err(why) => {
            skipped(&format!("this machine cannot mount a tmpfs for a test: {why:#}"));
            return Ok(());
        }
    };
    cluster.put_data(hit, small.path.join("data"));
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(40)?;
        cluster.transfer_to(hit)?;
        load.writes(10)?;
        small.fill()?;
        let took = load.answers(&cluster.apis(), cluster.answers_within())?;
        load.writes(40)?;
        let (leader, _) = until("another node leads", PATIENCE, || {
            cluster.leader().ok().filter(|leader| leader.at != hit)
        })?;
        println!("the leader's disk filled up, answered after {took:?}; node{} leads now", leader.at);

        // It starts with a full disk, or says so and is started again when there is space.
        cluster.kill_if_running(hit)?;
        small.fill()?;
        cluster.spawn(hit)?;
        let (started, _) = until("it serves or ends", PATIENCE, || match cluster.has_ended(hit) {
            Some(status) => Some(Err(status)),
            None => cluster.view(hit).map(Ok),
        })?;
        if let Err(status) = started {
            ensure!(status.code() == Some(9), "ended with {status}: {}", cluster.log_end(hit));
        }
        println!(
            "started with a full disk: {}",
            if started.is_ok() { "it serves" } else { "it ended with 9" }
        );
        load.writes(40)?;

        small.free()?;
        if cluster.has_ended(hit).is_some() {
            cluster.ended(hit)?;
            cluster.spawn(hit)?;
        }
        cluster.ready(hit)?;
        load.writes(20)?;
        // With space again it can lead.
        cluster.transfer_to(hit)?;
        load.writes(20)
    })
}

/// The newest journal of a database.
fn journal(data: &Path) -> Result<PathBuf> {
    journals(data)?.pop().context("there is a journal")
}

/// A file system of its own, in memory. Unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(directory: &Path, name: &str, mebibytes: u32) -> Result<Self> {
        let path = directory.join(name);
        std::fs::create_dir(&path)?;
        let size = format!("size={mebibytes}m");
        let run = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output()?;
        ensure!(run.status.success(), "mount: {}", String::from_utf8_lossy(&run.stderr).trim());
        Ok(Self { path })
    }

    /// Writes until there is no space left.
    fn fill(&self) -> Result<()> {
        let mut filler =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path.join("filler"))?;
        let error = std::io::copy(&mut std::io::repeat(1), &mut filler).err().context("repeat never ends")?;
        ensure!(error.kind() == std::io::ErrorKind::StorageFull, "{error}");
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path.join("filler"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that has just been killed may hold a file for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

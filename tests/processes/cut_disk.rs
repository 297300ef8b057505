//! A disk whose power can be cut, without the device mapper: an ext4 on a loop device over a file, and that file in another ext4.
//!
//! What the inner file system has written and not flushed lies in the page cache of the outer one, as in the cache of a drive: each flush
//! of the inner one is a sync of the file. A cut stops one of them at a moment. If it is the inner one, its page cache is lost, and
//! what it had given to its device stays. If it is the outer one, what was not flushed is lost as well, but for what the kernel
//! happened to write back. Then both are mounted again and recover by their journals.
//!
//! Not shown: sectors that are torn, and a drive that says it has flushed and has not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::{PATIENCE, until};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/processes/cut_disk/shutdown.c");
/// Both are files with holes: what is not written takes no place.
const OUTER_MIB: u64 = 3_000;
const INNER_MIB: u64 = 2_000;

/// What of the disk is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What the file system has not given to its device.
    PageCache,
    /// And what the device has not been told to flush.
    DriveCache,
}

/// The disk; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct CutDisk {
    shutdown: PathBuf,
    outer: Layer,
    inner: Layer,
}

/// A file system in a file.
#[derive(Debug)]
struct Layer {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl CutDisk {
    /// Makes one in a directory. Fails where this is not allowed.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let shutdown = directory.join("shutdown");
        let source = Path::new(SOURCE);
        run(Command::new("cc").args(["-O2", "-Wall", "-Werror", "-o"]).arg(&shutdown).arg(source))?;
        let layer = |image: PathBuf, name: &str| Layer { image, mounted_at: directory.join(name) };
        let outer = layer(directory.join("outer.img"), "outer");
        let inner = layer(outer.mounted_at.join("inner.img"), "disk");
        let disk = Self { shutdown, outer, inner };
        disk.outer.make(OUTER_MIB)?;
        disk.inner.make(INNER_MIB)?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.inner.mounted_at
    }

    /// Cuts its power. From here on no write and no sync succeeds.
    pub(crate) fn cut(&self, cut: Cut) -> Result<()> {
        let stopped = match cut {
            Cut::PageCache => &self.inner,
            Cut::DriveCache => &self.outer,
        };
        run(Command::new(&self.shutdown).arg(&stopped.mounted_at))
    }

    /// Mounts it again, once no process uses it.
    pub(crate) fn power_on(&self) -> Result<()> {
        self.inner.unmount()?;
        self.outer.unmount()?;
        self.outer.mount()?;
        self.inner.mount()
    }
}

impl Drop for CutDisk {
    fn drop(&mut self) {
        for layer in [&self.inner, &self.outer] {
            let _ = Command::new("umount").arg("-l").arg(&layer.mounted_at).output();
        }
    }
}

impl Layer {
    fn make(&self, mib: u64) -> Result<()> {
        std::fs::File::create(&self.image)?.set_len(mib << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0"]).arg(&self.image))?;
        std::fs::create_dir(&self.mounted_at)?;
        self.mount()
    }

    /// The loop device goes with the mount.
    fn mount(&self) -> Result<()> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&self.mounted_at))
    }

    fn unmount(&self) -> Result<()> {
        run(Command::new("umount").arg(&self.mounted_at))?;
        // The device is given back a moment later; with it the file below is in use.
        let gone = || {
            let output = Command::new("losetup").arg("-j").arg(&self.image).output().ok()?;
            output.stdout.is_empty().then_some(())
        };
        until("the loop device is gone", PATIENCE, gone)?;
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}

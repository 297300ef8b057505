//! Harm that a node meets in its calls of the system, while it runs: syncs that take long or do not end, and a wall clock that
//! jumps. `shim/harm.c` is built with `cc` and preloaded; the test writes what it should do into a file that the node has mapped.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/processes/shim/harm.c");

/// Where the fields of `struct control` are, and how long it is.
const SYNC_MS: u64 = 0;
const STALLED: u64 = 8;
const AHEAD_S: u64 = 16;
const DEAF: u64 = 24;
const SYNCS: u64 = 32;
const WAITING: u64 = 40;
const LOOKS: u64 = 48;
const CONTROL_BYTES: u64 = 56;

/// The harm of one node.
#[derive(Debug)]
pub(crate) struct Harm {
    library: PathBuf,
    path: PathBuf,
    control: File,
}

/// Builds the shim in this directory; none where there is no C compiler.
pub(crate) fn build(directory: &Path) -> Result<Option<PathBuf>> {
    let library = directory.join("harm.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).arg(&library).args([SOURCE, "-ldl"]);
    let Ok(built) = cc.output() else { return Ok(None) };
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(Some(library))
}

impl Harm {
    /// None yet; `path` is the file that says it.
    pub(crate) fn new(library: &Path, path: PathBuf) -> Result<Self> {
        let control = File::options().read(true).write(true).create_new(true).open(&path)?;
        control.set_len(CONTROL_BYTES)?;
        Ok(Self { library: library.to_owned(), path, control })
    }

    /// Has a command meet it.
    pub(crate) fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("QUORATE_TEST_HARM", &self.path);
    }

    /// From now on each sync takes so much longer.
    pub(crate) fn sync_takes(&self, more: Duration) -> Result<()> {
        self.set(SYNC_MS, more.as_millis().try_into()?)
    }

    /// From now on no sync ends, or all do again.
    pub(crate) fn stall(&self, is_stalled: bool) -> Result<()> {
        self.set(STALLED, i64::from(is_stalled))
    }

    /// Sets the wall clock so far ahead of the machine's, or behind it.
    pub(crate) fn clock_ahead_s(&self, ahead_s: i64) -> Result<()> {
        self.set(AHEAD_S, ahead_s)
    }

    /// From now on syncs do nothing, and say that all is on the disk.
    pub(crate) fn deaf(&self) -> Result<()> {
        self.set(DEAF, 1)
    }

    /// Syncs that have ended so far. Without any the shim stands in no one's way.
    pub(crate) fn syncs(&self) -> Result<u64> {
        self.get(SYNCS)
    }

    /// Syncs that wait until the stall is over.
    pub(crate) fn waiting(&self) -> Result<u64> {
        self.get(WAITING)
    }

    /// Looks at the wall clock so far.
    pub(crate) fn looks(&self) -> Result<u64> {
        self.get(LOOKS)
    }

    fn set(&self, at: u64, value: i64) -> Result<()> {
        self.control.write_all_at(&value.to_ne_bytes(), at).context("the control is written")
    }

    fn get(&self, at: u64) -> Result<u64> {
        let mut value = [0; 8];
        self.control.read_exact_at(&mut value, at)?;
        Ok(u64::from_ne_bytes(value))
    }
}

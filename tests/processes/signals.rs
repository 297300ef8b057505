//! SIGTERM and SIGHUP end a served node in order. The signal is for the whole test process: no other test of this binary listens for it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use quorate_server::{Ended, Signals};
use quorate_tests::servers::Servers;
use quorate_tests::skip::skipped;
use quorate_tests::wait::{PATIENCE, eventually, until};
use tempfile::TempDir;

use crate::binary::{Serving, binary, command, ran};
use crate::started_by::limited_by;
use crate::turn;

const SERVE: [&str; 7] = ["serve", "--port", "0", "--api-port", "0", "--data-dir", "data"];

#[cfg(unix)]
#[tokio::test]
async fn sigterm_and_sighup_end_in_order() -> Result<()> {
    let _turn = turn::light();
    ends_in_order("-TERM").await.context("SIGTERM")?;
    if ignores_hangups("self")? {
        // As the test below shows of a node: it stays ignored.
        skipped("SIGHUP is ignored where the tests were started, by nohup for example");
        return Ok(());
    }
    ends_in_order("-HUP").await.context("SIGHUP")
}

/// Whether a process ignores SIGHUP, the first of all signals.
#[cfg(unix)]
fn ignores_hangups(pid: &str) -> Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).context("no SigIgn")?;
    Ok(u64::from_str_radix(ignored.trim(), 16)? & 1 == 1)
}

#[cfg(unix)]
async fn ends_in_order(signal: &str) -> Result<()> {
    let servers = Servers::start(1).await?;
    servers.put(0, "/v1/kv/k", "v").await?.ok();
    let (running, address) = (servers.running(0).clone(), servers.running(0).api_addr());
    let mut ending = tokio::task::JoinSet::new();
    ending.spawn(running.until(Signals::listen()?));
    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status()?.success());
    let ended = tokio::time::timeout(PATIENCE, ending.join_next()).await?;
    assert_eq!(ended.expect("a task")?, Ended::Stopped);
    eventually("the port is closed", async || {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await?;
    servers.stop_all().await
}

/// Everything below a directory, and it, with its permissions.
fn modes(path: &Path, found: &mut Vec<(String, u32)>) -> Result<()> {
    let metadata = std::fs::metadata(path)?;
    found.push((path.display().to_string(), metadata.permissions().mode() & 0o777));
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            modes(&entry?.path(), found)?;
        }
    }
    Ok(())
}

/// The terminal of a node that was started with `nohup` goes away, and the node stays. And no other user reads what it writes.
#[cfg(unix)]
#[test]
fn a_node_under_nohup_stays_and_keeps_its_files_to_itself() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let serve =
        ["serve", "--port", "0", "--api-port", "0", "--data-dir", "data", "-o", "jsonl", "--log", "error"];
    // The usual mask of a user, and the signal ignored as `nohup` does.
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "umask 022; trap '' HUP; exec \"$0\" \"$@\""]).arg(binary()).args(serve);
    // The settings of the environment are not this test's.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_")) {
        nohup.env_remove(name);
    }
    let mut child =
        nohup.current_dir(directory.path()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("it is piped")?).read_line(&mut line)?;
    let kill = |signal: &str| Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    ensure!(line.contains("api") && kill("HUP")?.success(), "{line}");
    let mut found = Vec::new();
    modes(&directory.path().join("data"), &mut found)?;
    // Had it listened for SIGHUP, that would have ended it in order.
    ensure!(ignores_hangups(&child.id().to_string())?, "it does not listen for it");
    ensure!(kill("TERM")?.success(), "it is there");
    ensure!(child.wait()?.code() == Some(0), "it ends in order");
    let readable: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    ensure!(found.len() > 5 && readable.is_empty(), "others may read {readable:?}");
    Ok(())
}

/// A node in the middle of its start: it reads a file of its database from a pipe.
struct Starting {
    directory: TempDir,
    child: Child,
    pipe: File,
    log: BufReader<std::process::ChildStderr>,
}

impl Starting {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let first = Serving::start(directory.path(), &SERVE)?;
        first.signal("TERM")?;
        ensure!(first.code()? == Some(0), "it ends in order");
        let version = directory.path().join("data/db/version");
        std::fs::rename(&version, version.with_extension("aside"))?;
        ensure!(Command::new("mkfifo").arg(&version).status()?.success(), "a pipe");
        let mut child =
            command(directory.path(), &SERVE).stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let log = BufReader::new(child.stderr.take().context("it is piped")?);
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits())?;
        // A pipe that no one reads is not opened so.
        let open = || OpenOptions::new().write(true).custom_flags(nonblocking).open(&version).ok();
        let (pipe, _) = until("it reads its database", PATIENCE, open)?;
        Ok(Self { directory, child, pipe, log })
    }

    fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "it is there");
        Ok(())
    }

    fn is_stopped(&self) -> Option<()> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        status.contains("State:\tT").then_some(())
    }

    /// Waits until it says that it ends.
    fn hears(&mut self) -> Result<()> {
        let mut line = String::new();
        while !line.contains("once the start is through") {
            line.clear();
            ensure!(self.log.read_line(&mut line)? > 0, "it has ended without a word");
        }
        Ok(())
    }

    /// Lets the start go on.
    fn go_on(mut self) -> Result<Option<i32>> {
        let version = self.directory.path().join("data/db/version");
        std::fs::rename(version.with_extension("aside"), &version)?;
        self.pipe.write_all(&std::fs::read(&version)?)?;
        drop(self.pipe);
        Ok(self.child.wait()?.code())
    }
}

/// The first process of a container would not even be ended by it: to stop such a node would take as long as it is given.
#[test]
fn sigterm_during_the_start_ends_it_in_order_and_a_second_one_at_once() -> Result<()> {
    let _turn = turn::light();
    let mut patient = Starting::start()?;
    patient.signal("TERM")?;
    patient.hears()?;
    ensure!(patient.go_on()? == Some(0), "it was told to end, and has");
    let mut hasty = Starting::start()?;
    hasty.signal("TERM")?;
    hasty.hears()?;
    // One that comes at once is part of the first.
    let again = || {
        hasty.signal("TERM").ok();
        hasty.child.try_wait().transpose()
    };
    let (ended, _) = until("it does not wait for the start", PATIENCE, again)?;
    ensure!(ended?.code() == Some(130), "ended at once, and says so");
    Ok(())
}

/// `timeout` signals its child and then the process group. A node that was told so handed nothing over, with the exit code of a failure.
#[test]
fn signals_that_come_together_are_one() -> Result<()> {
    let _turn = turn::light();
    let mut node = Starting::start()?;
    // Both are there when it goes on. Two of one kind could be merged by the system.
    node.signal("STOP")?;
    until("it is stopped", PATIENCE, || node.is_stopped())?;
    for signal in ["TERM", "INT", "CONT"] {
        node.signal(signal)?;
    }
    node.hears()?;
    ensure!(node.go_on()? == Some(0), "it was told to end, and has in order");
    Ok(())
}

/// The signal that the system sends for it ended the node without a word, at every start.
#[test]
fn a_limit_of_file_sizes_is_named() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    // In blocks of 512 bytes, or of 1,024: a journal has 64 MiB.
    let ended = ran(limited_by("-f 1024", &command(directory.path(), &SERVE)))?;
    ended.expect(9, "no room below the limit of file sizes left for ")
}

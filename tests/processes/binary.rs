//! Runs the binary `quorate` as a user would: what the tests of processes share.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use quorate_tests::cluster::free_ports;
use quorate_tests::wait::{PATIENCE, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::turn::Turn;

/// The binary that cargo built for this test, or the one that `QUORATE_TEST_BINARY` names (the soak: as it is shipped).
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let given = std::env::var_os("QUORATE_TEST_BINARY");
        let binary = given.map_or_else(|| env!("CARGO_BIN_EXE_quorate").into(), PathBuf::from);
        assert!(binary.is_file(), "there is no {}", binary.display());
        binary
    })
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its data.
    pub(crate) stdout: String,
    /// Its messages.
    pub(crate) stderr: String,
}

impl Ran {
    /// Its data, as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {self:?}"))
    }

    /// That it ended with this code and said this.
    pub(crate) fn expect(&self, code: i32, said: &str) -> Result<()> {
        let heard = self.stdout.contains(said) || self.stderr.contains(said);
        ensure!(self.code == Some(code) && heard, "not code {code} with {said:?}: {self:#?}");
        Ok(())
    }
}

/// A command in an empty directory, without the settings of the environment.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn ran(mut command: Command) -> Result<Ran> {
    let output = command.output().context("the binary runs")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

/// Runs the binary in a directory of its own.
pub(crate) fn quorate(arguments: &[&str]) -> Result<Ran> {
    let directory = tempfile::tempdir()?;
    ran(command(directory.path(), arguments))
}

/// A process that serves; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    child: Child,
    /// The first line on its standard output.
    pub(crate) said: Value,
}

impl Serving {
    /// Starts `quorate` with these arguments and waits until it says where it listens.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = command(directory, arguments);
        command.args(["-o", "jsonl", "--log", "error"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it is piped")?).read_line(&mut line)?;
        if let Ok(said) = serde_json::from_str(&line) {
            return Ok(Self { child, said });
        }
        // It has closed its output: it has ended, or will be made to.
        child.kill()?;
        let mut stderr = String::new();
        child.stderr.take().context("it is piped")?.read_to_string(&mut stderr)?;
        child.wait()?;
        bail!("it does not serve: {stderr}")
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> String {
        self.said["api"].as_str().unwrap_or_default().to_owned()
    }

    /// Ends it as a lost machine would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "signal {name} was not sent");
        Ok(())
    }

    /// Sends a signal, and again while it goes on, until it ends; gives its exit code.
    pub(crate) fn signal_until_it_ends(&mut self, name: &str) -> Result<Option<i32>> {
        let (ended, _) = until("it ends", PATIENCE, || match self.child.try_wait() {
            Ok(None) => self.signal(name).err().map(Err),
            Ok(Some(status)) => Some(Ok(status.code())),
            Err(error) => Some(Err(error.into())),
        })?;
        ended
    }

    /// Waits for its end and gives its exit code.
    pub(crate) fn code(mut self) -> Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three processes on loopback.
pub(crate) struct Cluster {
    directory: TempDir,
    list: String,
    ports: Vec<u16>,
    nodes: Vec<Option<Serving>>,
    _turn: Turn,
}

impl Cluster {
    /// Starts them and waits until all are ready.
    pub(crate) fn start(turn: Turn) -> Result<Self> {
        let ports = free_ports(6)?;
        let list: Vec<_> = ports[..3].iter().map(|port| format!("localhost:{port}")).collect();
        let directory = tempfile::tempdir()?;
        let nodes = vec![None, None, None];
        let mut cluster = Self { directory, list: list.join(","), ports, nodes, _turn: turn };
        for at in 0..3 {
            cluster.start_node(at)?;
        }
        cluster.run(&["health", "--wait", "--timeout", "30s"])?.expect(0, "")?;
        Ok(cluster)
    }

    /// Starts a node that is not running.
    pub(crate) fn start_node(&mut self, at: usize) -> Result<()> {
        let (id, port) = (format!("node{at}"), self.ports[at].to_string());
        let api_port = self.ports[at + 3].to_string();
        let arguments = ["serve", "--id", &id, "--host", "localhost", "--port", &port];
        let more = ["--cluster", &self.list, "--api-port", &api_port, "--ui-actions"];
        let quick = ["--set", "election_timeout_ms=300", "--set", "heartbeat_interval_ms=50"];
        let all = [&arguments[..], &more, &quick].concat();
        self.nodes[at] = Some(Serving::start(self.directory.path(), &all)?);
        Ok(())
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, at: usize) -> Result<()> {
        self.nodes[at].take().context("it runs")?.kill()
    }

    /// A running node.
    pub(crate) fn node(&self, at: usize) -> Result<&Serving> {
        self.nodes[at].as_ref().context("it runs")
    }

    /// The same, to wait for its end.
    pub(crate) fn node_mut(&mut self, at: usize) -> Result<&mut Serving> {
        self.nodes[at].as_mut().context("it runs")
    }

    /// The APIs of all nodes, running or not.
    pub(crate) fn endpoints(&self) -> String {
        let each: Vec<_> = self.ports[3..].iter().map(|port| format!("localhost:{port}")).collect();
        each.join(",")
    }

    /// A client command against all nodes.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let endpoints = self.endpoints();
        command(self.directory.path(), &[arguments, &["--endpoints", &endpoints]].concat())
    }

    /// Runs a client command against all nodes.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Ran> {
        ran(self.command(arguments))
    }

    /// Which node leads, once one does: on a machine that is busy elsewhere a leader may be deposed at any moment.
    pub(crate) fn leader(&self) -> Result<usize> {
        let shown = || {
            let ran = self.run(&["leader", "show", "-o", "json", "--timeout", "10s"]);
            ran.map(|ran| (ran.code == Some(0)).then_some(ran)).transpose()
        };
        let shown = until("a leader is shown", PATIENCE, shown)?.0?.json()?;
        let name = shown["leader"].as_str().context("it has a name")?;
        Ok(name.trim_start_matches("node").parse()?)
    }

    /// Where the nodes keep their data.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

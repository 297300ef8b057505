//! Three processes of the binary on loopback, and `quorate bench` against them.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Clients that propose at once, in each of the measurements.
pub const CLIENTS: [&str; 3] = ["1", "64", "256"];
/// Bytes of a value.
pub const VALUE_BYTES: usize = 256;

/// The nodes of one cluster; they are ended when this is dropped.
pub struct Nodes {
    children: Vec<Child>,
    /// Where their APIs are, as `--endpoints` takes them.
    pub endpoints: String,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports of loopback that were free just now.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bound = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0"));
    let bound = bound.collect::<std::io::Result<Vec<_>>>()?;
    bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

impl Nodes {
    /// Starts three nodes with their data below `directory`, and waits until all are ready.
    pub fn start(binary: &Path, directory: &Path) -> Result<Self> {
        let ports = free_ports(6)?;
        let list: Vec<_> = ports[..3].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let endpoints: Vec<_> = ports[3..].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut nodes = Self { children: Vec::new(), endpoints: endpoints.join(",") };
        for at in 0..3 {
            let mut command = Command::new(binary);
            command.args(["serve", "--id", &format!("node{at}"), "--host", "127.0.0.1", "--log", "error"]);
            command.args(["--port", &ports[at].to_string(), "--api-port", &ports[at + 3].to_string()]);
            command.args(["--cluster", &list.join(","), "--data-dir", &format!("node{at}")]);
            command.current_dir(directory).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::inherit());
            let mut child = command.spawn()?;
            let mut line = String::new();
            BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
            nodes.children.push(child);
        }
        let ready = Command::new(binary)
            .args(["health", "--wait", "--timeout", "30s", "--endpoints", &nodes.endpoints])
            .stdout(Stdio::null())
            .status()?;
        ensure!(ready.success(), "the cluster is not ready");
        Ok(nodes)
    }

    /// Processor time of all nodes so far, in seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        self.children.iter().map(cpu_of).sum()
    }

    /// Where the leader's API is.
    pub fn leader(&self, binary: &Path) -> Result<String> {
        let told =
            Command::new(binary).args(["status", "-o", "json", "--endpoints", &self.endpoints]).output()?;
        ensure!(told.status.success(), "quorate status failed");
        let status: Value = serde_json::from_slice(&told.stdout)?;
        let leader = status["leader"].as_str().with_context(|| format!("no leader: {status}"))?;
        let at: usize = leader.trim_start_matches("node").parse()?;
        Ok(self.endpoints.split(',').nth(at).context("one of the three")?.to_owned())
    }
}

/// Processor time of a process that this one has started, in seconds.
pub fn cpu_of(child: &Child) -> Result<f64> {
    cpu_s(&child.id().to_string(), 13)
}

/// Processor time of this process, in seconds.
pub fn own_cpu_s() -> Result<f64> {
    cpu_s("self", 13)
}

/// One run of `quorate bench`: its report in JSON.
pub fn bench(binary: &Path, endpoints: &str, what: (&str, &str), clients: &str, s: &str) -> Result<Value> {
    let output = bench_command(binary, endpoints, what, clients, s).stderr(Stdio::null()).output()?;
    ensure!(output.status.success(), "quorate bench {} --via {} --clients {clients} failed", what.0, what.1);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn bench_command(
    binary: &Path,
    endpoints: &str,
    (verb, via): (&str, &str),
    clients: &str,
    s: &str,
) -> Command {
    let value = VALUE_BYTES.to_string();
    let mut command = Command::new(binary);
    command.args(["bench", verb, "--clients", clients, "--seconds", s, "--value", &value, "--via", via]);
    command.args(["-o", "json", "--endpoints", endpoints, "--timeout", "10s"]).stdin(Stdio::null());
    command
}

/// One run of `quorate bench` with the processor time that it cost, in seconds.
#[derive(Debug)]
pub struct Costed {
    /// The report in JSON.
    pub report: Value,
    /// Of all nodes.
    pub servers_s: f64,
    /// Of `quorate bench`.
    pub client_s: f64,
}

/// As [`bench()`]. The keys that it writes before a get and deletes at the end cost nothing here: counted is from the line with
/// which it begins to the report with which it ends.
pub fn bench_costed(
    binary: &Path,
    (nodes, endpoints): (&Nodes, &str),
    what: (&str, &str),
    clients: &str,
    s: &str,
) -> Result<Costed> {
    let mut command = bench_command(binary, endpoints, what, clients, s);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let cpu_s = |child: &Child| anyhow::Ok((nodes.cpu_s()?, cpu_of(child)?));
    let mut messages = BufReader::new(child.stderr.take().context("piped")?);
    let begins = format!("{clients} clients {}", what.0);
    let mut line = String::new();
    while !line.starts_with(&begins) {
        line.clear();
        ensure!(messages.read_line(&mut line)? > 0, "quorate bench ended before it began");
    }
    let before = cpu_s(&child)?;
    let mut printed = BufReader::new(child.stdout.take().context("piped")?);
    let mut text = String::new();
    let report: Value = loop {
        ensure!(printed.read_line(&mut text)? > 0, "quorate bench printed no report: {text}");
        if let Ok(report) = serde_json::from_str(&text) {
            break report;
        }
    };
    let after = cpu_s(&child)?;
    let mut last_words = String::new();
    messages.read_to_string(&mut last_words)?;
    ensure!(child.wait()?.success(), "quorate bench failed: {last_words}");
    Ok(Costed { report, servers_s: after.0 - before.0, client_s: after.1 - before.1 })
}

/// User and system time from `/proc/PROCESS/stat`, of which `field` (from 0) is the first.
fn cpu_s(process: &str, field: usize) -> Result<f64> {
    /// `USER_HZ` of Linux on every processor that Quorate is built for.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is a name in parentheses and may hold spaces.
    let behind = stat.rsplit_once(") ").context("a name in parentheses")?.1;
    let ticks = behind.split(' ').skip(field - 2).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_S)
}

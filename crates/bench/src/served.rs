//! Three processes of the binary on loopback, and `quorate bench` against them.

use std::io::{BufRead, BufReader};
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

fn free_ports(count: usize) -> Result<Vec<u16>> {
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
        let each = self.children.iter().map(|child| cpu_s(&child.id().to_string(), 13));
        each.sum()
    }
}

/// One run of `quorate bench`: its report in JSON.
pub fn bench(
    binary: &Path,
    endpoints: &str,
    (verb, via): (&str, &str),
    clients: &str,
    s: &str,
) -> Result<Value> {
    let value = VALUE_BYTES.to_string();
    let output = Command::new(binary)
        .args(["bench", verb, "--clients", clients, "--seconds", s, "--value", &value, "--via", via])
        .args(["-o", "json", "--endpoints", endpoints, "--timeout", "10s"])
        .stderr(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "quorate bench {verb} --via {via} --clients {clients} failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Processor time of all processes that this one has started and that have ended, in seconds.
pub fn ended_children_cpu_s() -> Result<f64> {
    cpu_s("self", 15)
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

//! Nodes in network namespaces of their own: packets between them are dropped or held back, and clients reach all of them.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use quorate_tests::skip::skipped;

use crate::cluster::{Cluster, Place};
use crate::turn::Turn;

/// Nodes each in a namespace of their own, around one in the middle that forwards between them.
pub(crate) fn nodes_apart(count: usize, turn: Turn) -> Result<Option<(Net, Cluster)>> {
    match Net::new(count) {
        Ok(net) => {
            let cluster = Cluster::new((0..count).map(|at| net.place(at)).collect(), turn)?;
            Ok(Some((net, cluster)))
        }
        Err(why) => {
            skipped(&format!("this machine cannot make network namespaces for a test: {why:#}"));
            Ok(None)
        }
    }
}

/// Namespaces and the links between them; all are deleted when dropped.
#[derive(Debug)]
pub(crate) struct Net {
    /// What the names of all that is made begin with.
    name: String,
    /// The third byte of the addresses.
    third: u8,
    count: usize,
}

impl Net {
    /// The middle has, to each namespace, a link with an address pair in 10.213.`third`.x; to the test, one more.
    fn new(count: usize) -> Result<Self> {
        // Two tests of one process may run beside each other: each has a net of its own.
        static NETS: AtomicUsize = AtomicUsize::new(0);
        let (process, net) = (std::process::id(), NETS.fetch_add(1, Ordering::Relaxed));
        let third = (process as usize * 8 + net) % 250;
        let made = Self { name: format!("q{process}n{net}"), third: third as u8, count };
        made.make()?;
        Ok(made)
    }

    fn make(&self) -> Result<()> {
        let Self { name, third, count } = self;
        let middle = self.middle();
        ip(&format!("netns add {middle}"))?;
        ip(&format!("-n {middle} link set lo up"))?;
        ip(&format!("netns exec {middle} sysctl -q -w net.ipv4.ip_forward=1"))?;
        for at in 0..=*count {
            // The last is the test itself, in the namespace it is in.
            let is_test = at == *count;
            let (inner, outer, base) = (format!("{name}i{at}"), format!("{name}o{at}"), at * 4);
            let own = self.namespace(at);
            if !is_test {
                ip(&format!("netns add {own}"))?;
            }
            ip(&format!("link add {inner} type veth peer name {outer} netns {middle}"))?;
            let inside = if is_test {
                String::new()
            } else {
                ip(&format!("link set {inner} netns {own}"))?;
                ip(&format!("-n {own} link set lo up"))?;
                format!("-n {own} ")
            };
            ip(&format!("{inside}addr add 10.213.{third}.{}/30 dev {inner}", base + 1))?;
            ip(&format!("{inside}link set {inner} up"))?;
            ip(&format!("-n {middle} addr add 10.213.{third}.{}/30 dev {outer}", base + 2))?;
            ip(&format!("-n {middle} link set {outer} up"))?;
            ip(&format!("{inside}route add 10.213.{third}.0/24 via 10.213.{third}.{}", base + 2))?;
        }
        // That packets can be dropped on their way.
        self.cut(0, 1)?;
        self.heal_all()
    }

    fn middle(&self) -> String {
        format!("{}m", self.name)
    }

    fn namespace(&self, at: usize) -> String {
        format!("{}n{at}", self.name)
    }

    fn host(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.third, (at * 4 + 1) as u8)
    }

    fn place(&self, at: usize) -> Place {
        let host = self.host(at).into();
        Place { host, port: 7000, api_port: 8000, namespace: Some(self.namespace(at)) }
    }

    /// Drops what one sends to the other.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Result<()> {
        let (middle, from, to) = (self.middle(), self.host(from), self.host(to));
        ip(&format!("-n {middle} rule add pref 10 from {from} to {to} blackhole"))?;
        Ok(())
    }

    /// From now on each node sends so much and no more: to all others together.
    pub(crate) fn limit(&self, mbit_per_s: u32) -> Result<()> {
        for at in 0..self.count {
            let (own, inner) = (self.namespace(at), format!("{}i{at}", self.name));
            let limit = format!("rate {mbit_per_s}mbit burst 32kb latency 50ms");
            let arguments = format!("-n {own} qdisc replace dev {inner} root tbf {limit}");
            run("tc", &arguments)?;
        }
        Ok(())
    }

    /// Drops packets longer than this that one sends to the other, and tells neither: a hole in the path's MTU. Others pass.
    pub(crate) fn drop_longer(&self, from: usize, to: usize, bytes: u32) -> Result<()> {
        let (middle, from, to) = (self.middle(), self.host(from), self.host(to));
        let nft = |what: &str| ip(&format!("netns exec {middle} nft {what}"));
        nft("add table ip hole")?;
        nft("add chain ip hole forward { type filter hook forward priority 0 ; }")?;
        nft(&format!("add rule ip hole forward ip saddr {from} ip daddr {to} ip length > {bytes} drop"))?;
        Ok(())
    }

    /// Long packets pass again.
    pub(crate) fn long_pass(&self) -> Result<()> {
        ip(&format!("netns exec {} nft delete table ip hole", self.middle()))?;
        Ok(())
    }

    /// Has a place forget its connections to the nodes, as one does that loses its power. Of what it sends about them nothing arrives
    /// if the place is cut off.
    pub(crate) fn forget_connections(&self, at: usize) -> Result<()> {
        let ends = format!("ss -K -t -H -a dst 10.213.{}.0/24", self.third);
        if at == self.count {
            run("ss", ends.trim_start_matches("ss "))?;
        } else {
            ip(&format!("netns exec {} {ends}", self.namespace(at)))?;
        }
        Ok(())
    }

    /// The place of the test itself among those of the nodes: it can be cut off, too.
    pub(crate) fn test(&self) -> usize {
        self.count
    }

    /// Bytes that a node has sent so far, to all others together, with the headers of every layer.
    pub(crate) fn sent_bytes(&self, at: usize) -> Result<u64> {
        let (own, inner) = (self.namespace(at), format!("{}i{at}", self.name));
        let shown = ip(&format!("netns exec {own} cat /sys/class/net/{inner}/statistics/tx_bytes"))?;
        Ok(shown.parse()?)
    }

    /// Lets everything pass again.
    pub(crate) fn heal_all(&self) -> Result<()> {
        let middle = self.middle();
        while !ip(&format!("-n {middle} rule list pref 10"))?.is_empty() {
            ip(&format!("-n {middle} rule del pref 10"))?;
        }
        Ok(())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // With a namespace go its links, and with them their other ends. What was not made is not there.
        for namespace in (0..self.count).map(|at| self.namespace(at)).chain([self.middle()]) {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).output();
        }
    }
}

/// Runs `ip` and gives what it printed.
fn ip(arguments: &str) -> Result<String> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> Result<String> {
    let output = Command::new(program).args(arguments.split(' ')).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

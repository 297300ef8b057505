//! Partitions: packets between nodes in network namespaces of their own are dropped on their way, without a word to
//! either end. Clients reach every node throughout.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Result, ensure};
use quorate_tests::skip::skipped;
use quorate_tests::wait::{PATIENCE, until};

use crate::cluster::{ANSWERS_WITHIN, Cluster, Place};
use crate::load::Load;

#[test]
fn a_partition_of_the_leader_ends_without_a_stale_answer() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3)? else { return Ok(()) };
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        for round in 0..3 {
            load.writes(30)?;
            let old = cluster.leader()?;
            let others: Vec<usize> = (0..3).filter(|at| *at != old.at).collect();
            for other in &others {
                net.cut(*other, old.at)?;
                // The second time, one way only: it hears nothing, and its heartbeats are heard all the same.
                if round != 1 {
                    net.cut(old.at, *other)?;
                }
            }
            let apis: Vec<_> = others.iter().map(|at| cluster.api(*at)).collect();
            let took = load.answers(&apis, ANSWERS_WITHIN)?;
            cluster.leader_of(&others, old.term)?;
            for key in ["a", "b", "c"] {
                // It may not know yet that it does not lead; what it answers stands in the history.
                load.reads_at(cluster.api(old.at), key);
            }
            load.writes(20)?;
            net.heal_all()?;
            let healed = load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
            let ((), agreed) = until("all follow one leader", PATIENCE, || {
                let views: Option<Vec<_>> = (0..3).map(|at| cluster.view(at)).collect();
                let leaders: Vec<_> = views?.iter().map(|view| view["leader"].clone()).collect();
                (!leaders[0].is_null() && leaders.iter().all(|leader| *leader == leaders[0])).then_some(())
            })?;
            println!(
                "round {round}: node{} cut off, the others answered after {took:?}; healed, a write after {healed:?}, \
                 one leader after {agreed:?}",
                old.at
            );
        }
        Ok(())
    })
}

#[test]
fn a_minority_of_two_serves_nothing_and_three_go_on() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(5)? else { return Ok(()) };
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(30)?;
        let leader = cluster.leader()?;
        let minority = [leader.at, (leader.at + 1) % 5];
        let majority: Vec<usize> = (0..5).filter(|at| !minority.contains(at)).collect();
        for one in minority {
            for other in &majority {
                net.cut(one, *other)?;
                net.cut(*other, one)?;
            }
        }
        let apis: Vec<_> = majority.iter().map(|at| cluster.api(*at)).collect();
        let took = load.answers(&apis, ANSWERS_WITHIN)?;
        cluster.leader_of(&majority, leader.term)?;
        load.writes(20)?;
        for at in minority {
            ensure!(!load.reads_at(cluster.api(at), "probe"), "node{at} answers without a majority");
        }
        net.heal_all()?;
        let healed = load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
        println!("the majority answered after {took:?}; healed, a write after {healed:?}");
        (0..5).try_for_each(|at| cluster.ready(at))
    })
}

/// Nodes each in a namespace of their own, around one in the middle that forwards between them.
fn nodes_apart(count: usize) -> Result<Option<(Net, Cluster)>> {
    match Net::new(count) {
        Ok(net) => {
            let cluster = Cluster::new((0..count).map(|at| net.place(at)).collect())?;
            Ok(Some((net, cluster)))
        }
        Err(why) => {
            skipped(&format!("this machine cannot make network namespaces for a test: {why:#}"));
            Ok(None)
        }
    }
}

/// Namespaces and the links between them; all are deleted when dropped.
struct Net {
    /// What the names of all that is made begin with.
    name: String,
    /// The third byte of the addresses.
    third: u8,
    count: usize,
}

impl Net {
    /// The middle has, to each namespace, a link with an address pair in 10.213.`third`.x; to the test, one more.
    fn new(count: usize) -> Result<Self> {
        // Two tests of one process take turns only once a cluster runs: each has a net of its own.
        let (process, third) = (std::process::id(), (std::process::id() as usize * 8 + count) % 250);
        let made = Self { name: format!("q{process}n{count}"), third: third as u8, count };
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
    fn cut(&self, from: usize, to: usize) -> Result<()> {
        let (middle, from, to) = (self.middle(), self.host(from), self.host(to));
        ip(&format!("-n {middle} rule add pref 10 from {from} to {to} blackhole"))?;
        Ok(())
    }

    /// Lets everything pass again.
    fn heal_all(&self) -> Result<()> {
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
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

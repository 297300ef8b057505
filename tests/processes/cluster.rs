//! Processes of the real binary that form one cluster, and what can be done to them.

mod asked;

use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quorate::Config;
use quorate_tests::cluster::free_ports;
use quorate_tests::wait::{PATIENCE, until};
use tempfile::TempDir;

use crate::binary;
use crate::http::{Http, Sent};
use crate::shim::Harm;
use crate::started_by::{inside, limited};
use crate::turn::{self, Turn};

pub(crate) use asked::Leader;

/// A follower that hears nothing starts an election after one to two times this.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_millis(300);
/// For what is no election: a process that starts and opens its database, connections that are made again, and syncs,
/// on two cores that others share.
pub(crate) const ALLOWANCE: Duration = Duration::from_secs(8);
/// How long a look at a node may take.
const LOOK: Duration = Duration::from_millis(500);

/// Where a node lives.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The address it binds and peers dial.
    pub(crate) host: IpAddr,
    /// For the other nodes.
    pub(crate) port: u16,
    /// For clients.
    pub(crate) api_port: u16,
    /// In which network namespace; none: this one's.
    pub(crate) namespace: Option<String>,
}

#[derive(Debug)]
struct Member {
    place: Place,
    data: PathBuf,
    log: PathBuf,
    /// How many files it may have open, if not as many as this process.
    files_max: Option<u32>,
    /// What its calls of the system are harmed by, if at all.
    harm: Option<Harm>,
    /// It is told to join by another node, in place of the list.
    joins: bool,
    child: Option<Child>,
    is_stopped: bool,
}

/// A cluster of processes; all are ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    members: Vec<Member>,
    list: String,
    /// None: the usual one.
    election_timeout: Option<Duration>,
    directory: TempDir,
    _turn: Turn,
}

impl Cluster {
    /// Starts nodes on loopback and waits until all are ready.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let mut cluster = Self::unstarted(count, turn::busy())?;
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Nodes on loopback of which none runs yet.
    pub(crate) fn unstarted(count: usize, turn: Turn) -> Result<Self> {
        let ports = free_ports(2 * count)?;
        let place = |at: usize| Place {
            host: Ipv4Addr::LOCALHOST.into(),
            port: ports[at],
            api_port: ports[count + at],
            namespace: None,
        };
        Self::new((0..count).map(place).collect(), turn)
    }

    /// A cluster of which no node runs yet.
    pub(crate) fn new(places: Vec<Place>, turn: Turn) -> Result<Self> {
        println!("the binary: {}, built by cargo in this profile", binary::binary().display());
        let directory = tempfile::tempdir()?;
        let entry = |(at, place): (usize, &Place)| format!("node{at}={}:{}", place.host, place.port);
        let list: Vec<_> = places.iter().enumerate().map(entry).collect();
        let member = |(at, place): (usize, Place)| Member {
            data: directory.path().join(format!("node{at}")),
            log: directory.path().join(format!("node{at}.log")),
            place,
            files_max: None,
            harm: None,
            joins: false,
            child: None,
            is_stopped: false,
        };
        let members = places.into_iter().enumerate().map(member).collect();
        let election_timeout = Some(ELECTION_TIMEOUT);
        Ok(Self { members, list: list.join(","), election_timeout, directory, _turn: turn })
    }

    /// From its next start on this node alone founds a cluster, and every other one joins the first.
    pub(crate) fn founded_by(&mut self, founder: usize) {
        self.list = self.entry(founder);
        for (at, member) in self.members.iter_mut().enumerate() {
            member.joins = at != founder;
        }
    }

    /// From its next start on a node joins, by the first one or, if it is that, by the second.
    pub(crate) fn join(&mut self, at: usize) {
        self.members[at].joins = true;
    }

    /// How the list names a node.
    pub(crate) fn entry(&self, at: usize) -> String {
        let Place { host, port, .. } = &self.members[at].place;
        format!("node{at}={host}:{port}")
    }

    /// Elections take the time that they take with users, and not the short one of tests.
    pub(crate) fn usual_timings(&mut self) {
        self.election_timeout = None;
    }

    /// Within this it answers after a fault has ended: two maximum election timeouts, and the allowance.
    pub(crate) fn answers_within(&self) -> Duration {
        let usual = Duration::from_millis(Config::default().cluster.election_timeout_ms);
        self.election_timeout.unwrap_or(usual) * 4 + ALLOWANCE
    }

    /// Starts every node that does not run, and waits until all are ready.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        for at in 0..self.members.len() {
            if self.members[at].child.is_none() {
                self.spawn(at)?;
            }
        }
        (0..self.members.len()).try_for_each(|at| self.ready(at))
    }

    /// Starts a process; it may still end by itself.
    pub(crate) fn spawn(&mut self, at: usize) -> Result<()> {
        let mut command = self.command(at, &["serve"]);
        let member = &mut self.members[at];
        ensure!(member.child.is_none(), "node{at} runs already");
        let namespace = &member.place.namespace;
        if let Some(harm) = &member.harm {
            harm.preload(&mut command);
        }
        if let Some(files_max) = member.files_max {
            command = limited(files_max, &command);
        }
        if let Some(namespace) = namespace {
            command = inside(namespace, &command);
        }
        let log = OpenOptions::new().create(true).append(true).open(&member.log)?;
        member.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    /// A command with the settings of a node.
    pub(crate) fn command(&self, at: usize, words: &[&str]) -> Command {
        let member = &self.members[at];
        let Place { host, port, api_port, .. } = &member.place;
        let others = if member.joins {
            let by = &self.members[usize::from(at == 0)].place;
            format!("--join={}:{}", by.host, by.port)
        } else {
            format!("--cluster={}", self.list)
        };
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend([
            format!("--id=node{at}"),
            format!("--host={host}"),
            format!("--port={port}"),
            format!("--api-port={api_port}"),
            others,
            format!("--data-dir={}", member.data.display()),
            "--log=info".to_owned(),
        ]);
        if let Some(timeout) = self.election_timeout {
            arguments.push(format!("--set=election_timeout_ms={}", timeout.as_millis()));
            arguments.push("--set=heartbeat_interval_ms=50".to_owned());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        binary::command(self.directory.path(), &arguments)
    }

    /// Waits until a running node takes work.
    pub(crate) fn ready(&mut self, at: usize) -> Result<()> {
        let mut http = self.http(at, LOOK);
        let ready = until(&format!("node{at} is ready"), PATIENCE, || {
            if let Some(status) = self.has_ended(at) {
                return Some(Err(status));
            }
            let answer = http.send("GET", "/readyz", "", "");
            matches!(answer, Sent::Answer { status: 200, .. }).then_some(Ok(()))
        });
        match ready {
            Ok((Ok(()), took)) => {
                println!("node{at} is ready after {took:?}");
                Ok(())
            }
            Ok((Err(status), _)) => bail!("node{at} ended with {status}:\n{}", self.log_end(at)),
            Err(error) => Err(error.context(self.log_end(at))),
        }
    }

    /// Starts a node again and waits until it is ready.
    pub(crate) fn restart(&mut self, at: usize) -> Result<()> {
        self.spawn(at)?;
        self.ready(at)
    }

    /// Ends a process as a lost machine would: kill -9.
    pub(crate) fn kill(&mut self, at: usize) -> Result<()> {
        let mut child = self.members[at].child.take().with_context(|| format!("node{at} runs"))?;
        self.members[at].is_stopped = false;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Ends a process in order, as an operator would: SIGTERM.
    pub(crate) fn end(&mut self, at: usize) -> Result<()> {
        self.signal(at, "TERM")?;
        self.ended_in_order(at)
    }

    /// Ends all processes in order, all at once: each answers its callers while the others do.
    pub(crate) fn end_all(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|at| self.signal(at, "TERM"))?;
        (0..self.members.len()).try_for_each(|at| self.ended_in_order(at))
    }

    fn ended_in_order(&mut self, at: usize) -> Result<()> {
        let status = self.ended(at)?;
        ensure!(status.success(), "node{at} ended with {status}:\n{}", self.log_end(at));
        Ok(())
    }

    /// Kills a node that may have ended by itself.
    pub(crate) fn kill_if_running(&mut self, at: usize) -> Result<()> {
        if self.members[at].child.is_some() { self.kill(at) } else { Ok(()) }
    }

    /// Ends all processes at once: all are sent the signal before the end of any is waited for.
    pub(crate) fn kill_all(&mut self) -> Result<()> {
        let mut children: Vec<_> = self.members.iter_mut().filter_map(|member| member.child.take()).collect();
        children.iter_mut().try_for_each(Child::kill)?;
        children.iter_mut().try_for_each(|child| child.wait().map(drop))?;
        Ok(())
    }

    /// Stops a process where it stands, as a machine that pauses: SIGSTOP.
    pub(crate) fn pause(&mut self, at: usize) -> Result<()> {
        self.members[at].is_stopped = true;
        self.signal(at, "STOP")
    }

    /// Lets a paused process go on: SIGCONT.
    pub(crate) fn resume(&mut self, at: usize) -> Result<()> {
        self.members[at].is_stopped = false;
        self.signal(at, "CONT")
    }

    fn signal(&self, at: usize, name: &str) -> Result<()> {
        let child = self.members[at].child.as_ref().with_context(|| format!("node{at} runs"))?;
        let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status()?;
        ensure!(sent.success(), "signal {name} was not sent");
        Ok(())
    }

    /// Waits until a process ends by itself.
    pub(crate) fn ended(&mut self, at: usize) -> Result<ExitStatus> {
        let child = self.members[at].child.as_mut().with_context(|| format!("node{at} runs"))?;
        let ended = until(&format!("node{at} ends"), PATIENCE, || child.try_wait().transpose());
        let status = ended.with_context(|| self.log_end(at))?.0?;
        self.members[at].child = None;
        Ok(status)
    }

    /// Whether a process that was started has ended by itself, and how.
    pub(crate) fn has_ended(&mut self, at: usize) -> Option<ExitStatus> {
        self.members[at].child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// A client of a node.
    pub(crate) fn http(&self, at: usize, patience: Duration) -> Http {
        Http::new(self.api(at), patience)
    }

    /// Where a node's API is.
    pub(crate) fn api(&self, at: usize) -> SocketAddr {
        SocketAddr::new(self.members[at].place.host, self.members[at].place.api_port)
    }

    /// Where all APIs are.
    pub(crate) fn apis(&self) -> Vec<SocketAddr> {
        (0..self.members.len()).map(|at| self.api(at)).collect()
    }

    /// Lets a node that does not run yet have so many files open, and no more.
    pub(crate) fn limit_files(&mut self, at: usize, files_max: u32) {
        self.members[at].files_max = Some(files_max);
    }

    /// Lets a node that does not run yet be harmed by this.
    pub(crate) fn harm_by(&mut self, at: usize, harm: Harm) {
        self.members[at].harm = Some(harm);
    }

    /// What harms a node.
    pub(crate) fn harm(&self, at: usize) -> Result<&Harm> {
        self.members[at].harm.as_ref().with_context(|| format!("node{at} is harmed"))
    }

    /// The process of a running node.
    pub(crate) fn pid(&self, at: usize) -> Result<u32> {
        Ok(self.members[at].child.as_ref().with_context(|| format!("node{at} runs"))?.id())
    }

    /// Where a node keeps its data.
    pub(crate) fn data(&self, at: usize) -> &Path {
        &self.members[at].data
    }

    /// Puts a node's data elsewhere.
    pub(crate) fn put_data(&mut self, at: usize, data: PathBuf) {
        self.members[at].data = data;
    }

    /// The directory of the cluster.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Some may have ended already; this also ends paused ones.
        let _ = self.kill_all();
    }
}

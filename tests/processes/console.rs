//! A server outlives its console, and a command tells what it did from what it could print: standard output and error on
//! a full disk, without a reader, and with a reader that sleeps.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_tests::cluster::free_ports;
use quorate_tests::wait::{PATIENCE, until};

use crate::binary::{self, Ran, Serving, ran};
use crate::http::{Http, Sent};
use crate::turn;

/// How long a step of a request may take.
const STEP: Duration = Duration::from_secs(5);
/// Linux's flag: a write to a full pipe fails and does not wait.
const O_NONBLOCK: i32 = 0o4000;

/// A node, alone, whose console the test has chosen; it is killed when this is dropped.
#[derive(Debug)]
struct Node {
    child: Child,
    http: Http,
}

impl Node {
    /// Starts it and waits until it takes work.
    fn start(directory: &Path, stdout: Stdio, stderr: Stdio) -> Result<Self> {
        let ports = free_ports(2)?;
        let (port, api_port) = (ports[0].to_string(), ports[1].to_string());
        let arguments = ["serve", "--host", "127.0.0.1", "--port", &port, "--api-port", &api_port];
        let more = ["--log", "info", "--data-dir", "data"];
        Self::spawn(binary::command(directory, &[&arguments[..], &more].concat()), ports[1], stdout, stderr)
    }

    fn spawn(mut command: Command, api_port: u16, stdout: Stdio, stderr: Stdio) -> Result<Self> {
        let child = command.stdout(stdout).stderr(stderr).spawn()?;
        let http = Http::new(SocketAddr::from(([127, 0, 0, 1], api_port)), STEP);
        let mut node = Self { child, http };
        until("it takes work", PATIENCE, || match node.child.try_wait() {
            Ok(None) => (node.get("/readyz") == Some(200)).then_some(Ok(())),
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("it ended with {status}"))),
            Err(error) => Some(Err(error.into())),
        })?
        .0?;
        Ok(node)
    }

    fn get(&mut self, path: &str) -> Option<u16> {
        match self.http.send("GET", path, "", "") {
            Sent::Answer { status, .. } => Some(status),
            Sent::Unsent | Sent::Lost => None,
        }
    }

    /// That it is alive and writes.
    fn serves(&mut self) -> Result<()> {
        ensure!(self.get("/livez") == Some(200), "it is not alive");
        let put = self.http.send("PUT", "/v1/kv/k", "", "v");
        ensure!(matches!(put, Sent::Answer { status: 200, .. }), "it does not write: {put:?}");
        Ok(())
    }

    /// SIGTERM, and the exit code.
    fn end(mut self) -> Result<Option<i32>> {
        let sent = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "it was not told to end");
        let (status, _) = until("it ends", PATIENCE, || self.child.try_wait().transpose())?;
        Ok(status?.code())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn full_disk() -> Result<Stdio> {
    Ok(OpenOptions::new().write(true).open("/dev/full")?.into())
}

/// The end of a pipe that no one reads.
fn unread() -> Result<Stdio> {
    let (reader, writer) = pipe()?;
    drop(reader);
    Ok(writer.into())
}

/// Another way to the same end of a pipe, which waits for no one.
fn impatient(end: &impl AsRawFd, options: &mut OpenOptions) -> Result<File> {
    Ok(options.custom_flags(O_NONBLOCK).open(format!("/proc/self/fd/{}", end.as_raw_fd()))?)
}

/// A pipe with no room left, whose reader sleeps until the test reads.
fn full_pipe() -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe()?;
    let mut filler = impatient(&writer, OpenOptions::new().write(true))?;
    loop {
        match filler.write(b"what was there before\n") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((reader, writer)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads until this was read, and gives everything up to there; then no one reads any more.
fn read_until(reader: PipeReader, wanted: &str) -> Result<String> {
    let mut reading = impatient(&reader, OpenOptions::new().read(true))?;
    drop(reader);
    let (mut bytes, mut more) = (Vec::new(), [0; 4096]);
    let read = until(&format!("{wanted:?} is said"), PATIENCE, || {
        match reading.read(&mut more) {
            Ok(0) => return Some(Err(anyhow::anyhow!("it ends without {wanted:?}"))),
            Ok(read) => bytes.extend_from_slice(&more[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Some(Err(error.into())),
        }
        let text = String::from_utf8_lossy(&bytes);
        text.contains(wanted).then(|| Ok(text.into_owned()))
    });
    read?.0
}

#[test]
fn a_server_needs_neither_a_disk_nor_a_reader_for_what_it_says() -> Result<()> {
    let _turn = turn::light();
    for (said, stdout, stderr) in [
        ("serve 2>/dev/full", Stdio::null(), full_disk()?),
        ("serve >/dev/full", full_disk()?, Stdio::null()),
        ("serve >/dev/full 2>&1", full_disk()?, full_disk()?),
        ("serve 2>&1 | true", unread()?, unread()?),
    ] {
        let directory = tempfile::tempdir()?;
        let mut node = Node::start(directory.path(), stdout, stderr).context(said)?;
        node.serves().context(said)?;
        assert_eq!(node.end().context(said)?, Some(0), "{said}");
    }
    Ok(())
}

/// `serve 2>&1 | head -1`: the reader goes away while it serves, and the next line of the log meets no one.
#[test]
fn a_reader_that_goes_away_takes_no_server_with_it() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let (reader, writer) = pipe()?;
    let mut node = Node::start(directory.path(), writer.try_clone()?.into(), writer.into())?;
    read_until(reader, "\n")?;
    node.serves()?;
    assert_eq!(node.end()?, Some(0), "that it ends is a line of the log");
    Ok(())
}

#[test]
fn a_reader_that_sleeps_holds_no_server_up() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let (reader, writer) = full_pipe()?;
    let mut node = Node::start(directory.path(), writer.try_clone()?.into(), writer.into())?;
    for _ in 0..50 {
        node.serves()?;
    }
    assert_eq!(node.end()?, Some(0), "its writer is stuck, and it ends in order");
    drop(reader);
    Ok(())
}

#[test]
fn a_reader_that_wakes_reads_what_was_said_meanwhile() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let (reader, writer) = full_pipe()?;
    let mut node = Node::start(directory.path(), Stdio::null(), writer.into())?;
    node.serves()?;
    let read = read_until(reader, "serving")?;
    ensure!(!read.contains("dropped"), "there was room in the queue: {read}");
    node.serves()?;
    assert_eq!(node.end()?, Some(0));
    Ok(())
}

/// The writer cannot wait for room, as on a full disk: each line is lost, until there is room.
#[test]
fn what_was_dropped_is_counted_once_there_is_room() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let (reader, writer) = full_pipe()?;
    let mut node = Node::start(
        directory.path(),
        Stdio::null(),
        impatient(&writer, OpenOptions::new().write(true))?.into(),
    )?;
    node.serves()?;
    let read = read_until(reader, " log lines were dropped\n")?;
    let counts = read.lines().filter_map(|line| line.strip_suffix(" log lines were dropped"));
    let counts: Vec<u64> = counts.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(counts.len() == 1 && counts[0] > 0, "one line with a count: {counts:?}");
    node.serves()?;
    assert_eq!(node.end()?, Some(0));
    Ok(())
}

#[test]
fn a_cluster_in_one_process_needs_no_console_either() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let ports = free_ports(2)?;
    let (port, api_port) = (ports[0].to_string(), ports[1].to_string());
    let arguments = ["dev", "--nodes", "1", "--host", "127.0.0.1", "--port", &port, "--api-port", &api_port];
    let dev = binary::command(directory.path(), &arguments);
    let mut node = Node::spawn(dev, ports[1], full_disk()?, full_disk()?)?;
    node.serves()?;
    assert_eq!(node.end()?, Some(0));
    Ok(())
}

/// One node, and commands that cannot print.
struct Unheard {
    directory: tempfile::TempDir,
    serving: Serving,
}

impl Unheard {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let arguments = ["serve", "--host", "127.0.0.1", "--port", "0", "--api-port", "0"];
        let serving = Serving::start(directory.path(), &arguments)?;
        let started = Self { directory, serving };
        started.run(&["health", "--wait", "--timeout", "30s"], Stdio::piped())?.expect(0, "true")?;
        Ok(started)
    }

    fn run(&self, arguments: &[&str], stdout: Stdio) -> Result<Ran> {
        let api = self.serving.api();
        let all = [arguments, &["--endpoints", &api]].concat();
        let mut command = binary::command(self.directory.path(), &all);
        command.stdout(stdout).stderr(Stdio::piped());
        let output = command.spawn()?.wait_with_output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }
}

#[test]
fn what_was_not_printed_is_not_what_was_not_done() -> Result<()> {
    let _turn = turn::light();
    let unheard = Unheard::start()?;
    let to_full = |arguments: &[&str]| unheard.run(arguments, full_disk()?);
    let heard = |arguments: &[&str]| Ok::<_, anyhow::Error>(unheard.run(arguments, Stdio::piped())?.stdout);
    let done = "the write took effect, but its answer could not be printed";
    to_full(&["kv", "put", "k", "v"])?.expect(10, done)?;
    assert_eq!(heard(&["kv", "get", "k"])?, "v");
    to_full(&["kv", "cas", "k", "v", "w"])?.expect(10, done)?;
    assert_eq!(heard(&["kv", "get", "k"])?, "w");
    to_full(&["counter", "add", "c", "2"])?.expect(10, done)?;
    assert_eq!(heard(&["counter", "get", "c"])?, "2\n");
    to_full(&["kv", "delete", "k"])?.expect(10, done)?;
    unheard.run(&["kv", "get", "k"], Stdio::piped())?.expect(3, "has no value")?;
    // Nothing was to be changed, and nothing is said of a write.
    let read = to_full(&["counter", "get", "c"])?;
    read.expect(10, "cannot write to standard output")?;
    ensure!(!read.stderr.contains("took effect"), "{read:?}");
    to_full(&["kv", "list"])?.expect(10, "cannot write to standard output")?;
    to_full(&["--help"])?.expect(10, "cannot write to standard output")
}

#[test]
fn a_command_that_failed_says_so_whatever_it_prints() -> Result<()> {
    let _turn = turn::light();
    let unheard = Unheard::start()?;
    let swap = ["kv", "cas", "k", "other", "w"];
    unheard.run(&swap, full_disk()?)?.expect(6, "not as expected")?;
    unheard.run(&swap, unread()?)?.expect(6, "not as expected")?;
    let nowhere = format!("127.0.0.1:{}", free_ports(1)?[0]);
    for stdout in [full_disk()?, unread()?] {
        let mut health = binary::command(
            unheard.directory.path(),
            &["health", "--endpoints", &nowhere, "--timeout", "1s"],
        );
        let ended = health.stdout(stdout).stderr(Stdio::null()).status()?;
        assert_eq!(ended.code(), Some(7), "nothing is ready there");
    }
    Ok(())
}

/// `kv put k v | head`, whose reader has gone: what was asked for is done, and a silent end is the ordinary one.
#[test]
fn a_reader_that_has_enough_ends_a_command_in_silence() -> Result<()> {
    let _turn = turn::light();
    let unheard = Unheard::start()?;
    for verb in [&["kv", "put", "k", "v"][..], &["kv", "list"], &["status"], &["--help"]] {
        let ended = unheard.run(verb, unread()?)?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{verb:?}");
    }
    Ok(())
}

#[test]
fn a_command_whose_messages_cannot_be_written_keeps_its_exit_code() -> Result<()> {
    let _turn = turn::light();
    let unheard = Unheard::start()?;
    let api = unheard.serving.api();
    for (verb, code) in [(&["kv", "get", "none"][..], 3), (&["kv", "put", "", "v"], 2), (&["kvv"], 2)] {
        let all = [verb, &["--endpoints", &api]].concat();
        let mut command = binary::command(unheard.directory.path(), &all);
        let ended = command.stdout(Stdio::null()).stderr(full_disk()?).status()?;
        assert_eq!(ended.code(), Some(code), "{verb:?}");
    }
    Ok(())
}

/// A stack as large as all the memory that a process can address: the system starts no thread.
#[test]
fn a_process_that_gets_no_thread_says_so() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for arguments in [&["serve", "--port", "0", "--api-port", "0"][..], &["status"], &["bench", "put"]] {
        let mut command = binary::command(directory.path(), arguments);
        command.env("RUST_MIN_STACK", (1_u64 << 47).to_string());
        let ended = ran(command)?;
        ended.expect(1, "error: cannot start")?;
        ended.expect(1, "raise the limit of threads")?;
    }
    Ok(())
}

#[test]
fn a_wrong_number_of_threads_is_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for wrong in ["many", "0"] {
        let mut command = binary::command(directory.path(), &["serve", "--port", "0", "--api-port", "0"]);
        command.env("TOKIO_WORKER_THREADS", wrong);
        ran(command)?.expect(2, "TOKIO_WORKER_THREADS is")?;
    }
    Ok(())
}

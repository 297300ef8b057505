//! A node whose process may open few files: clients are turned away before the store and the links are.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_server::descriptors::raise_file_limit;
use quorate_tests::skip::skipped;
use quorate_tests::wait::{PATIENCE, until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::binary::{command, ran};
use crate::cluster::Cluster;
use crate::http::Sent;
use crate::started_by::limited;
use crate::turn;

/// The usual limit, soft and hard.
const FILES_MAX: u32 = 1_024;
/// More clients than that.
const CLIENTS: usize = 1_100;
/// Enough for the store to replace journals and write tables meanwhile.
const WRITES: usize = 120;
const VALUE_BYTES: usize = 768 << 10;
/// A client asks again after so many writes.
const ROUNDS_OF_A_CLIENT: usize = 20;

/// Asks on a connection that is kept; whether it is still open. The answer is left where it is.
fn asks(mut stream: &TcpStream) -> bool {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").is_ok()
}

/// A client that keeps its connection. One that is not accepted yet waits in the system's queue, or in that of its own machine.
fn keeps_its_connection(cluster: &Cluster, at: usize) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&cluster.api(at), Duration::from_millis(200)).ok()?;
    asks(&stream).then_some(stream)
}

#[test]
fn clients_cannot_use_up_what_the_store_needs() -> Result<()> {
    if raise_file_limit() < 2 * CLIENTS as u64 {
        skipped("this process may not open enough files to be that many clients");
        return Ok(());
    }
    let mut cluster = Cluster::unstarted(1, turn::busy())?;
    cluster.limit_files(0, FILES_MAX);
    cluster.start_all()?;
    let value = "v".repeat(VALUE_BYTES);
    // It came before the others, and has its connection.
    let mut http = cluster.http(0, PATIENCE);
    let mut clients: VecDeque<_> = (0..CLIENTS).filter_map(|_| keeps_its_connection(&cluster, 0)).collect();
    ensure!(clients.len() > FILES_MAX as usize / 2, "only {} clients were there", clients.len());
    for round in 0..WRITES {
        // The node closes connections that are silent for long, so each client asks from time to time. None gives its place up:
        // what the store opens then would have one.
        for _ in 0..CLIENTS / ROUNDS_OF_A_CLIENT {
            let client = clients.pop_front().filter(asks);
            clients.extend(client.or_else(|| keeps_its_connection(&cluster, 0)));
        }
        let put = http.send("PUT", &format!("/v1/kv/k{}", round % 10), "", &value);
        if let Some(status) = cluster.has_ended(0) {
            anyhow::bail!("it ended with {status} at write {round}:\n{}", cluster.log_end(0));
        }
        ensure!(
            matches!(put, Sent::Answer { status: 200, .. }),
            "write {round}: {put:?}\n{}",
            cluster.log_end(0)
        );
    }
    drop(clients);
    cluster.ready(0)?;
    cluster.end(0)
}

#[test]
fn a_limit_that_is_too_low_to_serve_is_named_at_the_start() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    for verb in [&["serve", "--data-dir", "data"][..], &["dev", "--data-dir", "data"]] {
        let ended = ran(limited(200, &command(directory.path(), verb)))?;
        ended.expect(1, "at most 200 files may be open in this process, and it needs ")?;
    }
    assert!(!directory.path().join("data").exists(), "nothing was started");
    Ok(())
}

/// The limit of a running process is lowered: what only bounds cannot foresee. A connection that cannot be accepted waits.
#[test]
fn without_descriptors_the_api_says_so_and_goes_on() -> Result<()> {
    let mut cluster = Cluster::start(1)?;
    let pid = i32::try_from(cluster.pid(0)?).ok().and_then(Pid::from_raw);
    let before = cluster.log_length(0);
    // The hard limit is that of this process, and stays.
    let few = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let usual = prlimit(pid, Resource::Nofile, few).context("the limit is lowered")?;
    let mut client = TcpStream::connect(cluster.api(0))?;
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    until("it says what is missing", PATIENCE, || {
        cluster.logged_since(0, before).contains("no file descriptor left").then_some(())
    })?;
    prlimit(pid, Resource::Nofile, usual).context("the limit is raised again")?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the client that waited is answered: {answer}");
    let said = cluster.logged_since(0, before);
    ensure!(said.matches("API cannot accept").count() == 1, "once, not at each try:\n{said}");
    cluster.end(0)
}

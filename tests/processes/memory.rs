//! What clients that stall cost a served process in memory: bodies that do not end, answers and pages that no one takes. The process
//! must stay below what the budgets of decision 0024 say, added up here.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use quorate_server::ApiOptions;
use quorate_server::descriptors::raise_file_limit;
use quorate_tests::skip::skipped;
use quorate_tests::wait::{PATIENCE, until};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::http::Sent;
use crate::soak::either;

/// As long as a value may be, nearly.
const VALUE_BYTES: usize = 1_000_000;
/// Values that there are to be read: several pages of them.
const VALUES: usize = 8;
/// What a connection has beside what is counted: hyper's buffers, a block of a body, a short answer; and a part of what the allocator
/// keeps.
const CONNECTION_BYTES: usize = 384 << 10;
/// Requests of one connection: more than the buffers of the sockets take the answers of.
const REQUESTS: usize = 12;
/// Looks without any progress after which all clients count as stalled.
const STILL_LOOKS: usize = 100;

/// A client that sends what it has and reads nothing.
struct Stalled {
    stream: TcpStream,
    unsent: Vec<u8>,
    sent: usize,
}

impl Stalled {
    fn new(api: SocketAddr, request: Vec<u8>) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&api, PATIENCE)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, unsent: request, sent: 0 })
    }

    /// Sends what the node takes now; whether it took anything.
    fn goes_on(&mut self) -> bool {
        let mut went_on = false;
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    went_on = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The node refused it, and closed the connection.
                Err(_) => self.sent = self.unsent.len(),
            }
        }
        went_on
    }
}

/// Clients of one kind, how much they may cost together, and what they ask.
struct Kind {
    name: &'static str,
    clients: usize,
    stated: usize,
    request: Vec<u8>,
}

fn kinds() -> [Kind; 3] {
    let options = ApiOptions::default();
    let head =
        format!("PUT /v1/kv/stalled HTTP/1.1\r\nhost: localhost\r\ncontent-length: {VALUE_BYTES}\r\n\r\n");
    let body = [head.as_bytes(), &vec![b'x'; VALUE_BYTES - 1]].concat();
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(REQUESTS).into_bytes();
    // A page is counted from before it is read. Beside each are its values as the state machine has them anyway, and a text of one.
    let pages = options.answers_bytes_max + options.pages_max * 2 * VALUE_BYTES;
    let kind = |name, clients, stated, request| Kind { name, clients, stated, request };
    [
        kind("bodies", either(150, 600), options.bodies_bytes_max, body),
        kind("values", either(150, 600), options.answers_bytes_max, get("/v1/kv/k0")),
        kind("pages", either(100, 200), pages, get("/v1/kv")),
    ]
}

#[test]
fn clients_that_stall_hold_no_more_memory_than_is_stated() -> Result<()> {
    if raise_file_limit() < 4_000 {
        skipped("this process may not open enough files to be that many clients");
        return Ok(());
    }
    let mut cluster = Cluster::start(1)?;
    let mut http = cluster.http(0, PATIENCE);
    let value = "\u{1}".repeat(VALUE_BYTES);
    for key in 0..VALUES {
        let put = http.send("PUT", &format!("/v1/kv/k{key}"), "", &value);
        ensure!(matches!(put, Sent::Answer { status: 200 | 201, .. }), "{put:?}");
    }
    let pid = cluster.pid(0)?;
    let mib = |bytes: usize| bytes >> 20;
    let before = memory(pid, "VmRSS:")?;
    for Kind { name, clients, stated, request } in kinds() {
        // The peak is that of this kind.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        let stalled = |_| Stalled::new(cluster.api(0), request.clone());
        let mut stalled = (0..clients).map(stalled).collect::<Result<Vec<_>>>()?;
        // While all of them ask. What they have sent until then waits at the node.
        let went_on = stalled.iter_mut().map(Stalled::goes_on).fold(false, |one, other| one | other);
        ensure!(went_on, "they send something");
        let asked = Instant::now();
        put_small(&cluster)?;
        let waited = asked.elapsed();
        let mut still = 0;
        until("all clients are stalled", 4 * PATIENCE, || {
            let went_on = stalled.iter_mut().map(Stalled::goes_on).fold(false, |one, other| one | other);
            still = if went_on { 0 } else { still + 1 };
            (still == STILL_LOOKS).then_some(())
        })?;
        let more = memory(pid, "VmHWM:")?.saturating_sub(before);
        // The allocator keeps some of what it was given back, also by the clients before these.
        let bound = stated + stated / 2 + clients * CONNECTION_BYTES;
        println!(
            "field: memory: {clients} clients stalled in {name}: at most {} MiB more than the {} MiB before; {} MiB are stated; a put beside them was answered after {} ms",
            mib(more),
            mib(before),
            mib(bound),
            waited.as_millis(),
        );
        ensure!(more <= bound, "{name}: {} MiB more than before, and {} are stated", mib(more), mib(bound));
        put_small(&cluster)?;
        drop(stalled);
        cluster.ready(0)?;
    }
    cluster.end(0)
}

/// A put of a client that does not stall.
fn put_small(cluster: &Cluster) -> Result<()> {
    let put = cluster.http(0, PATIENCE).send("PUT", "/v1/kv/small", "", "v");
    ensure!(matches!(put, Sent::Answer { status: 200 | 201, .. }), "one that does not stall: {put:?}");
    Ok(())
}

/// A line of what the kernel says about a process, in bytes.
fn memory(pid: u32, field: &str) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).context("the kernel says it")?;
    let kib: usize = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib << 10)
}

//! Links that take a few megabits a second: what is written arrives more slowly, and no leader is deposed by its own backlog.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::cluster::Cluster;
use crate::http::{Http, Sent};
use crate::net::nodes_apart;

/// One put may take so long: the link carries it twice.
const PUT_WITHIN: Duration = Duration::from_secs(60);

/// One client with values of 512 KiB, and eight with values of 64 KiB, at 10 Mbit/s: before heartbeats had a lane of their own,
/// the one client alone caused 19 changes of role in 12 s.
#[test]
fn a_slow_link_deposes_no_leader() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3)? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    let leader = cluster.leader()?;
    puts(&cluster, leader.at, 1, 1, 1_024)?;
    net.limit(10)?;
    puts(&cluster, leader.at, 1, 10, 512 << 10)?;
    puts(&cluster, leader.at, 8, 10, 64 << 10)?;
    let after = cluster.leader()?;
    ensure!(after == leader, "{leader:?} led, and now {after:?}:\n{}", cluster.log_ends());
    Ok(())
}

/// So many clients put so many values of this size, one after the other each; all are answered.
fn puts(cluster: &Cluster, at: usize, clients: usize, each: usize, bytes: usize) -> Result<()> {
    let api = cluster.api(at);
    let put = |client: usize| -> Result<()> {
        let (mut http, value) = (Http::new(api, PUT_WITHIN), "v".repeat(bytes));
        for _ in 0..each {
            let path = format!("/v1/kv/big{client}?timeout_ms={}", PUT_WITHIN.as_millis());
            match http.send("PUT", &path, "", &value) {
                Sent::Answer { status: 200 | 201 | 204, .. } => {}
                other => bail!("client {client}, {bytes} bytes: {other:?}"),
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|client| scope.spawn(move || put(client))).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })
}

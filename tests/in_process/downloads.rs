//! Snapshots that clients download: how many at once, and what their nodes keep and forget meanwhile.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use quorate::store::inspect_snapshot;
use quorate_server::ApiOptions;
use quorate_server::http::StatusCode;
use quorate_tests::cluster::quick;
use quorate_tests::servers::{Servers, problem};
use quorate_tests::wait::{PATIENCE, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// More of them than the sockets' own buffers take.
const VALUES: usize = 16;
const VALUE_BYTES: usize = 900_000;
const LATEST: &str = "GET /v1/snapshots/latest HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// One node with a snapshot, and where that ends. Of everything that requests share there is as little as can be.
async fn one_with_a_snapshot() -> Result<(Servers, u64)> {
    let mut config = quick();
    config.node.tail_bytes_max = 0;
    let api = ApiOptions { pages_max: 1, bodies_bytes_max: 2 << 20, ..ApiOptions::default() };
    let servers = Servers::start_as(1, api, config).await?;
    for at in 0..VALUES {
        servers.put(0, &format!("/v1/kv/k{at}"), vec![b'v'; VALUE_BYTES]).await?.ok();
    }
    let index = take(&servers).await?;
    Ok((servers, index))
}

async fn take(servers: &Servers) -> Result<u64> {
    let taken = servers.post(0, "/v1/snapshots", &json!({})).await?.ok();
    taken["index"].as_u64().context("where it ends")
}

/// A client that takes no more than the head, until it is told to.
struct Slow {
    stream: TcpStream,
    begun: Vec<u8>,
}

impl Slow {
    async fn start(servers: &Servers) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(32 << 10)?;
        let mut stream = socket.connect(servers.running(0).api_addr()).await?;
        stream.write_all(LATEST.as_bytes()).await?;
        let mut begun = vec![0; 1_024];
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut begun)).await??;
        begun.truncate(count);
        Ok(Self { stream, begun })
    }

    fn status(&self) -> Result<u16> {
        let head = std::str::from_utf8(self.begun.get(9..12).context("a head")?)?;
        Ok(head.parse()?)
    }

    /// All of the body.
    async fn rest(mut self) -> Result<Vec<u8>> {
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut self.begun)).await??;
        let end =
            self.begun.windows(4).position(|four| four == b"\r\n\r\n").context("the end of the head")?;
        Ok(self.begun.split_off(end + 4))
    }
}

/// Downloads that their clients do not take.
async fn downloads(servers: &Servers, count: usize) -> Result<Vec<Slow>> {
    let mut slow = Vec::new();
    for _ in 0..count {
        let one = Slow::start(servers).await?;
        ensure!(one.status()? == 200, "{}", String::from_utf8_lossy(&one.begun));
        slow.push(one);
    }
    Ok(slow)
}

/// One more finds a place, and gives it back.
async fn place_again(servers: &Servers) -> Result<()> {
    eventually("there is a place again", async || {
        let got = servers.get(0, "/v1/snapshots/latest").await.ok()?;
        (got.status == StatusCode::OK).then_some(())
    })
    .await
}

fn verified(bytes: &[u8], directory: &Path) -> Result<u64> {
    let path = directory.join("downloaded");
    std::fs::write(&path, bytes)?;
    Ok(inspect_snapshot(&path)?.head.at.index.0)
}

fn files(servers: &Servers) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(servers.data(0).join("snapshots"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Each holds a part of a file in memory for as long as its client likes, so there are few of them, and they take no place of anything
/// else.
#[tokio::test]
async fn four_downloads_at_once_and_a_fifth_is_refused() -> Result<()> {
    let (servers, index) = one_with_a_snapshot().await?;
    let directory = tempfile::tempdir()?;
    let mut slow = downloads(&servers, 4).await?;
    let fifth = servers.get(0, "/v1/snapshots/latest").await?;
    assert_eq!(fifth.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fifth.problem(), problem(429, "busy", "refused"));
    // What else a node does is asked in other queues.
    servers.put(0, "/v1/kv/k", "small").await?.ok();
    assert_eq!(servers.get(0, "/v1/kv/k").await?.body, b"small");
    servers.put(0, "/v1/kv/k", vec![b'v'; VALUE_BYTES]).await?.ok();
    servers.get(0, "/v1/kv?limit=3").await?.ok();
    servers.get(0, "/v1/log?limit=1").await?.ok();
    assert!(take(&servers).await? > index);

    // One client vanishes.
    drop(slow.pop());
    place_again(&servers).await?;
    // Another one takes all of it; that leaves two, and places for two more.
    let whole = slow.pop().context("three are left")?.rest().await?;
    assert_eq!(verified(&whole, directory.path())?, index);
    place_again(&servers).await?;
    slow.extend(downloads(&servers, 2).await?);
    assert_eq!(servers.get(0, "/v1/snapshots/latest").await?.status, StatusCode::TOO_MANY_REQUESTS);
    drop(slow);
    place_again(&servers).await?;
    servers.stop_all().await
}

/// A backup needs its file to the end, and nothing of the log after it.
#[tokio::test]
async fn a_download_holds_its_file_and_not_the_log() -> Result<()> {
    let (servers, index) = one_with_a_snapshot().await?;
    let directory = tempfile::tempdir()?;
    let slow = downloads(&servers, 1).await?.pop().context("one")?;
    let mut newer = Vec::new();
    for round in 0..3 {
        servers.put(0, "/v1/kv/k", format!("{round}")).await?.ok();
        newer.push(take(&servers).await?);
    }
    // The log begins behind the older of the two that are kept, which is newer than what is downloaded.
    let first = newer[1] + 1;
    eventually("the log is forgotten all the same", async || {
        let groups = servers.running(0).node().groups().await;
        let role = groups.into_iter().next()?.role?;
        (role.first == first && role.snapshot == newer[2]).then_some(())
    })
    .await?;
    assert_eq!(files(&servers)?.len(), 3, "the two newest, and the one that is downloaded");
    let whole = slow.rest().await?;
    assert_eq!(verified(&whole, directory.path())?, index);
    servers.stop_all().await
}

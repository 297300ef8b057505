//! A backup is taken of a running cluster, and another cluster is made of it, with the binary and as docs/how-to/backup.md says.

use std::collections::BTreeSet;
use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::PATIENCE;

use crate::binary::{self, Ran, ran};
use crate::cluster::Cluster;
use crate::http::Sent;
use crate::turn;

const KEYS: u32 = 20;

fn key(number: u32) -> String {
    format!("/v1/kv/k{number}")
}

fn cli(cluster: &Cluster, words: &[&str]) -> Result<Ran> {
    let endpoints: Vec<String> = cluster.apis().iter().map(ToString::to_string).collect();
    let endpoints = endpoints.join(",");
    let given = [words, &["--endpoints", &endpoints, "--timeout", "30s", "-o", "json"]].concat();
    ran(binary::command(cluster.directory(), &given))
}

fn holds(cluster: &Cluster, at: usize) -> Result<()> {
    for number in 0..KEYS {
        let got = cluster.http(at, PATIENCE).send("GET", &key(number), "", "");
        let whole =
            matches!(&got, Sent::Answer { status: 200, body, .. } if *body == number.to_string().as_bytes());
        ensure!(whole, "key {number} at node{at}: {got:?}");
    }
    Ok(())
}

#[test]
fn a_cluster_is_made_of_a_backup() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let file = kept.path().join("backup.snap");
    let path = file.to_str().context("it is plain text")?;
    let mut old = Cluster::start(3)?;
    for number in 0..KEYS {
        let put = old.http(0, PATIENCE).send("PUT", &key(number), "", &number.to_string());
        ensure!(matches!(put, Sent::Answer { status: 200, .. }), "{put:?}");
    }
    let saved = cli(&old, &["snapshot", "save", path])?;
    ensure!(saved.code == Some(0), "{saved:?}");
    let index = saved.json()?["index"].as_u64().context("an index")?;
    ensure!(index > u64::from(KEYS), "{saved:?}");
    let again = cli(&old, &["snapshot", "save", path])?;
    ensure!(again.code == Some(1), "what is there is not written over: {again:?}");
    let taken = cli(&old, &["snapshot", "take"])?;
    ensure!(taken.code == Some(0) && taken.json()?["index"].as_u64() >= Some(index), "{taken:?}");
    old.end_all()?;
    drop(old);

    let inspected = binary::quorate(&["snapshot", "inspect", path, "-o", "json"])?;
    ensure!(inspected.code == Some(0) && inspected.json()?["index"] == index, "{inspected:?}");
    let mut damaged = std::fs::read(&file)?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let other = kept.path().join("damaged.snap");
    std::fs::write(&other, damaged)?;
    let said = binary::quorate(&["snapshot", "inspect", other.to_str().context("it is plain text")?])?;
    ensure!(said.code == Some(1), "{said:?}");

    let mut new = Cluster::unstarted(3, turn::busy())?;
    let alone = kept.path().join("alone");
    let alone = alone.to_str().context("it is plain text")?;
    let restored = binary::quorate(&["snapshot", "restore", path, "--id", "node0", "--data-dir", alone])?;
    restored.expect(0, "of this node alone")?;
    let mut clusters = BTreeSet::new();
    for at in 0..3 {
        let restored = ran(new.command(at, &["snapshot", "restore", path, "-o", "json"]))?;
        ensure!(restored.code == Some(0) && restored.json()?["index"] == index, "{restored:?}");
        let said = restored.json()?;
        ensure!(said["members"].as_str().is_some_and(|list| list.contains("node2=")), "{restored:?}");
        clusters.insert(said["cluster"].to_string());
        let again = ran(new.command(at, &["snapshot", "restore", path]))?;
        ensure!(again.code == Some(1), "what is there is not written over: {again:?}");
    }
    ensure!(clusters.len() == 1, "{clusters:?}");
    new.start_all()?;
    (0..3).try_for_each(|at| holds(&new, at))?;
    let put = new.http(1, PATIENCE).send("PUT", "/v1/kv/later", "", "v");
    let later = match &put {
        Sent::Answer { status: 200, body, .. } => serde_json::from_slice::<serde_json::Value>(body)?,
        Sent::Answer { .. } | Sent::Unsent | Sent::Lost => anyhow::bail!("{put:?}"),
    };
    ensure!(later["index"].as_u64() > Some(index), "no index falls: {later}");
    new.end_all()
}

/// A node that takes connections and says nothing costs its own time, and no backup.
#[test]
fn a_silent_node_keeps_no_backup_from_being_made() -> Result<()> {
    let kept = tempfile::tempdir()?;
    let file = kept.path().join("backup.snap");
    let path = file.to_str().context("it is plain text")?;
    let mut cluster = Cluster::start(1)?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let hung = silent.local_addr()?.to_string();
    let both = format!("{hung},{}", cluster.api(0));
    for latest in [&[][..], &["--latest"]] {
        let given =
            [&["snapshot", "save", path, "--endpoints", &both, "--timeout", "2s"][..], latest].concat();
        binary::quorate(&given)?.expect(0, "backup.snap")?;
        std::fs::remove_file(&file)?;
        let given =
            [&["snapshot", "save", path, "--endpoints", &hung, "--timeout", "1s"][..], latest].concat();
        binary::quorate(&given)?.expect(4, "in time")?;
    }
    ensure!(std::fs::read_dir(kept.path())?.next().is_none(), "a part is left");
    binary::quorate(&["snapshot", "save", "-"])?.expect(2, "name a file")?;
    binary::quorate(&["snapshot", "inspect", path])?.expect(3, "is not there")?;
    binary::quorate(&["snapshot", "inspect", "/dev/null"])?.expect(1, "no regular file")?;
    cluster.end_all()
}

/// Nothing was taken, and nothing will be: to ask again is right, which 5 forbids.
#[test]
fn without_a_leader_a_snapshot_is_refused() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    for at in [0, 1] {
        cluster.kill(at)?;
    }
    let left = cluster.api(2).to_string();
    let given = ["--endpoints", &left, "--timeout", "3s"];
    let taken = binary::quorate(&[&["snapshot", "take"][..], &given].concat())?;
    taken.expect(4, "no_leader")?;
    binary::quorate(&[&["snapshot", "take", "--stale"][..], &given].concat())?.expect(0, "node2")?;
    cluster.kill(2)
}

//! A node whose files were damaged while it was stopped mends itself from its peers, under load, whatever file it was and
//! however it was damaged; it says so, and then its log is that of the others, to the byte.
//!
//! `QUORATE_REPAIR_SEED` chooses victims, files and damage; `QUORATE_REPAIR_SEEDS` takes so many from there on.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use quorate::store::{FjallDisk, FjallOptions, Offline};
use quorate_core::{Entry, Index, encode_run};
use quorate_tests::files;
use quorate_tests::wait::{PATIENCE, until};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::http::Sent;
use crate::load::{Load, next_random};

/// Damage per seed; `.ci/disk` takes more seeds.
const ROUNDS: u64 = 4;

#[test]
fn rule_06_bug_70_bug_71_whatever_file_was_damaged_the_node_mends_itself() -> Result<()> {
    let number =
        |name: &str, other: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(other);
    let first = number("QUORATE_REPAIR_SEED", 1);
    for seed in first..first + number("QUORATE_REPAIR_SEEDS", 1) {
        run(seed).with_context(|| {
            format!("replay: QUORATE_REPAIR_SEED={seed} cargo test --workspace --test processes mends_itself -- --nocapture")
        })?;
    }
    Ok(())
}

/// Every link is up, and "none" was all that was said. What is said instead helps.
#[test]
fn a_majority_that_recovers_is_named_and_its_databases_can_be_put_back() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let put = cluster.http(0, PATIENCE).send("PUT", "/v1/kv/k", "", "v");
    ensure!(matches!(put, Sent::Answer { status: 200, .. }), "{put:?}");
    cluster.end_all()?;
    let version = std::fs::read(cluster.data(0).join("db/version"))?;
    for at in [0, 1] {
        std::fs::remove_file(cluster.data(at).join("db/version"))?;
    }
    (0..3).try_for_each(|at| cluster.spawn(at))?;
    let said =
        |at: usize, words: &str| match cluster.http(at, PATIENCE).send("GET", "/readyz?verbose", "", "") {
            Sent::Answer { body, .. } => String::from_utf8_lossy(&body).contains(words).then_some(()),
            Sent::Unsent | Sent::Lost => None,
        };
    let both = "node0, node1 recover and give no vote; no majority of the voters is left";
    until("the third names them", PATIENCE, || said(2, both))?;
    // They stand for nothing, and tell each other all the same.
    until("each of them names both", PATIENCE, || said(0, both).and(said(1, both)))?;
    for at in [0, 1] {
        cluster.end(at)?;
        let data = cluster.data(at);
        std::fs::rename(data.join("db"), data.join("db.unused"))?;
        std::fs::rename(data.join("db.damaged-1"), data.join("db"))?;
        std::fs::write(data.join("db/version"), &version)?;
    }
    cluster.start_all()?;
    cluster.end_all()
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// A bit of it flips.
    Flipped,
    /// Its end is lost.
    Cut,
    Deleted,
    /// It is what it was at the last stop.
    RolledBack,
    /// So is the whole database.
    DatabaseRolledBack,
}

#[derive(Debug, Default)]
struct Counted {
    unharmed: u64,
    recovered: u64,
    seen_recovering: u64,
    refused: u64,
    by_harm: BTreeMap<String, u64>,
}

fn run(seed: u64) -> Result<()> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut cluster = Cluster::start(3)?;
    let mut counted = Counted::default();
    let mut saved: BTreeMap<usize, TempDir> = BTreeMap::new();
    Load::during(&cluster.apis(), |load| {
        for round in 0..ROUNDS {
            load.writes(30)?;
            let seen_before = counted.recovered + counted.refused;
            let hit = (next_random(&mut random) % 3) as usize;
            cluster.end(hit)?;
            let now = tempfile::tempdir()?;
            copy(cluster.data(hit), now.path())?;
            let harm = harm(&mut random, cluster.data(hit), saved.get(&hit).map(TempDir::path), round)?;
            println!("seed {seed}, round {round}: node{hit}: {harm}");
            *counted.by_harm.entry(harm.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
            comes_back(&mut cluster, hit, now.path(), &mut counted)?;
            // Of some files nothing that counts was damaged; of these it was.
            let must_be_seen = round == 0 || harm.starts_with("DatabaseRolledBack");
            let was_seen = counted.recovered + counted.refused > seen_before;
            ensure!(was_seen || !must_be_seen, "node{hit} takes this for no damage: {harm}");
            saved.insert(hit, now);
            load.writes(20)?;
        }
        Ok(())
    })?;
    let (length, chain) = same_logs(&mut cluster)?;
    println!(
        "disk repair: seed {seed}: {ROUNDS} rounds, {counted:?}; three logs of {length} entries alike, chain {chain}"
    );
    Ok(())
}

/// The node starts, says what it found, and votes again; or it refuses, says the remedy, and the remedy helps.
fn comes_back(cluster: &mut Cluster, hit: usize, whole: &Path, counted: &mut Counted) -> Result<()> {
    let before = cluster.log_length(hit);
    cluster.spawn(hit)?;
    let mut was_recovering = false;
    let (ended, took) = until(&format!("node{hit} votes again, or refuses"), PATIENCE, || {
        if let Some(status) = cluster.has_ended(hit) {
            return Some(Some(status));
        }
        let status = cluster.status(hit)?;
        was_recovering |= status["standing"] == "recovering";
        (status["standing"] == "voter").then_some(None)
    })
    .with_context(|| cluster.log_end(hit))?;
    let said = cluster.logged_since(hit, before);
    if let Some(status) = ended {
        ensure!(status.code() == Some(1), "node{hit} ended with {status}:\n{said}");
        let has_remedy = said.contains("cannot come back") || said.contains("start the node again");
        ensure!(has_remedy, "node{hit} refuses without a remedy:\n{said}");
        counted.refused += 1;
        cluster.ended(hit)?;
        // The remedy that costs no data: what was there is put back.
        let data = cluster.data(hit).to_owned();
        std::fs::remove_dir_all(&data)?;
        copy(whole, &data)?;
        return cluster.restart(hit);
    }
    let damaged = said.contains("the store was damaged");
    ensure!(damaged || !was_recovering, "node{hit} recovers and does not say why:\n{said}");
    println!("node{hit} votes again after {took:?}; damaged: {damaged}, seen recovering: {was_recovering}");
    counted.seen_recovering += u64::from(was_recovering);
    *(if damaged { &mut counted.recovered } else { &mut counted.unharmed }) += 1;
    cluster.ready(hit)
}

/// Damages one file that a random number chooses, and says which.
fn harm(random: &mut u64, data: &Path, old: Option<&Path>, round: u64) -> Result<String> {
    // The first is damage in the middle of a journal: at least one must have something to mend.
    let all = [Harm::Flipped, Harm::Cut, Harm::Deleted, Harm::RolledBack, Harm::DatabaseRolledBack];
    let harm = if round == 0 { Harm::Flipped } else { all[(next_random(random) % 5) as usize] };
    if harm == Harm::DatabaseRolledBack
        && let Some(old) = old
    {
        std::fs::remove_dir_all(data.join("db"))?;
        copy(&old.join("db"), &data.join("db"))?;
        return Ok(format!("{harm:?}"));
    }
    // What is not of the database is refused without the anchor; a flip there is borne.
    let mut candidates = files::all(&data.join("db"))?;
    if harm == Harm::Flipped && round > 0 {
        candidates.push(data.join("anchor"));
    }
    if round == 0 {
        candidates.retain(|file| files::is_journal(file));
    }
    let at = next_random(random) as usize % candidates.len();
    let file = &candidates[at];
    let mut bytes = std::fs::read(file)?;
    let used = files::written(&bytes);
    let place = next_random(random) as usize % used.max(1);
    let older =
        old.map(|old| old.join(file.strip_prefix(data).unwrap_or(file))).filter(|older| older.exists());
    let done = match (harm, older) {
        (Harm::Deleted, _) => {
            std::fs::remove_file(file)?;
            Harm::Deleted
        }
        (Harm::RolledBack, Some(older)) => {
            std::fs::copy(older, file)?;
            Harm::RolledBack
        }
        (Harm::Cut, _) => {
            std::fs::File::options().write(true).open(file)?.set_len(place as u64)?;
            Harm::Cut
        }
        // A node that was not stopped before has nothing older.
        (Harm::Flipped | Harm::RolledBack | Harm::DatabaseRolledBack, _) => {
            if let Some(byte) = bytes.get_mut(if round == 0 { used / 2 } else { place }) {
                *byte ^= 0x10;
            }
            std::fs::write(file, bytes)?;
            Harm::Flipped
        }
    };
    Ok(format!("{done:?} at {place} of {used} in {}", file.strip_prefix(data)?.display()))
}

/// A copy without the holes of journals.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        let name = entry_name(&path);
        if path.is_dir() {
            if !name.contains("damaged") {
                copy(&path, &target)?;
            }
        } else if files::is_journal(&path) {
            let bytes = std::fs::read(&path)?;
            std::fs::write(&target, &bytes[..files::written(&bytes)])?;
        } else if name != "ballast" {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn entry_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Ends all nodes and compares their logs, entry by entry, chains and payloads. Answers their length and last chain.
fn same_logs(cluster: &mut Cluster) -> Result<(u64, String)> {
    let applied = |cluster: &Cluster, at: usize| cluster.status(at)?["applied_index"].as_u64();
    until("all have applied the same", PATIENCE, || {
        let all: Option<Vec<u64>> = (0..3).map(|at| applied(cluster, at)).collect();
        all.filter(|all| all[0] > 0 && all.iter().all(|one| *one == all[0]))
    })?;
    (0..3).try_for_each(|at| cluster.end(at))?;
    let mut logs = Vec::new();
    for at in 0..3 {
        logs.push(log(cluster.data(at)).with_context(|| format!("the log of node{at}"))?);
    }
    // A node that was ended later may have led once more.
    let length = logs.iter().map(Vec::len).min().context("three logs")?;
    ensure!(length > 50, "the logs have only {length} entries");
    for (at, log) in logs.iter().enumerate() {
        ensure!(encode_run(&log[..length]) == encode_run(&logs[0][..length]), "node{at} has another log");
    }
    Ok((length as u64, logs[0][length - 1].chain.to_string()))
}

/// Every entry of the one group of a node that does not run, verified.
fn log(data: &Path) -> Result<Vec<Entry>> {
    let disk = FjallDisk::lock(data, FjallOptions::default())?;
    let offline = Offline::open(Box::new(disk))?.context("something was stored")?;
    let report = offline.verify();
    ensure!(report.damage.is_empty(), "{:?}", report.damage);
    let group = report.groups.first().context("there is a group")?;
    ensure!(group.damage.is_empty(), "{:?}", group.damage);
    let mut entries = Vec::new();
    offline.entries(&group.name, Index(1), &mut |entry| {
        entries.push(entry.clone());
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

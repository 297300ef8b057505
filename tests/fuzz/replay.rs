//! What the fuzzer has found and what it begins with, replayed without it: every file of `tests/fuzz/corpus` and
//! `tests/fuzz/crashes`, through the same targets. `.ci/fuzz` is the fuzzer.
//!
//! `QUORATE_FUZZ_INPUT=FILE` replays one file: its directory names the target. `REWRITE=1` writes the seeds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quorate::machine::{
    Add, ClientId, Counter, Envelope, Executor, IdempotencyKey, Kv, KvCommand, SessionKey, StateMachine,
};
use quorate_core::{
    AppendEntries, Body, Boot, Entry, EntryKind, Hash, Index, LogId, Message, NodeId, Position,
    ReplicationSession, Round, Term, Time, encode_run,
};
use quorate_fuzz::{ALL, Target};
use quorate_server::machine::{DataCommand, DataMachine};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a fuzzer begins with: one well-formed input of each kind.
fn seeds() -> Result<Vec<(&'static str, &'static str, Vec<u8>)>> {
    let key = SessionKey::new(ClientId::of_name("till"), 1).into();
    let kv = |command: KvCommand| Envelope::encode(&DataCommand::Kv(command), Some(key), 1 << 20);
    let set = kv(KvCommand::set("k", "v"))?;
    let add = Envelope::encode(&DataCommand::add("n", 7), None, 1 << 20)?;
    let opaque = IdempotencyKey::of_text("8e03978e").into();
    let opaque = Envelope::encode(&DataCommand::add("n", 7), Some(opaque), 1 << 20)?;
    let mut seeds = vec![
        ("command", "set", set.to_vec()),
        ("command", "delete", kv(KvCommand::delete("k"))?.to_vec()),
        ("command", "add", add.to_vec()),
        ("command", "add-opaque", opaque.to_vec()),
        ("entries", "run", encode_run(&[entry(&set)]).to_vec()),
        ("message", "append", message(vec![entry(&set)]).encode().to_vec()),
        ("message", "heartbeat", message(Vec::new()).encode().to_vec()),
        ("snapshot", "store", image(DataMachine::default(), &set)?),
        (
            "snapshot",
            "kv",
            image(Kv::default(), &Envelope::encode(&KvCommand::set("k", "v"), Some(key), 1 << 20)?)?,
        ),
        ("snapshot", "counter", image(Counter::default(), &Envelope::encode(&Add(5), Some(key), 1 << 20)?)?),
    ];
    let requests = [
        (
            "set",
            "POST /command\n\n{\"operation\":\"set\",\"key\":\"k\",\"value\":\"v\",\"encoding\":\"base64\"}",
        ),
        ("get", "POST /command?consistency=stale\n\n{\"operation\":\"get\",\"key\":\"k\"}"),
        (
            "cas",
            "POST /api/command\n\n{\"operation\":\"cas\",\"key\":\"k\",\"expected\":null,\"value\":\"v\"}",
        ),
        ("line", "POST /command?timeout_ms=1000\n\n{\"command\":\"SET k=v\"}"),
        ("put", "PUT /v1/kv/a%2Fb?redirect=true\nidempotency-key: till/1\nif-match: \"1\"\n\nvalue"),
        ("put_new", "PUT /v1/kv/k\nif-none-match: *\nquorate-timeout-ms: 1\n\nvalue"),
        ("delete", "DELETE /v1/kv/k\n\n"),
        ("list", "GET /v1/kv?prefix=a&limit=2&cursor=b&consistency=linearizable\n\n"),
        ("add", "POST /v1/counters/n:add\n\n{\"amount\":-9223372036854775808}"),
        ("counters", "GET /v1/counters?limit=1000\n\n"),
        ("log", "GET /v1/log?limit=3\n\n"),
        ("status", "HEAD /v1/status\n\n"),
    ];
    seeds.extend(requests.map(|(name, text)| ("rest", name, text.as_bytes().to_vec())));
    Ok(seeds)
}

fn entry(payload: &Bytes) -> Entry {
    Entry::follow(Position::ORIGIN, Term(1), 7, EntryKind::Command, payload.clone(), Hash::of(payload))
}

fn message(entries: Vec<Entry>) -> Message {
    let (session, round, sent_at) = (ReplicationSession(3), Round(4), Time(5));
    let append = AppendEntries {
        session,
        prev: LogId::default(),
        entries: entries.into(),
        commit: Index(1),
        round,
        sent_at,
        snapshot: None,
    };
    let node = |name| NodeId::new(name).expect("a name");
    Message {
        from: node("a"),
        to: node("b"),
        boot: Boot(6),
        term: Term(2),
        body: Body::AppendEntries(append),
    }
}

fn image<M: StateMachine>(machine: M, payload: &Bytes) -> Result<Vec<u8>> {
    let mut executor = Executor::new(machine)?;
    let _ = executor.apply(&entry(payload)).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(executor.snapshot()?.1.into_bytes()?.to_vec())
}

/// Replays a file; a panic in it is preceded by its name.
fn replay(target: Target, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    println!("{}: {} ({} bytes)", target.name, path.display(), bytes.len());
    target.run(&bytes);
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// One test for all: memory is counted over the process.
#[test]
fn every_input_of_the_corpus_and_every_past_crash_holds() -> Result<()> {
    if let Ok(input) = std::env::var("QUORATE_FUZZ_INPUT") {
        let path = top().join(input);
        let name = path.parent().and_then(Path::file_name).context("a file in a target's directory")?;
        let target = ALL.iter().find(|target| Path::new(target.name) == name).context("a target")?;
        return replay(*target, &path);
    }
    let fuzz = top().join("tests/fuzz");
    for (target, name, bytes) in seeds()? {
        let path = fuzz.join("corpus").join(target).join(name);
        if std::env::var_os("REWRITE").is_some() {
            std::fs::create_dir_all(path.parent().context("it has a directory")?)?;
            std::fs::write(&path, &bytes)?;
        }
        let read =
            std::fs::read(&path).with_context(|| format!("{}: REWRITE=1 writes it", path.display()))?;
        ensure!(read == bytes, "{} is not as made: REWRITE=1 writes it", path.display());
    }
    for target in ALL {
        let mut inputs = files(&fuzz.join("corpus").join(target.name))?;
        inputs.extend(files(&fuzz.join("crashes").join(target.name))?);
        if target.name == "frame" {
            let bridge = top().join("crates/bridge/tests");
            inputs.extend([files(&bridge.join("golden"))?, files(&bridge.join("corpus"))?].concat());
        }
        ensure!(!inputs.is_empty(), "{} has no corpus", target.name);
        for path in &inputs {
            replay(target, path)?;
        }
        target.run(b"");
    }
    Ok(())
}

//! Three processes on loopback, asked by the binary: every verb, the exit codes, a killed leader, and a measurement.

use anyhow::{Context, Result, ensure};
use quorate_tests::cluster::free_ports;
use quorate_tests::wait::{PATIENCE, until};
use serde_json::json;

use crate::binary::{Cluster, Serving, command, ran};
use crate::turn;

#[test]
fn every_verb_on_a_cluster() -> Result<()> {
    let cluster = Cluster::start(turn::alone())?;
    keys(&cluster)?;
    counters(&cluster)?;
    about_the_cluster(&cluster)?;
    measured(&cluster)
}

fn keys(cluster: &Cluster) -> Result<()> {
    let run = |arguments: &[&str]| cluster.run(arguments);
    run(&["kv", "get", "colour"])?.expect(3, "has no value")?;
    let put = run(&["kv", "put", "colour", "blue", "-o", "json"])?;
    ensure!(put.json()?["index"].as_u64() > Some(0), "{put:?}");
    let got = run(&["kv", "get", "colour"])?;
    assert_eq!((got.code, got.stdout.as_str(), got.stderr.as_str()), (Some(0), "blue", ""), "to the byte");
    assert_eq!(run(&["kv", "get", "colour", "-o", "plain", "--consistency", "stale"])?.code, Some(0));
    assert_eq!(run(&["kv", "get", "colour", "-o", "plain"])?.stdout, "blue");
    run(&["kv", "cas", "colour", "green", "red"])?.expect(6, "not as expected")?;
    run(&["kv", "cas", "colour", "blue", "red"])?.expect(0, "true")?;
    run(&["kv", "cas", "--absent", "colour", "red"])?.expect(6, "red")?;
    run(&["kv", "cas", "--absent", "a/b c", "-1"])?.expect(0, "true")?;
    run(&["kv", "get", "a/b c"])?.expect(0, "-1")?;
    let list = run(&["kv", "list", "-o", "jsonl"])?;
    let keys: Vec<_> =
        list.stdout.lines().map(serde_json::from_str::<serde_json::Value>).collect::<Result<_, _>>()?;
    assert_eq!(keys.iter().map(|row| &row["key"]).collect::<Vec<_>>(), [&json!("a/b c"), &json!("colour")]);
    run(&["kv", "list", "--limit", "1"])?.expect(0, "there is more: --cursor")?;
    pages_by_their_hints(cluster)?;
    run(&["kv", "list", "--prefix", "co", "-o", "plain"])?.expect(0, "colour\tred\t")?;
    run(&["kv", "delete", "colour"])?.expect(0, "true")?;
    run(&["kv", "delete", "colour", "--yes", "-o", "json"])?.expect(0, "\"deleted\": false")?;
    run(&["kv", "put", "", "v"])?.expect(2, "empty")?;
    std::fs::write(cluster.directory().join("bytes"), b"\xff\0")?;
    std::fs::write(cluster.directory().join("text"), "new")?;
    run(&["kv", "set", "file", "--file", "bytes"])?.expect(0, "")?;
    // Bytes are not taken for the text of their base64, by a script or a person.
    run(&["kv", "list", "--prefix", "file", "-o", "plain"])?.expect(0, "file\t\\base64:/wA=\t")?;
    run(&["kv", "cas", "file", "other", "v", "-o", "plain"])?.expect(6, "false\t\\base64:/wA=\t")?;
    run(&["kv", "list", "--prefix", "file"])?.expect(0, "/wA= (base64)")?;
    run(&["kv", "put", "long", &"v".repeat(5_000)])?.expect(0, "")?;
    let cut = run(&["kv", "cas", "long", "other", "v"])?;
    cut.expect(6, "... (5000 bytes)")?;
    assert!(!cut.stdout.contains(&"v".repeat(100)), "a table shows the begin of a value");
    run(&["kv", "delete", "long"])?.expect(0, "true")?;
    run(&["kv", "cas", "file", "other", "--file", "text"])?.expect(6, "not as expected")?;
    run(&["kv", "cas", "file", "--expected-file", "bytes", "--file", "text"])?.expect(0, "true")?;
    run(&["kv", "cas", "file", "new", "-"])?.expect(0, "true")?;
    let got = run(&["kv", "get", "file"])?;
    assert_eq!((got.code, got.stdout.as_str()), (Some(0), ""), "standard input had nothing in it");
    let large = "x".repeat(60_000);
    run(&["kv", "put", &large, "v"])?.expect(1, "[too_large]")
}

/// The hint is followed by the shell of a script, in a locale that knows no letter beyond ASCII.
fn pages_by_their_hints(cluster: &Cluster) -> Result<()> {
    let keys = ["page/\u{202e}left", "page/a\nb", "page/it's", "page/plain", "page/\u{1f980} \\u"];
    for key in keys {
        cluster.run(&["kv", "put", key, "v"])?.expect(0, "")?;
    }
    let (mut shown, mut hint) = (Vec::new(), String::new());
    for _ in keys {
        let line = format!("exec \"$0\" \"$@\" {hint}");
        let list = ["kv", "list", "--prefix", "page/", "--limit", "1", "-o", "json"];
        let plain = cluster.command(&list);
        let mut script = std::process::Command::new("sh");
        script.args(["-c", &line]).arg(plain.get_program()).args(plain.get_args());
        script.env("LC_ALL", "C").current_dir(cluster.directory());
        let page = ran(script)?;
        let items = page.json()?["items"].as_array().cloned().unwrap_or_default();
        shown.extend(items.iter().filter_map(|item| item["key"].as_str().map(str::to_owned)));
        let Some((_, more)) = page.stderr.split_once("there is more: ") else { break };
        more.trim_end().clone_into(&mut hint);
    }
    let mut keys = keys.map(str::to_owned);
    keys.sort_unstable();
    assert_eq!(shown, keys, "each once");
    for key in &keys {
        cluster.run(&["kv", "delete", key])?.expect(0, "true")?;
    }
    Ok(())
}

fn counters(cluster: &Cluster) -> Result<()> {
    assert_eq!(cluster.run(&["counter", "add", "visits"])?.stdout, "1\n");
    assert_eq!(cluster.run(&["counter", "add", "visits", "41"])?.stdout, "42\n");
    assert_eq!(cluster.run(&["counter", "add", "visits", "-2", "-o", "plain"])?.stdout, "40");
    assert_eq!(cluster.run(&["counter", "get", "visits", "-o", "json"])?.json()?["value"], 40);
    cluster.run(&["counter", "add", "visits", "9223372036854775807"])?.expect(1, "[overflow]")?;
    assert_eq!(cluster.run(&["counter", "set", "visitors", "-7"])?.stdout, "-7\n");
    let list = cluster.run(&["counter", "list", "--prefix", "visit", "-o", "plain"])?;
    let listed: Vec<_> =
        list.stdout.lines().map(|line| line.rsplit_once('\t').map(|(shown, _)| shown)).collect();
    assert_eq!(listed, [Some("visitors\t-7"), Some("visits\t40")]);
    cluster.run(&["counter", "delete", "visitors"])?.expect(0, "true")?;
    cluster.run(&["counter", "rm", "visitors", "-o", "json"])?.expect(0, "\"deleted\": false")?;
    assert_eq!(cluster.run(&["counter", "get", "visitors"])?.stdout, "0\n");
    Ok(())
}

fn about_the_cluster(cluster: &Cluster) -> Result<()> {
    let leader = format!("node{}", cluster.leader()?);
    let status = cluster.run(&["status"])?;
    status.expect(0, &leader)?;
    for id in ["node0", "node1", "node2"] {
        status.expect(0, id)?;
    }
    cluster.run(&["status", "-o", "plain"])?.expect(0, "leader\t")?;
    cluster.run(&["member", "list"])?.expect(0, "node2")?;
    cluster.run(&["health", "-o", "plain"])?.expect(0, "true")?;
    cluster.run(&["actors", "tree"])?.expect(0, "group/main")?;
    cluster.run(&["actors", "stop", "unknown", "--yes"])?.expect(3, "actors tree")?;
    let data = cluster.directory().join("quorate-data/node0");
    let log = ["log", "verify", "--data-dir", data.to_str().context("a path in UTF-8")?];
    cluster.run(&log)?.expect(1, "in use by a running node")?;
    let actors = cluster.run(&["actors", "tree", "-o", "plain"])?;
    let follower = actors.stdout.lines().find(|line| line.contains("applier")).context("there is one")?;
    let name = follower.split('\t').next().context("a name")?;
    cluster.run(&["actors", "stop", name, "--yes"])?.expect(0, "")?;
    // One that is under way while an applier ends may be unknown.
    let again = || {
        cluster
            .run(&["kv", "put", "after", "stop"])
            .map(|ran| (ran.code == Some(0)).then_some(()))
            .transpose()
    };
    until("puts go on", PATIENCE, again)?.0
}

fn measured(cluster: &Cluster) -> Result<()> {
    for (verb, via) in [("put", "bridge"), ("get", "bridge"), ("put", "rest"), ("get", "rest")] {
        let arguments = [
            "bench",
            verb,
            "--via",
            via,
            "--clients",
            "4",
            "--seconds",
            "1",
            "--value",
            "32",
            "--keys",
            "40",
            "-o",
            "json",
        ];
        let report = cluster.run(&arguments)?.json()?;
        ensure!(report["done"].as_u64() > Some(10), "{report}");
        ensure!(report["p50_us"].as_u64() <= report["p99_9_us"].as_u64(), "{report}");
        assert_eq!((&report["refused"], &report["unknown"]), (&json!(0), &json!(0)), "{report}");
    }
    let left = cluster.run(&["kv", "list", "--prefix", "quorate-bench/", "-o", "json"])?.json()?;
    assert_eq!(left["items"], json!([]), "a measurement leaves nothing");
    Ok(())
}

#[test]
fn a_killed_leader_costs_no_acknowledged_write_and_no_majority_is_four() -> Result<()> {
    let mut cluster = Cluster::start(turn::busy())?;
    cluster.run(&["kv", "put", "greeting", "hello"])?.expect(0, "")?;
    let leader = cluster.leader()?;
    cluster.kill(leader)?;
    let got = cluster.run(&["kv", "get", "greeting", "--timeout", "20s"])?;
    got.expect(0, "hello")?;
    cluster.run(&["kv", "put", "greeting", "again", "--timeout", "20s"])?.expect(0, "")?;
    cluster.run(&["health"])?.expect(7, "2 of 3 endpoints are ready")?;

    let second = cluster.leader()?;
    cluster.kill(second)?;
    let alone = cluster.run(&["kv", "get", "greeting", "--timeout", "2s"])?;
    assert_eq!(alone.code, Some(4), "{alone:?}");
    let write = cluster.run(&["kv", "put", "greeting", "lost", "--timeout", "3s"])?;
    ensure!(matches!(write.code, Some(4 | 5)), "{write:?}");
    cluster.run(&["kv", "get", "greeting", "--consistency", "stale"])?.expect(0, "again")?;

    cluster.start_node(leader)?;
    cluster.start_node(second)?;
    cluster.run(&["health", "--wait", "--timeout", "30s"])?.expect(0, "")?;
    let got = cluster.run(&["kv", "get", "greeting", "--timeout", "20s"])?;
    ensure!(got.stdout == "again" || write.code == Some(5), "{got:?}");
    Ok(())
}

#[test]
fn what_keeps_a_node_from_starting_is_named_with_its_remedy() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let ports: Vec<String> = free_ports(4)?.iter().map(ToString::to_string).collect();
    let serve = |port: &str, api_port: &str, data: &str| {
        ran(command(directory.path(), &["serve", "--port", port, "--api-port", api_port, "--data-dir", data]))
    };
    let running = ["serve", "--port", &ports[0], "--api-port", &ports[1], "--data-dir", "one"];
    let running = Serving::start(directory.path(), &running)?;
    serve(&ports[0], &ports[2], "two")?.expect(1, "another --port")?;
    serve(&ports[2], &ports[1], "two")?.expect(1, "another --api-port")?;
    serve(&ports[2], &ports[3], "one")?.expect(1, "in use by another process")?;
    std::fs::write(directory.path().join("file"), "not a directory")?;
    serve(&ports[2], &ports[3], "file/data")?.expect(1, "another --data-dir")?;

    let put = ["kv", "put", "greeting", "hello", "--endpoints", &running.api()];
    ran(command(directory.path(), &put))?.expect(0, "")?;
    running.signal("TERM")?;
    assert_eq!(running.code()?, Some(0), "told to end, it ends in order");
    let verified = ran(command(directory.path(), &["log", "verify", "--data-dir", "one"]))?;
    verified.expect(0, "whole")?;
    let entries = ran(command(directory.path(), &["log", "inspect", "--data-dir", "one", "-o", "plain"]))?;
    entries.expect(0, "\tcommand\tset\tgreeting\thello\t")
}

/// Its peers do not answer, so that in order it would take as long as it may; the second signal does not wait for that.
#[test]
fn a_second_signal_ends_at_once() -> Result<()> {
    let mut cluster = Cluster::start(turn::busy())?;
    let leader = cluster.leader()?;
    for peer in (0..3).filter(|peer| *peer != leader) {
        cluster.node(peer)?.signal("STOP")?;
    }
    let ended = cluster.node_mut(leader)?.signal_until_it_ends("TERM")?;
    for peer in (0..3).filter(|peer| *peer != leader) {
        cluster.node(peer)?.signal("CONT")?;
    }
    assert_eq!(ended, Some(130), "ended at once, and says so");
    Ok(())
}

#[test]
fn dev_is_a_whole_cluster_in_one_command() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let dev = Serving::start(directory.path(), &["dev", "--port", "0", "--api-port", "0"])?;
    let run = |arguments: &[&str]| {
        ran(command(
            directory.path(),
            &[arguments, &["--endpoints", &dev.api(), "--timeout", "20s"]].concat(),
        ))
    };
    run(&["health", "--wait"])?.expect(0, "true")?;
    run(&["kv", "put", "k", "v"])?.expect(0, "")?;
    run(&["kv", "get", "k"])?.expect(0, "v")?;
    run(&["member", "list"])?.expect(0, "node2")?;
    dev.signal("INT")?;
    assert_eq!(dev.code()?, Some(0));
    assert_eq!(std::fs::read_dir(directory.path())?.count(), 0, "nothing is left where it was started");
    Ok(())
}

//! What needs no cluster: mistakes are named with their remedy, settings with their source, pages are as the binary
//! says, and a log can be read offline.

use std::path::Path;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter};
use quorate_tests::files;

use crate::binary::{command, quorate, ran};

#[test]
fn a_wrong_flag_names_the_right_one() -> Result<()> {
    quorate(&["serve", "--clutser", "localhost:7000"])?.expect(2, "--cluster")?;
    quorate(&["kvv", "get", "k"])?.expect(2, "kv")?;
    quorate(&["status", "-o", "jason"])?.expect(2, "did you mean json?")?;
    quorate(&["status", "--timeout", "5"])?.expect(2, "300ms, 5s")?;
    quorate(&["status", "--endpoints", "https://localhost:8000"])?.expect(2, "no TLS")?;
    quorate(&["--version"])?.expect(0, "quorate ")?;
    quorate(&["version"])?.expect(0, "quorate ")?;
    quorate(&["help"])?.expect(0, "Usage: quorate")?;
    quorate(&["help", "kv", "put"])?.expect(0, "Usage: quorate kv put")?;
    quorate(&["help", "kv", "pot"])?.expect(2, "quorate kv has no command \"pot\"")?;
    quorate(&["kv", "cas", "k", "-", "-"])?.expect(2, "standard input is one value")?;
    quorate(&["kv", "put", "k"])?.expect(2, "<VALUE>")?;
    quorate(&["kv", "put", "k", "--file", "none"])?.expect(1, "cannot read none")?;
    quorate(&["kv", "cas", "k", "v"])?.expect(2, "kv cas --absent KEY VALUE")?;
    quorate(&["actors", "stop", "log-store"])?.expect(2, "give --yes")
}

#[test]
fn a_wrong_cluster_list_says_what_contradicts_what() -> Result<()> {
    let list = "localhost:7000,localhost:7001,localhost:7002";
    let check = |more: &[&str]| quorate(&[&["config", "check", "--cluster", list][..], more].concat());
    check(&["--id", "node1"])?.expect(0, "node1=localhost:7001")?;
    check(&["--id", "node3"])?.expect(2, "not in the cluster list, which has node0, node1, node2")?;
    check(&["--port", "7001"])?.expect(2, "the cluster list has node0=localhost:7000; leave the port out")?;
    check(&["--host", "192.0.2.1"])?.expect(2, "another machine or interface")?;
    check(&["--log", "garbage==="])?.expect(2, "log is \"garbage===\"")?;
    check(&["--advertise", "localhost:7009"])?.expect(2, "all nodes dial what the list says")?;
    check(&["--advertise", "localhost:7000", "--port", "17000"])?.expect(0, "node0")?;
    check(&["--idle-timeout", "0s"])?.expect(2, "idle_timeout")?;
    check(&["--data-dir", ""])?.expect(2, "data_dir is \"\" (from flag --data-dir): it is empty")?;
    let huge =
        ["proposals_max", "queries_max", "election_timeout_ms", "store_silence_ms_max", "call_timeout_ms"];
    for setting in huge {
        let given = format!("{setting}={}", u64::MAX);
        let said = format!("{setting} is \"{}\" (from flag --set): give a whole number from ", u64::MAX);
        check(&["--set", &given])?.expect(2, &said)?;
    }
    quorate(&["config", "check", "--cluster", "[fe80::1%lo]:7000"])?
        .expect(2, "one interface of one machine")?;
    quorate(&["config", "check", "--host", "fe80::1%lo"])?.expect(2, "zone")?;
    let hidden = quorate(&["config", "check", "--cluster", "node0.invalid:7000,node1.invalid:7000"])?;
    hidden.expect(0, "warning: node0=node0.invalid:7000 is listed, but host is \"localhost\": only this machine can connect")?;
    check(&["--host", "0.0.0.0"])?.expect(0, "node0")?;
    check(&["--api-port", "7000"])?.expect(2, "two different ports")?;
    check(&["--id", "node1", "--api-port", "7002"])?.expect(
        0,
        "warning: the API is to listen at port 7002, where peers connect to node2=localhost:7002",
    )?;
    check(&["--api-port", "70000"])?.expect(2, "api_port is \"70000\" (from flag --api-port)")?;
    check(&["--set", "proposal_max=3"])?.expect(2, "did you mean proposals_max?")?;
    quorate(&["config", "check", "--cluster", "localhost"])?.expect(2, "not host:port")?;
    quorate(&["serve", "--cluster", "h:1,h:1"])?.expect(2, "same address")
}

#[test]
fn config_print_shows_where_each_value_came_from() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = "id = \"node1\"\nport = 7001\n[tuning.live]\ncall_timeout_ms = 3000\n";
    std::fs::write(directory.path().join("q.toml"), file)?;
    let mut print =
        command(directory.path(), &["config", "print", "--config", "q.toml", "--port", "7009", "-o", "json"]);
    print.env("QUORATE_ID", "node2").env("QUORATE_API_PORT", "8009").env("QUORATE_PORT", "4");
    let rows = ran(print)?.json()?;
    let of = |key: &str| {
        let row =
            rows.as_array().into_iter().flatten().find(|row| row["key"] == key).cloned().unwrap_or_default();
        format!(
            "{} {}",
            row["value"].as_str().unwrap_or_default(),
            row["source"].as_str().unwrap_or_default()
        )
    };
    assert_eq!(of("port"), "7009 flag --port");
    assert_eq!(of("id"), "node2 variable QUORATE_ID");
    assert_eq!(of("api_port"), "8009 variable QUORATE_API_PORT");
    assert_eq!(of("tuning.live.call_timeout_ms"), "3000 file q.toml");
    assert_eq!(of("host"), "localhost default");
    assert_eq!(of("data_dir"), "quorate-data/node2 default");
    assert_eq!(of("advertise"), "localhost:7009 default");
    assert_eq!(of("api_advertise"), "localhost:8009 default");
    std::fs::write(directory.path().join("q.toml"), "api-port = 1\n")?;
    ran(command(directory.path(), &["config", "print", "--config", "q.toml"]))?
        .expect(2, "did you mean api_port?")?;
    ran(command(directory.path(), &["config", "print", "--config", "none.toml"]))?
        .expect(2, "none.toml: cannot be read")
}

#[test]
fn a_variable_is_a_setting_or_its_mistake_is_named() -> Result<()> {
    let check = |variables: &[(&str, &str)]| {
        let directory = tempfile::tempdir()?;
        let mut check = command(directory.path(), &["config", "check"]);
        check.envs(variables.iter().copied());
        ran(check)
    };
    check(&[("QUORATE_PORT", "70000")])?.expect(2, "port is \"70000\" (from variable QUORATE_PORT)")?;
    check(&[("QUORATE_API_PROT", "1")])?.expect(2, "did you mean QUORATE_API_PORT?")?;
    check(&[("QUORATE_PROPOSALS_MAX", "x")])?.expect(2, "proposals_max is \"x\"")?;
    check(&[("QUORATE_PORT", "7007"), ("QUORATE_ID", "node7")])?.expect(0, "node7")?;
    Ok(())
}

/// An empty variable was passed over, an empty flag was a mistake: a script whose own variable was not set founded a cluster of one in
/// one of the two ways.
#[test]
fn what_is_empty_is_a_mistake_wherever_it_is_given() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let check = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut check = command(directory.path(), &[&["config", "check"][..], arguments].concat());
        check.envs(variable);
        ran(check)
    };
    for (key, said) in [
        ("id", "it is empty"),
        ("port", "a port is a number"),
        ("cluster", "it names no node"),
        ("idle_timeout", "give a number with a unit"),
        ("log", "it is empty"),
        ("log_format", "text"),
        ("data_dir", "it is empty"),
        ("config", "it is empty"),
    ] {
        let flag = format!("--{}", key.replace('_', "-"));
        let by_flag = check(&[&format!("{flag}=")], None)?;
        by_flag.expect(2, &format!("{key} is \"\" (from flag {flag}): "))?;
        by_flag.expect(2, said)?;
        let variable = format!("QUORATE_{}", key.to_ascii_uppercase());
        let by_variable = check(&[], Some((&variable, "")))?;
        by_variable.expect(2, &format!("{key} is \"\" (from variable {variable}): "))?;
        by_variable.expect(2, said)?;
        std::fs::write(directory.path().join("q.toml"), format!("{key} = \"\"\n"))?;
        let by_file = check(&["--config", "q.toml"], None)?;
        by_file.expect(2, key)?;
    }
    // Where nothing is a value: the default.
    for key in ["cluster_token", "allowed_hosts"] {
        check(&[&format!("--{}=", key.replace('_', "-"))], None)?.expect(0, "node0")?;
        check(&[], Some((&format!("QUORATE_{}", key.to_ascii_uppercase()), "")))?.expect(0, "node0")?;
    }
    let mut status = command(directory.path(), &["status"]);
    status.env("QUORATE_ENDPOINTS", "");
    ran(status)?.expect(2, "endpoints is \"\" (from variable QUORATE_ENDPOINTS)")
}

/// It was passed over without a word: a node whose token was such founded a cluster without one.
#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_refused_by_name() -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir()?;
    for (arguments, name) in [
        (["config", "check"], "QUORATE_CLUSTER_TOKEN"),
        (["config", "print"], "QUORATE_ID"),
        (["config", "check"], "QUORATE_RACK"),
        (["kv", "list"], "QUORATE_ENDPOINTS"),
    ] {
        let mut command = command(directory.path(), &arguments);
        command.env(name, std::ffi::OsStr::from_bytes(b"no\xffde"));
        ran(command)?.expect(2, name)?;
    }
    Ok(())
}

/// What Kubernetes sets in every container for the services `quorate` and `quorate-api`.
const SERVICES: &[(&str, &str)] = &[
    ("QUORATE_PORT", "tcp://10.0.0.1:7000"),
    ("QUORATE_PORT_7000_TCP", "tcp://10.0.0.1:7000"),
    ("QUORATE_PORT_7000_TCP_ADDR", "10.0.0.1"),
    ("QUORATE_SERVICE_HOST", "10.0.0.1"),
    ("QUORATE_SERVICE_PORT", "7000"),
    ("QUORATE_API_PORT", "tcp://10.0.0.2:8000"),
    ("QUORATE_API_PORT_8000_TCP", "tcp://10.0.0.2:8000"),
    ("QUORATE_API_PORT_8000_TCP_PORT", "8000"),
    ("QUORATE_API_PORT_8000_TCP_PROTO", "tcp"),
    ("QUORATE_API_SERVICE_HOST", "10.0.0.2"),
    ("QUORATE_API_SERVICE_PORT", "8000"),
    ("QUORATE_API_SERVICE_PORT_REST", "8000"),
];

#[test]
fn what_kubernetes_sets_for_a_service_is_passed_over() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut print = command(directory.path(), &["config", "print", "-o", "json"]);
    print.envs(SERVICES.iter().copied());
    let printed = ran(print)?;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    let from_variables = printed.json()?;
    let from_variables: Vec<_> = from_variables
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["source"].as_str().is_some_and(|source| source.starts_with("variable")))
        .collect();
    assert!(from_variables.is_empty(), "{from_variables:?}");
    let port = quorate_tests::cluster::free_ports(1)?[0];
    let mut status = command(directory.path(), &["status", "--endpoints", &format!("localhost:{port}")]);
    status.envs(SERVICES.iter().copied());
    let asked = ran(status)?;
    asked.expect(4, "cannot reach http://localhost")?;
    assert!(!asked.stderr.contains("QUORATE_"), "{asked:?}");
    Ok(())
}

/// For a node it is a wish that would be ignored; for a client it may be meant for the node beside it.
#[test]
fn an_unknown_variable_is_an_error_for_a_node_and_a_warning_for_a_client() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let endpoint = format!("localhost:{}", quorate_tests::cluster::free_ports(1)?[0]);
    let run = |arguments: &[&str]| {
        let mut command = command(directory.path(), arguments);
        command.env("QUORATE_API_PROT", "1").env("QUORATE_RACK", "7");
        ran(command)
    };
    for verb in [&["serve", "--data-dir", "data"][..], &["dev", "--data-dir", "data"], &["config", "check"]] {
        run(verb)?.expect(2, "did you mean QUORATE_API_PORT?")?;
    }
    assert!(!directory.path().join("data").exists(), "nothing was started");
    for verb in [&["status"][..], &["kv", "put", "k", "v"], &["health"]] {
        let ended = run(&[verb, &["--endpoints", &endpoint]].concat())?;
        let code = if verb == ["health"] { 7 } else { 4 };
        ended
            .expect(code, "warning: unknown variable \"QUORATE_API_PROT\": did you mean QUORATE_API_PORT?")?;
        ended.expect(code, "warning: unknown variable \"QUORATE_RACK\"")?;
        assert!(!ended.stdout.contains("QUORATE"), "a warning is no data: {ended:?}");
        let quiet = run(&[verb, &["--endpoints", &endpoint, "--quiet"]].concat())?;
        assert!(quiet.code == Some(code) && !quiet.stderr.contains("warning"), "{quiet:?}");
    }
    Ok(())
}

#[test]
fn the_reference_is_what_the_binary_says_of_itself() -> Result<()> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    for page in ["cli", "config", "errors"] {
        let said = quorate(&["reference", page])?.stdout;
        let path = pages.join(format!("{page}.md"));
        if page != "errors" && std::env::var_os("REWRITE").is_some() {
            std::fs::write(&path, &said)?;
        }
        let written = std::fs::read_to_string(&path)?;
        // The page of errors has more to say than its table.
        let same = if page == "errors" { written.contains(&said) } else { written == said };
        assert!(same, "docs/reference/{page}.md is old: run this test with REWRITE=1");
    }
    Ok(())
}

#[test]
fn completion_scripts_know_the_verbs() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        quorate(&["completion", shell])?.expect(0, "counter")?;
    }
    Ok(())
}

#[test]
fn nobody_there_is_four_for_reads_and_writes() -> Result<()> {
    let port = quorate_tests::cluster::free_ports(1)?[0];
    let endpoint = format!("localhost:{port}");
    for verb in
        [&["kv", "put", "k", "v"][..], &["kv", "get", "k"], &["counter", "add", "c", "-5"], &["status"]]
            .into_iter()
            .chain([&["kv", "set", "k", "v"][..], &["kv", "ls"], &["kv", "rm", "k"], &["kv", "del", "k"]])
            .chain([&["counter", "set", "c", "-5"][..], &["counter", "list"], &["counter", "delete", "c"]])
            .chain([&["bench", "put", "--via", "rest"][..], &["bench", "get", "--via", "rest"]])
    {
        let ended = quorate(&[verb, &["--endpoints", &endpoint]].concat())?;
        ended.expect(4, "cannot reach http://localhost")?;
        assert!(ended.stdout.is_empty(), "messages are not data: {ended:?}");
    }
    quorate(&["health", "--endpoints", &endpoint])?.expect(7, "0 of 1 endpoints are ready")
}

#[tokio::test]
async fn a_log_is_read_offline_and_a_running_nodes_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let node = quorate::Node::builder("node0", &data).start().await?;
    let count = node.group("main", Counter::default()).await?;
    for amount in 1..=10 {
        let total = count.propose(Add(amount)).await?;
        assert!(total.total() > 0);
    }
    let log = |verb: &str, more: &[&str]| {
        let arguments = ["log", verb, "--data-dir", "data"];
        ran(command(directory.path(), &[&arguments[..], more].concat()))
    };
    log("verify", &[])?.expect(1, "in use by a running node")?;
    drop(count);
    node.stop().await;

    let report = log("verify", &["-o", "json"])?.json()?;
    assert_eq!((&report["ok"], &report["node"]), (&true.into(), &"node0".into()), "{report}");
    let group = &report["groups"][0];
    assert_eq!((&group["group"], &group["first"]), (&"main".into(), &1.into()), "{report}");
    assert_eq!(group["entries"], group["last"], "{report}");
    let last = group["last"].as_u64().context("a number")?;
    assert!(last >= 11, "ten commands and what a leader begins with: {report}");

    let entries = log("inspect", &["--limit", "1000", "-o", "json"])?.json()?;
    let entries = entries.as_array().context("an array")?;
    assert_eq!(entries.len() as u64, last);
    let end = entries.last().context("not empty")?;
    assert_eq!(end["chain"], group["chain"]);
    let time = end["time"].as_str().context("a text")?;
    assert!(time.starts_with("20") && time.ends_with('Z') && time.contains('T'), "{time}");
    assert_eq!(group["state"], "whole", "{report}");
    log("inspect", &["--limit", "1"])?.expect(0, "there is more: --from 2")?;
    log("inspect", &["--group", "other"])?.expect(3, "known are: main")?;
    assert_eq!(log("verify", &["-o", "json"])?.json()?, report, "looking changes nothing, the boot neither");

    files::flip(files::journals(&data)?.last().context("there is a journal")?)?;
    log("verify", &[])?.expect(1, "damaged")?;
    let damaged = log("verify", &["-o", "json"])?;
    damaged.expect(1, "damaged")?;
    let groups = damaged.json()?["groups"].clone();
    assert!(
        groups.as_array().is_some_and(|all| all.iter().all(|group| group["state"] == "damaged")),
        "{groups}"
    );
    assert!(data.join("db").is_dir(), "what is damaged is not set aside by looking");
    ran(command(directory.path(), &["log", "verify", "--data-dir", "nowhere"]))?
        .expect(3, "no data directory nowhere")?;
    assert!(!directory.path().join("nowhere").exists());
    std::fs::create_dir(directory.path().join("empty"))?;
    ran(command(directory.path(), &["log", "verify", "--data-dir", "empty"]))?
        .expect(3, "not a node's data directory")
}

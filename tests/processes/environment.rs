//! The environment of a healthy store: no working directory, a stranger's file, a database that is deleted under the node.
//! None of it is damage: nothing is set aside, and what is written to a deleted file is not acknowledged.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use quorate_tests::files::flip;
use quorate_tests::wait::{PATIENCE, until};

use crate::binary::{self, Ran, Serving};
use crate::cluster::Cluster;
use crate::load::Load;
use crate::turn;

/// Runs a command in a directory that is deleted before the command begins.
fn in_a_deleted_directory(arguments: &[&str]) -> Result<Ran> {
    let directory = tempfile::tempdir()?;
    let gone = directory.path().join("gone");
    std::fs::create_dir(&gone)?;
    let plain = binary::command(&gone, arguments);
    let mut command = Command::new("sh");
    command
        .args(["-c", "rmdir \"$PWD\" && exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.current_dir(&gone);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    binary::ran(command)
}

fn serve<'a>(data: &'a str, ports: &'a [String]) -> [&'a str; 8] {
    ["serve", "--host", "localhost", "--port", &ports[0], "--api-port", &ports[1], data]
}

fn is_whole(data: &Path) -> Result<()> {
    ensure!(data.join("db/version").exists(), "the database is not in its place");
    let names = std::fs::read_dir(data)?.filter_map(|entry| Some(entry.ok()?.file_name()));
    let aside: Vec<_> = names.filter(|name| name.to_string_lossy().contains("damaged")).collect();
    ensure!(aside.is_empty(), "a healthy database was set aside: {aside:?}");
    Ok(())
}

#[test]
fn a_deleted_working_directory_and_a_strangers_file_are_no_damage() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let data_dir = format!("--data-dir={}", data.display());
    let ports: Vec<String> = quorate_tests::cluster::free_ports(2)?.iter().map(ToString::to_string).collect();
    let put_and_get = |serving: &Serving, key: &str| -> Result<()> {
        let api = serving.api();
        let run = |arguments: &[&str]| binary::quorate(&[arguments, &["--endpoints", &api]].concat());
        run(&["kv", "put", key, "value", "--timeout", "20s"])?.expect(0, "")?;
        run(&["kv", "get", "first", "--timeout", "20s"])?.expect(0, "value")
    };
    let serving = Serving::start(directory.path(), &serve(&data_dir, &ports))?;
    put_and_get(&serving, "first")?;
    serving.signal("TERM")?;
    ensure!(serving.code()? == Some(0), "it ends in order");

    for _ in 0..2 {
        let ran = in_a_deleted_directory(&serve(&data_dir, &ports))?;
        ran.expect(1, "start the node from a directory that exists")?;
        ensure!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        is_whole(&data)?;
    }
    let stranger = data.join("db/backup.jnl");
    std::fs::write(&stranger, "")?;
    for _ in 0..2 {
        let ran = binary::quorate(&serve(&data_dir, &ports))?;
        ran.expect(1, &stranger.display().to_string())?;
        is_whole(&data)?;
    }
    std::fs::remove_file(&stranger)?;
    let serving = Serving::start(directory.path(), &serve(&data_dir, &ports))?;
    put_and_get(&serving, "second")?;
    is_whole(&data)
}

#[test]
fn a_database_deleted_under_a_node_ends_it_and_nothing_is_acknowledged_after_it() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        load.writes(40)?;
        let hit = (cluster.leader()?.at + 1) % 3;
        delete_database(&mut cluster, hit)?;
        load.answers(&cluster.apis(), cluster.answers_within())?;
        load.writes(40)?;
        let before = cluster.log_length(hit);
        cluster.spawn(hit)?;
        let status = cluster.ended(hit)?;
        let said = cluster.logged_since(hit, before);
        ensure!(status.code() == Some(1), "{status}:\n{said}");
        ensure!(said.contains("has an anchor but no database"), "{said}");
        load.writes(20)
    })
}

/// Without a write the node notices it, too.
#[test]
fn a_database_deleted_under_an_idle_node_ends_it() -> Result<()> {
    let mut cluster = Cluster::start(1)?;
    delete_database(&mut cluster, 0)
}

/// With the two commands of `docs/reference/data-directory.md`. All three at once: then no peer can repair any of them.
#[test]
fn three_databases_that_were_set_aside_for_nothing_are_put_back() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        load.writes(60)?;
        cluster.end_all()?;
        for at in 0..3 {
            flip(&cluster.data(at).join("db/0.jnl"))?;
        }
        for at in 0..3 {
            cluster.spawn(at)?;
            let recovers = || cluster.status(at).filter(|status| status["standing"] == "recovering");
            until(&format!("node{at} recovers"), PATIENCE, recovers)?;
        }
        cluster.end_all()?;
        for at in 0..3 {
            let data = cluster.data(at);
            flip(&data.join("db.damaged-1/0.jnl"))?;
            std::fs::rename(data.join("db"), data.join("db.unused"))?;
            std::fs::rename(data.join("db.damaged-1"), data.join("db"))?;
        }
        let before = cluster.log_length(0);
        cluster.start_all()?;
        let said = cluster.logged_since(0, before);
        ensure!(said.contains("store put back, nothing is missing in it"), "{said}");
        load.answers(&cluster.apis(), cluster.answers_within())?;
        load.writes(40)
    })
}

/// `rm -rf db`, and the node ends by itself.
fn delete_database(cluster: &mut Cluster, at: usize) -> Result<()> {
    let before = cluster.log_length(at);
    let database = cluster.data(at).join("db");
    // The engine may make a file while the directory is being deleted.
    until("the database is deleted", PATIENCE, || {
        let _ = std::fs::remove_dir_all(&database);
        (!database.exists()).then_some(())
    })?;
    let status = cluster.ended(at)?;
    let said = cluster.logged_since(at, before);
    ensure!(status.code() == Some(1), "node{at} ended with {status}:\n{said}");
    ensure!(said.contains("was deleted, moved or replaced"), "node{at} does not say why it ended:\n{said}");
    Ok(())
}

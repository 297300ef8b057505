//! Endpoints that are down, and how: a command asks the others meanwhile.

use std::net::{SocketAddr, TcpListener};

use anyhow::Result;
use quorate_tests::cluster::free_ports;
use serde_json::json;

use crate::binary::{Serving, command, ran};
use crate::turn;

/// Takes connections as the system does for it, and never answers: a node that hangs.
fn hung() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

#[test]
fn a_node_that_hangs_or_is_not_there_does_not_make_others_look_dead() -> Result<()> {
    let _turn = turn::light();
    let directory = tempfile::tempdir()?;
    let ports: Vec<String> = free_ports(3)?.iter().map(ToString::to_string).collect();
    let serve = ["serve", "--port", &ports[0], "--api-port", &ports[1], "--data-dir", "data"];
    let serving = Serving::start(directory.path(), &serve)?;
    let run = |arguments: &[&str], endpoints: &str| {
        ran(command(directory.path(), &[arguments, &["--endpoints", endpoints, "-o", "json"]].concat()))
    };
    run(&["health", "--wait", "--timeout", "60s"], &serving.api())?.expect(0, "")?;
    let (_listener, hangs) = hung()?;
    let (good, closed) = (serving.api(), format!("localhost:{}", ports[2]));
    let all = format!("{hangs},{closed},{good}");

    let health = run(&["health"], &all)?;
    assert_eq!(health.code, Some(7), "{health:?}");
    let ready: Vec<_> =
        health.json()?.as_array().into_iter().flatten().map(|row| row["ready"].clone()).collect();
    assert_eq!(
        ready,
        [json!(false), json!(false), json!(true)],
        "in the order in which they were given: {health:?}"
    );

    // An answer of the last one is enough for a read; a write has not reached the one that is not there.
    run(&["kv", "put", "k", "v"], &format!("{closed},{good}"))?.expect(0, "index")?;
    run(&["kv", "get", "k"], &all)?.expect(0, "\"v\"")?;
    run(&["status"], &all)?.expect(0, "node0")?;

    let other = format!("localhost:{}", free_ports(1)?[0]);
    let none = run(&["kv", "get", "k"], &format!("{closed},{other}"))?;
    none.expect(4, &closed)?;
    none.expect(4, &other)?;
    Ok(())
}

//! Members come, go and are replaced, with the binary and as docs/how-to/members.md says, while clients write.

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::{PATIENCE, until};
use serde_json::Value;

use crate::binary::{self, Ran, ran};
use crate::cluster::Cluster;
use crate::http::Sent;
use crate::load::Load;
use crate::turn;

/// A command against every node.
fn cli(cluster: &Cluster, words: &[&str]) -> Result<Ran> {
    let endpoints: Vec<String> = cluster.apis().iter().map(ToString::to_string).collect();
    let endpoints = endpoints.join(",");
    let given = [words, &["--endpoints", &endpoints, "--timeout", "20s", "-o", "json"]].concat();
    ran(binary::command(cluster.directory(), &given))
}

fn members(cluster: &Cluster) -> Result<Value> {
    let listed = cli(cluster, &["member", "list"])?;
    ensure!(listed.code == Some(0), "{listed:?}");
    listed.json()
}

/// The ids of those that vote.
fn voters(view: &Value) -> Vec<&str> {
    let members = view["members"].as_array().into_iter().flatten();
    members.filter(|member| member["kind"] == "voter").filter_map(|member| member["id"].as_str()).collect()
}

/// Waits until a node's `/readyz` has this status and says this.
fn says(cluster: &Cluster, at: usize, status: u16, words: &str) -> Result<()> {
    let said = || match cluster.http(at, PATIENCE).send("GET", "/readyz?verbose", "", "") {
        Sent::Answer { status: got, body } => {
            (got == status && String::from_utf8_lossy(&body).contains(words)).then_some(())
        }
        Sent::Unsent | Sent::Lost => None,
    };
    until(&format!("node{at} answers {status} with {words:?}"), PATIENCE, said)
        .with_context(|| cluster.log_end(at))?;
    Ok(())
}

fn expect_index(view: &Value) -> Result<String> {
    Ok(view["index"].as_u64().context("an index")?.to_string())
}

/// A change that an operator made; again where it met another one that had not ended.
fn changed(cluster: &Cluster, words: &[&str]) -> Result<Ran> {
    let once = || match cli(cluster, words) {
        Ok(ran) if ran.stderr.contains("[change_in_progress]") || ran.stderr.contains("[not_ready]") => None,
        other => Some(other),
    };
    let ran = until(&words.join(" "), PATIENCE, once)?.0?;
    ensure!(ran.code == Some(0), "{words:?}: {ran:?}");
    Ok(ran)
}

#[test]
fn a_cluster_grows_to_three_and_shrinks_to_one_while_clients_write() -> Result<()> {
    let mut cluster = Cluster::unstarted(3, turn::busy())?;
    cluster.founded_by(0);
    cluster.restart(0)?;
    let nodes = cluster.apis();
    Load::during(&nodes, |load| {
        load.writes(20)?;
        for at in [1, 2] {
            cluster.restart(at)?;
            let is_voter = || {
                let view = members(&cluster);
                view.map(|view| (voters(&view).len() > at).then_some(view)).transpose()
            };
            let view = until(&format!("node{at} votes"), PATIENCE, is_voter)?.0?;
            ensure!(view["members"].as_array().is_some_and(|members| members.len() == at + 1), "{view}");
            load.writes(20)?;
        }
        for at in [2, 1] {
            let index = expect_index(&members(&cluster)?)?;
            changed(&cluster, &["member", "remove", &format!("node{at}"), "--yes", "--expect", &index])?;
            says(&cluster, at, 503, "not a member: it was removed")?;
            load.writes(20)?;
        }
        Ok(())
    })?;
    ensure!(voters(&members(&cluster)?) == ["node0"]);
    let status = cluster.status(2).context("it answers")?;
    ensure!(status["standing"] == "outside", "{status}");
    ensure!(status["error"].as_str().is_some_and(|error| error.contains("was removed")), "{status}");
    let last = cli(&cluster, &["member", "remove", "node0", "--yes"])?;
    ensure!(last.code == Some(1) && last.stderr.contains("is the last voter [last_voter]"), "{last:?}");

    // Its supervisor starts it again with the same flags.
    cluster.end(2)?;
    let before = cluster.log_length(2);
    cluster.spawn(2)?;
    until("it says that it does not come back", PATIENCE, || {
        cluster.logged_since(2, before).contains("cannot join").then_some(())
    })
    .with_context(|| cluster.log_end(2))?;
    says(&cluster, 2, 503, "is not a member known to node0; if it was removed, end it")?;
    let view = members(&cluster)?;
    ensure!(view["members"].as_array().is_some_and(|members| members.len() == 1), "{view}");
    cluster.end_all()
}

#[test]
fn a_wiped_node_waits_and_is_replaced_by_one_command() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let put = cluster.http(0, PATIENCE).send("PUT", "/v1/kv/k", "", "v");
    ensure!(matches!(put, Sent::Answer { status: 200, .. }), "{put:?}");
    cluster.kill(2)?;
    let none = cli(&cluster, &["member", "replace", "node2", "--yes"])?;
    ensure!(none.code == Some(1) && none.stderr.contains("[no_joiner]"), "{none:?}");
    std::fs::remove_dir_all(cluster.data(2))?;
    cluster.join(2);
    cluster.spawn(2)?;
    let waits = || {
        let listed = members(&cluster).ok()?;
        let waiting = listed["waiting"].as_array()?.iter().find(|waits| waits["id"] == "node2")?.clone();
        Some(waiting["reason"].as_str().unwrap_or_default().to_owned())
    };
    let (reason, _) = until("the wiped node waits", PATIENCE, waits).with_context(|| cluster.log_end(2))?;
    ensure!(reason.contains("quorate member replace node2"), "{reason}");
    says(&cluster, 2, 503, "joining: no leader has taken it in yet")?;
    let replaced = changed(&cluster, &["member", "replace", "node2", "--yes", "--within", "60s"])?;
    ensure!(replaced.json()?["kind"] == "voter", "{replaced:?}");
    cluster.ready(2)?;
    // With its vote alone there is a majority.
    cluster.kill(1)?;
    let read = until("the two have a leader", PATIENCE, || {
        match cluster.http(2, PATIENCE).send("GET", "/v1/kv/k", "", "") {
            Sent::Answer { status: 200, body } => Some(body),
            Sent::Answer { .. } | Sent::Unsent | Sent::Lost => None,
        }
    })?;
    ensure!(read.0 == b"v", "{read:?}");
    Ok(())
}

#[test]
fn a_wrong_order_is_refused_with_its_arithmetic() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let refused = |cluster: &Cluster, words: &[&str], code: i32, said: &str| {
        let ran = until(&words.join(" "), PATIENCE, || {
            // A new leader refuses all until it has committed its first entry.
            Some(cli(cluster, words))
                .filter(|ran| ran.as_ref().map_or(true, |ran| !ran.stderr.contains("[not_ready]")))
        })?;
        ran.0?.expect(code, said)
    };
    let index = expect_index(&members(&cluster)?)?;
    let stale = "--expect=0";
    refused(
        &cluster,
        &["member", "demote", "node1", "--yes", stale],
        6,
        &format!("it is of index {index}, not 0"),
    )?;
    refused(&cluster, &["member", "promote", "node1"], 1, "[nothing_to_change]")?;
    refused(&cluster, &["member", "remove", "node7", "--yes"], 3, "[no_such_member]")?;
    refused(&cluster, &["member", "remove", "node1"], 2, "--yes")?;
    refused(&cluster, &["member", "add", "node3=nowhere"], 2, "[bad_member]")?;
    changed(&cluster, &["member", "add", "node3=127.0.0.1:9", "--no-wait"])?;
    refused(&cluster, &["member", "promote", "node3"], 1, "node3 is not connected [not_caught_up]")?;
    let late = cli(&cluster, &["member", "add", "node4=127.0.0.1:10", "--within", "1s"])?;
    ensure!(late.code == Some(7) && late.stderr.contains("node4 is no voter after 1s"), "{late:?}");
    changed(&cluster, &["member", "remove", "node4", "--yes"])?;
    changed(&cluster, &["member", "remove", "node3", "--yes"])?;

    cluster.kill(2)?;
    // The leader may have been among them.
    let gone = || {
        let view = members(&cluster).ok()?;
        let member = view["members"].as_array()?.iter().find(|member| member["id"] == "node2")?.clone();
        (member["connected"] == false).then_some(())
    };
    until("the leader knows that node2 is gone", PATIENCE, gone)?;
    let other = if members(&cluster)?["leader"] == "node0" { "node1" } else { "node0" };
    refused(
        &cluster,
        &["member", "remove", other, "--yes"],
        1,
        "of 2 voters 2 are needed, and 1 are connected [no_quorum]",
    )?;
    changed(&cluster, &["member", "remove", "node2", "--yes"])?;
    ensure!(voters(&members(&cluster)?) == ["node0", "node1"]);
    (0..2).try_for_each(|at| cluster.end(at))
}

#[test]
fn a_node_of_another_cluster_is_not_taken_in() -> Result<()> {
    let mut cluster = Cluster::unstarted(2, turn::light())?;
    cluster.founded_by(1);
    cluster.restart(1)?;
    cluster.end(1)?;
    cluster.founded_by(0);
    cluster.restart(0)?;
    let before = cluster.log_length(1);
    cluster.spawn(1)?;
    let said =
        || cluster.logged_since(1, before).contains("its data directory is of another cluster").then_some(());
    until("it says that it is of another cluster", PATIENCE, said).with_context(|| cluster.log_end(1))?;
    let listed = cluster.http(0, PATIENCE).send("GET", "/v1/members", "", "");
    let Sent::Answer { status: 200, body } = listed else { anyhow::bail!("{listed:?}") };
    let view: Value = serde_json::from_slice(&body)?;
    ensure!(
        voters(&view) == ["node0"] && view["members"].as_array().is_some_and(|all| all.len() == 1),
        "{view}"
    );
    cluster.end_all()
}

#[test]
fn a_list_and_a_cluster_to_join_are_not_given_together() -> Result<()> {
    let _turn = turn::light();
    let both = binary::quorate(&["serve", "--cluster", "localhost:7000", "--join", "localhost:7001"])?;
    both.expect(2, "give one of the two")?;
    binary::quorate(&["serve", "--join", "10.0.0.1:7000", "--host", "0.0.0.0"])?
        .expect(2, "give --advertise")?;
    binary::quorate(&["serve", "--learner"])?.expect(2, "give --join, or leave it out")?;
    let restore = ["snapshot", "restore", "no-such-file", "--join", "localhost:7001"];
    binary::quorate(&restore)?.expect(2, "joins no other")
}

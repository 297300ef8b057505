//! Each file of a running node's data deleted under it, one at a time: the node ends or goes on, what clients see stays linearizable, and
//! its next start mends it or says why it does not. A whole database that is deleted is in `environment.rs`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use quorate_tests::files;
use quorate_tests::wait::{PATIENCE, until};

use crate::cluster::Cluster;
use crate::http::Sent;
use crate::load::Load;
use crate::soak::either;

#[test]
fn a_file_deleted_under_a_running_node_costs_nothing_acknowledged() -> Result<()> {
    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut at = 0;
    while let Some(name) = one_deleted(at, &mut outcomes)? {
        println!("field: deleted {name}");
        at += 1;
        // The journal is among the first; in CI no more than these.
        if at == either(2, usize::MAX) {
            break;
        }
    }
    for (outcome, names) in &outcomes {
        println!("field: files deleted under a running node: {outcome}: {}", names.join(", "));
    }
    Ok(())
}

/// Deletes the file of this number, or says that there is none.
fn one_deleted(number: usize, outcomes: &mut BTreeMap<String, Vec<String>>) -> Result<Option<String>> {
    let mut cluster = Cluster::start(3)?;
    let mut deleted = None;
    Load::during(&cluster.apis(), |load| {
        load.writes(60)?;
        let hit = (cluster.leader()?.at + 1) % 3;
        let data = cluster.data(hit).to_owned();
        let mut files = files::all(&data)?;
        // Journals first: what is acknowledged is there.
        files.sort_by_key(|path| !files::is_journal(path));
        let Some(file) = files.get(number) else { return Ok(()) };
        let name = file.strip_prefix(&data)?.display().to_string();
        std::fs::remove_file(file)?;
        load.writes(40)?;
        let during = match cluster.has_ended(hit) {
            Some(status) => format!("ended ({:?})", status.code()),
            None => "went on".to_owned(),
        };
        cluster.kill_if_running(hit)?;
        cluster.spawn(hit)?;
        let mut http = cluster.http(hit, PATIENCE);
        let (after, _) = until("it is ready or ends", PATIENCE, || {
            if let Some(status) = cluster.has_ended(hit) {
                return Some(format!("did not start ({:?})", status.code()));
            }
            let answer = http.send("GET", "/readyz", "", "");
            matches!(answer, Sent::Answer { status: 200, .. }).then(|| "was ready again".to_owned())
        })
        .with_context(|| format!("{name} was deleted: {}", cluster.log_end(hit)))?;
        let said = cluster.logged_since(hit, 0);
        ensure!(!said.contains("panicked"), "{name} was deleted:\n{said}");
        load.answers(&cluster.apis(), cluster.answers_within())?;
        load.writes(20)?;
        outcomes.entry(format!("{during}, {after}")).or_default().push(name.clone());
        deleted = Some(name);
        Ok(())
    })
    .with_context(|| format!("file {number} was deleted"))?;
    Ok(deleted)
}

//! Looks at every node now and then, and notes what it meets: what a run has not met it does not show.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use quorate::{GroupStatus, Node, Standing};
use quorate_testkit::sim::NodeState;

use super::attack::Harm;
use super::clients::Load;
use super::groups::{Groups, Opens};

const EVERY: Duration = Duration::from_millis(100);
/// A machine that has been at one command for so long has met a slow one.
const LONG_MS: u64 = 1_000;

fn seen(status: &GroupStatus) -> Vec<&'static str> {
    let mut seen = Vec::new();
    if status.halted.as_deref().is_some_and(|reason| reason.contains("upgrade this node")) {
        seen.push("replica stopped at a newer command");
    }
    if status.applying_for_ms.is_some_and(|ms| ms > LONG_MS) {
        seen.push("machine at one command for a second");
        if status.role.as_ref().is_some_and(|role| role.role == "leader") {
            seen.push("leader at one command for a second");
        }
    }
    if status.role.as_ref().is_some_and(|role| role.apply_lag > 100) {
        seen.push("machine far behind");
    }
    if status.role.as_ref().is_some_and(|role| role.first > 1) {
        seen.push("log without its beginning");
    }
    seen
}

/// Until it is over. Also says when a node whose data were damaged has all of it again.
pub(crate) async fn observe(load: Load, opens: Opens, harm: Rc<Harm>, over: Rc<Cell<bool>>) {
    let cluster = &load.cluster;
    let mut reads = vec![(0, 0); cluster.nodes()];
    let mut met: BTreeSet<(usize, &'static str)> = BTreeSet::new();
    while !over.get() {
        cluster.pause(EVERY).await;
        let mut full = 0;
        for at in (0..cluster.nodes()).filter(|at| !cluster.is_paused(*at)) {
            let look = |node: Node, _: Groups| async move { (node.is_disk_full(), node.groups().await) };
            let Ok((is_full, statuses)) = cluster.on(at, look).await else { continue };
            full += usize::from(is_full);
            let now: BTreeSet<_> = statuses.iter().flat_map(seen).collect();
            for what in &now {
                if met.insert((at, what)) {
                    load.coverage.note(*what);
                }
            }
            met.retain(|(of, what)| *of != at || now.contains(what));
            let (boots, read) = (cluster.boots(at), cluster.disk(at).log_reads());
            if cluster.state(at) == NodeState::Up && reads[at].0 == boots && read > reads[at].1 {
                load.coverage.note("entries read back from disk");
            }
            reads[at] = (boots, read);
            let is_whole = |status: &GroupStatus| {
                status.role.as_ref().is_some_and(|role| role.standing == Standing::Voter)
            };
            let recovers = harm.damaged.get() == Some(at) && harm.recovers.get();
            if recovers
                && statuses.len() == opens.names().len()
                && cluster.state(at) == NodeState::Up
                && statuses.iter().all(is_whole)
            {
                load.coverage.note("whole again after damage");
                harm.damaged.set(None);
            }
        }
        if full > 0 {
            load.coverage.note(if full == cluster.nodes() {
                "all disks at the mark"
            } else {
                "disk at the mark"
            });
        }
    }
}

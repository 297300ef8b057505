//! Nodes whose syncs and clocks a test can harm while they run.

use anyhow::Result;
use quorate_tests::skip::skipped;

use crate::cluster::Cluster;
use crate::shim::{Harm, build};
use crate::turn::Turn;

/// Nodes on loopback of which none runs yet, each with a harm of its own; none where there is no C compiler.
pub(crate) fn harmed(count: usize, turn: Turn) -> Result<Option<Cluster>> {
    let mut cluster = Cluster::unstarted(count, turn)?;
    let Some(library) = build(cluster.directory())? else {
        skipped("no C compiler `cc` to build what harms a node's syncs and clocks");
        return Ok(None);
    };
    for at in 0..count {
        let harm = Harm::new(&library, cluster.directory().join(format!("harm{at}")))?;
        cluster.harm_by(at, harm);
    }
    Ok(Some(cluster))
}

//! The highest boot number seen of each admitted peer, and the process that had it. A lower number, or the same one from another
//! process, means that two processes run on copies of one data directory, or that the directory was restored from a copy.

use super::admission::{Refusal, RefusalCode};
use super::node::{Hello, PeerKind};
use crate::lock::Lock;
use std::collections::BTreeMap;

/// More starts than any directory has seen: ten in a second for thirteen years. Such a number is a forgery or a fault, and once
/// remembered would keep the node out for as long as this process runs.
const BOOT_MAX: u64 = 1 << 32;

/// The newest start of a node that was admitted.
#[derive(Debug, Clone, Copy)]
struct Start {
    incarnation: u64,
    boot: u64,
    process: u64,
}

/// By node id. In memory: what must outlast a restart is the admission's business.
#[derive(Default)]
pub(crate) struct Boots(Lock<BTreeMap<String, Start>>);

impl Boots {
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        check(&self.0.lock(), hello)
    }

    /// Remembers an admitted peer. Checks again: another connection may have been admitted in between.
    pub(crate) fn record(&self, hello: &Hello) -> Result<(), Refusal> {
        let mut seen = self.0.lock();
        check(&seen, hello)?;
        if hello.kind == PeerKind::Peer {
            let Hello { incarnation, boot, process, .. } = *hello;
            seen.insert(hello.node.clone(), Start { incarnation, boot, process });
        }
        Ok(())
    }

    pub(crate) fn forget(&self, node: &str) {
        self.0.lock().remove(node);
    }
}

fn check(seen: &BTreeMap<String, Start>, hello: &Hello) -> Result<(), Refusal> {
    if hello.kind != PeerKind::Peer {
        return Ok(());
    }
    let (node, boot) = (&hello.node, hello.boot);
    if boot > BOOT_MAX {
        return Err(Refusal::new(
            RefusalCode::BadHello,
            format!("boot {boot} of node {node} cannot be: no directory was started so often"),
            "find the process that says it is this node",
        ));
    }
    let known = seen.get(node).filter(|known| known.incarnation == hello.incarnation);
    let Some(known) = known else { return Ok(()) };
    if boot < known.boot {
        return Err(Refusal::new(
            RefusalCode::StaleBoot,
            format!("boot {} of node {node} was seen, this is boot {boot}", known.boot),
            "two processes run on copies of one data directory, or it was restored from a copy: stop the older",
        ));
    }
    let told = known.process != 0 && hello.process != 0;
    if boot == known.boot && told && hello.process != known.process {
        return Err(Refusal::new(
            RefusalCode::Twin,
            format!("another process runs as node {node}, with the same incarnation and boot {boot}"),
            "its data directory was copied: stop one of the two and delete its copy, then start the other again",
        ));
    }
    Ok(())
}

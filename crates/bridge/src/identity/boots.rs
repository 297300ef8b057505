//! The highest boot number seen of each admitted peer. A lower one means two processes run on copies of one data
//! directory, or the directory was restored from a copy.

use super::admission::{Refusal, RefusalCode};
use super::node::{Hello, PeerKind};
use crate::lock::Lock;
use std::collections::BTreeMap;

/// Node id -> (incarnation, boot). In memory: what must outlast a restart is the admission's business.
#[derive(Default)]
pub(crate) struct Boots(Lock<BTreeMap<String, (u64, u64)>>);

impl Boots {
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        check(&self.0.lock(), hello)
    }

    /// Remembers an admitted peer. Checks again: another connection may have been admitted in between.
    pub(crate) fn record(&self, hello: &Hello) -> Result<(), Refusal> {
        let mut seen = self.0.lock();
        check(&seen, hello)?;
        if hello.kind == PeerKind::Peer {
            seen.insert(hello.node.clone(), (hello.incarnation, hello.boot));
        }
        Ok(())
    }

    pub(crate) fn forget(&self, node: &str) {
        self.0.lock().remove(node);
    }
}

fn check(seen: &BTreeMap<String, (u64, u64)>, hello: &Hello) -> Result<(), Refusal> {
    match (hello.kind, seen.get(&hello.node)) {
        (PeerKind::Peer, Some((incarnation, boot)))
            if *incarnation == hello.incarnation && *boot > hello.boot =>
        {
            Err(Refusal::new(
                RefusalCode::StaleBoot,
                format!("boot {} of node {} was seen, this is boot {}", boot, hello.node, hello.boot),
                "two processes run on copies of one data directory, or it was restored from a copy: stop the older",
            ))
        }
        (PeerKind::Peer | PeerKind::Client | PeerKind::Joiner, _) => Ok(()),
    }
}

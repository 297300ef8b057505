//! The newest start seen of each admitted peer: its boot number, and what its process has drawn. A lower number, or the same one
//! from another process, means that there are two copies of one data directory: two processes run on them, or one was put back
//! in the place of the other.
//!
//! A copy that is refused has the next number at its next start. By that alone it looks like the directory that was admitted. So a
//! start says what was drawn for the starts before it, as its directory knows them: where that is another number than the one that was
//! admitted, it is another directory. And what was proven to be one stays refused, however often it is started and whatever its
//! number.

use super::admission::{Refusal, RefusalCode};
use super::node::{Hello, PeerKind};
use crate::lock::Lock;
use std::collections::BTreeMap;

/// More starts than any directory has seen: ten in a second for thirteen years. Such a number is a forgery or a fault, and once
/// remembered would keep the node out for as long as this process runs.
const BOOT_MAX: u64 = 1 << 32;

/// Processes on other copies that are remembered for each node. The next start of each is known by the one before.
const COPIES_MAX: usize = 8;

/// The newest start of a node that was admitted.
#[derive(Debug, Clone)]
struct Start {
    incarnation: u64,
    boot: u64,
    process: u64,
    earlier: Vec<(u64, u64)>,
    /// What processes on other copies of its directory have drawn, of each copy the newest that was refused.
    copies: Vec<u64>,
}

impl Start {
    /// What was drawn for this start of the directory that was admitted; `None` if that is not known.
    fn drawn_for(&self, boot: u64) -> Option<u64> {
        if boot == self.boot {
            return Some(self.process).filter(|process| *process != 0);
        }
        drawn_for(&self.earlier, boot)
    }

    /// The start of which both know, and for which not the same was drawn.
    fn parted_at(&self, hello: &Hello) -> Option<u64> {
        let this = (hello.boot, hello.process);
        let starts = hello.earlier.iter().copied().chain([this]).filter(|(_, process)| *process != 0);
        let differs =
            |(boot, process): &(u64, u64)| self.drawn_for(*boot).is_some_and(|ours| ours != *process);
        starts.filter(differs).map(|(boot, _)| boot).max()
    }

    fn is_of_a_copy(&self, hello: &Hello) -> bool {
        let is_copy = |process: u64| self.copies.contains(&process);
        is_copy(hello.process) || hello.earlier.iter().any(|(_, process)| is_copy(*process))
    }

    fn remember_copy(&mut self, hello: &Hello) {
        let before: Vec<u64> = hello.earlier.iter().map(|(_, process)| *process).collect();
        self.copies.retain(|copy| *copy != hello.process && !before.contains(copy));
        self.copies.push(hello.process);
        let old = self.copies.len().saturating_sub(COPIES_MAX);
        self.copies.drain(..old);
    }
}

fn drawn_for(starts: &[(u64, u64)], boot: u64) -> Option<u64> {
    starts.iter().find(|(known, process)| *known == boot && *process != 0).map(|(_, process)| *process)
}

/// By node id. In memory: what must outlast a restart is the admission's business.
#[derive(Default)]
pub(crate) struct Boots(Lock<BTreeMap<String, Start>>);

impl Boots {
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        check(&mut self.0.lock(), hello)
    }

    /// Remembers an admitted peer. Checks again: another connection may have been admitted in between.
    pub(crate) fn record(&self, hello: &Hello) -> Result<(), Refusal> {
        let mut seen = self.0.lock();
        check(&mut seen, hello)?;
        if hello.kind == PeerKind::Peer {
            let Hello { incarnation, boot, process, earlier, .. } = hello.clone();
            let known = seen.remove(&hello.node).filter(|known| known.incarnation == incarnation);
            let copies = known.map(|known| known.copies).unwrap_or_default();
            seen.insert(hello.node.clone(), Start { incarnation, boot, process, earlier, copies });
        }
        Ok(())
    }

    pub(crate) fn forget(&self, node: &str) {
        self.0.lock().remove(node);
    }
}

fn check(seen: &mut BTreeMap<String, Start>, hello: &Hello) -> Result<(), Refusal> {
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
    let known = seen.get_mut(node).filter(|known| known.incarnation == hello.incarnation);
    let Some(known) = known else { return Ok(()) };
    let parted = known.parted_at(hello);
    let of_a_copy = hello.process != 0 && known.is_of_a_copy(hello);
    if hello.process != 0 && (parted.is_some() || of_a_copy) {
        known.remember_copy(hello);
    }
    if boot < known.boot {
        return Err(Refusal::new(
            RefusalCode::StaleBoot,
            format!("boot {} of node {node} was seen, this is boot {boot}", known.boot),
            "another start of its data directory was admitted later: either this directory is an older copy, or an older copy was \
             started in its place. End this process and keep both directories until it is known which is the newest; that one \
             belongs here",
        ));
    }
    if parted.is_none() && !of_a_copy {
        return Ok(());
    }
    let used = parted.map_or_else(
        || format!("boot {boot} of node {node} is one of a copy of its data directory that was refused before"),
        |parted| format!("boot {parted} of node {node} was used by another process, which runs or has ended; this is boot {boot}"),
    );
    Err(Refusal::new(
        RefusalCode::Twin,
        used,
        "there are two copies of its data directory: either an older copy was put back after that process had ended, or a second \
         process runs on one. Look for that process, keep both directories, and go on with the newest alone; the nodes that \
         refuse this one admit it only after they were restarted themselves",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start of a directory that knows the starts before.
    fn start(earlier: &[(u64, u64)], boot: u64, process: u64) -> Hello {
        Hello {
            protocol_min: 1,
            protocol_max: 1,
            kind: PeerKind::Peer,
            cluster: [7; 32],
            node: "a".to_owned(),
            incarnation: 5,
            boot,
            process,
            earlier: earlier.to_vec(),
            level: 0,
            replaced: Vec::new(),
            fingerprint: 0,
            api_address: String::new(),
            expected_peer: String::new(),
            message_bytes_max: 1 << 20,
            members: String::new(),
        }
    }

    fn code(result: Result<(), Refusal>) -> Option<RefusalCode> {
        result.err().map(|refusal| refusal.code)
    }

    /// Its first start was refused, and the next one admitted; the newest directory was locked out by it.
    #[test]
    fn an_old_copy_is_refused_however_often_it_is_started_and_the_newest_is_not() {
        let boots = Boots::default();
        assert_eq!(code(boots.record(&start(&[(1, 11)], 2, 12))), None);
        let mut copy = vec![(1, 11)];
        for boot in 2..40 {
            let process = 100 + boot;
            let known: Vec<_> = copy.iter().copied().rev().take(7).rev().collect();
            assert_eq!(
                code(boots.record(&start(&known, boot, process))),
                Some(RefusalCode::Twin),
                "boot {boot}"
            );
            copy.push((boot, process));
        }
        assert_eq!(code(boots.record(&start(&[(1, 11), (2, 12)], 3, 13))), None);
        assert_eq!(code(boots.record(&start(&[(1, 11), (2, 12), (3, 13)], 4, 14))), None);
    }

    /// Another peer refused its first start.
    #[test]
    fn a_copy_that_is_met_at_a_later_start_is_known_by_the_ones_before() {
        let boots = Boots::default();
        assert_eq!(code(boots.record(&start(&[(1, 11)], 2, 12))), None);
        assert_eq!(code(boots.record(&start(&[(1, 11), (2, 102)], 3, 103))), Some(RefusalCode::Twin));
        assert_eq!(code(boots.record(&start(&[(1, 11), (2, 12)], 3, 13))), None);
    }

    /// It was far behind: it is refused as stale until it has the numbers of the other one's starts.
    #[test]
    fn a_copy_that_is_starts_behind_does_not_catch_up_by_being_started() {
        let boots = Boots::default();
        let newest: Vec<_> = (10..17).map(|boot| (boot, boot)).collect();
        assert_eq!(code(boots.record(&start(&newest, 17, 17))), None);
        let mut copy = vec![(4, 4)];
        for boot in 5..60 {
            let known: Vec<_> = copy.iter().copied().rev().take(7).rev().collect();
            assert!(code(boots.record(&start(&known, boot, 1_000 + boot))).is_some(), "boot {boot}");
            copy.push((boot, 1_000 + boot));
        }
    }

    /// What the process before has still sent comes after its successor was admitted.
    #[test]
    fn a_late_hello_of_the_start_before_is_no_copy() {
        let boots = Boots::default();
        assert_eq!(code(boots.record(&start(&[(1, 11)], 2, 12))), None);
        assert_eq!(code(boots.record(&start(&[(1, 11), (2, 12)], 3, 13))), None);
        assert_eq!(code(boots.record(&start(&[(1, 11)], 2, 12))), Some(RefusalCode::StaleBoot));
        assert_eq!(code(boots.record(&start(&[(1, 11), (2, 12), (3, 13)], 4, 14))), None);
    }

    /// A directory that a build without these numbers has started in between, and starts that the other end was not told of.
    #[test]
    fn what_is_not_known_proves_nothing() {
        let boots = Boots::default();
        assert_eq!(code(boots.record(&start(&[(1, 11)], 2, 12))), None);
        assert_eq!(code(boots.record(&start(&[], 3, 0))), None);
        assert_eq!(code(boots.record(&start(&[], 4, 14))), None);
        assert_eq!(code(boots.record(&start(&[(4, 14)], 5, 15))), None);
        assert_eq!(code(boots.record(&start(&[(8, 18)], 9, 19))), None);
        assert_eq!(code(boots.record(&start(&[(8, 18)], 9, 20))), Some(RefusalCode::Twin));
    }
}

//! What the nodes of a cluster say: by their APIs, and in their logs.

use std::fs::File;

use anyhow::{Context, Result};
use quorate_tests::wait::{PATIENCE, until};
use serde_json::Value;

use super::{Cluster, LOOK};
use crate::http::Sent;

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leader {
    /// In which term.
    pub(crate) term: u64,
    /// Which node.
    pub(crate) at: usize,
}

impl Cluster {
    /// What a node says of the cluster.
    pub(crate) fn view(&self, at: usize) -> Option<Value> {
        match self.http(at, LOOK).send("GET", "/v1/cluster", "", "") {
            Sent::Answer { status: 200, body } => serde_json::from_slice(&body).ok(),
            Sent::Answer { .. } | Sent::Unsent | Sent::Lost => None,
        }
    }

    /// Where a node says that it stands.
    pub(crate) fn status(&self, at: usize) -> Option<Value> {
        match self.http(at, LOOK).send("GET", "/v1/status?scope=node", "", "") {
            Sent::Answer { status: 200, body } => {
                let mut view: Value = serde_json::from_slice(&body).ok()?;
                Some(view["nodes"][0].take())
            }
            Sent::Answer { .. } | Sent::Unsent | Sent::Lost => None,
        }
    }

    /// The node that says it leads, of the newest term that is said: once there is one.
    pub(crate) fn leader(&self) -> Result<Leader> {
        self.leader_of(&(0..self.members.len()).collect::<Vec<_>>(), 0)
    }

    /// The same of some nodes only, and of a term after this one.
    pub(crate) fn leader_of(&self, nodes: &[usize], after: u64) -> Result<Leader> {
        let runs = |at: &usize| self.members[*at].child.is_some() && !self.members[*at].is_stopped;
        let found = until("a leader", PATIENCE, || {
            let says_so = |at: usize| {
                let view = self.view(at)?;
                let term = view["term"].as_u64()?;
                (view["role"] == "leader" && term > after).then_some(Leader { term, at })
            };
            nodes.iter().copied().filter(runs).filter_map(says_so).max()
        });
        Ok(found.with_context(|| self.log_ends())?.0)
    }

    /// Hands leadership to a node, as often as it takes: a transfer may be refused, or come too late.
    pub(crate) fn transfer_to(&self, to: usize) -> Result<()> {
        let moved = until(&format!("node{to} leads"), PATIENCE, || {
            let leader = self.leader().ok()?;
            if leader.at == to {
                return Some(());
            }
            let body = format!("{{\"to\":\"node{to}\"}}");
            drop(self.http(leader.at, 4 * LOOK).send("POST", "/v1/leader:transfer", "", &body));
            None
        });
        moved.with_context(|| self.log_ends())?;
        Ok(())
    }

    /// The last lines that a node logged.
    pub(crate) fn log_end(&self, at: usize) -> String {
        let log = std::fs::read(&self.members[at].log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        format!("node{at} logged last:\n{last}")
    }

    /// Everything that a node logged from here on: how long its log is now.
    pub(crate) fn log_length(&self, at: usize) -> u64 {
        File::open(&self.members[at].log).and_then(|log| log.metadata()).map_or(0, |log| log.len())
    }

    /// What a node logged after that.
    pub(crate) fn logged_since(&self, at: usize, length: u64) -> String {
        let log = std::fs::read(&self.members[at].log).unwrap_or_default();
        String::from_utf8_lossy(&log[(length as usize).min(log.len())..]).into_owned()
    }

    /// The last lines that every node logged.
    pub(crate) fn log_ends(&self) -> String {
        (0..self.members.len()).map(|at| self.log_end(at) + "\n").collect()
    }
}

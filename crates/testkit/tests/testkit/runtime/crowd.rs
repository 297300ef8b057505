//! More callers and clients than a node admits.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quorate::machine::{Kv, KvCommand, KvQuery};
use quorate::{ClientOptions, Consistency, ProposeError, QueryError};
use tokio::task::spawn_local;

use super::groups::{Groups, KV};
use super::nemesis::Nemesis;

/// Callers in a crowd, and clients.
const CALLERS: u64 = 300;
const CLIENTS: u64 = 12;

impl Nemesis {
    /// Hundreds of callers at one node, each of which gives up soon: permits must come back.
    pub(super) async fn crowd(&mut self, at: usize) {
        let patience = Duration::from_millis(self.draw.range(5, 200));
        let callers = move |_, groups: Groups| async move {
            let busy = Rc::new(Cell::new(0_u64));
            let mut all = Vec::new();
            for caller in 0..CALLERS {
                let (kv, busy) = (groups.kv.clone(), busy.clone());
                all.push(spawn_local(async move {
                    let is_busy = if caller % 3 == 0 {
                        let command = KvCommand::set(format!("crowd{caller}"), Bytes::from_static(b"here"));
                        let proposed = kv.propose_by(command, patience).await;
                        matches!(proposed, Err(ProposeError::Busy { .. }))
                    } else {
                        let consistency =
                            if caller % 3 == 1 { Consistency::Linearizable } else { Consistency::Stale };
                        let asked = kv.query_by(KvQuery::get("crowd"), consistency, patience).await;
                        matches!(asked, Err(QueryError::Busy { .. }))
                    };
                    busy.set(busy.get() + u64::from(is_busy));
                }));
            }
            for caller in all {
                // A caller that panicked was seen already.
                let _ = caller.await;
            }
            busy.get()
        };
        if self.cluster.on(at, callers).await.is_ok_and(|busy| busy > 0) {
            self.coverage.note("permits exhausted");
        }
    }

    /// More clients than a node has places for, each of which asks as long as the attack lasts.
    pub(super) async fn many_clients(&mut self) {
        let end = self.cluster.now() + self.length();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let options = ClientOptions { timeout: Duration::from_millis(200), ..ClientOptions::default() };
            let (client, cluster) = (self.cluster.client(options).await, self.cluster.clone());
            clients.push(spawn_local(async move {
                let kv = client.group::<Kv>(KV);
                let mut answered = 0_u64;
                while cluster.now() < end {
                    answered += u64::from(kv.query(KvQuery::get("crowd"), Consistency::Stale).await.is_ok());
                    cluster.pause(Duration::from_millis(50)).await;
                }
                client.close().await;
                answered
            }));
        }
        for client in clients {
            let answered = client.await.unwrap_or(0);
            self.coverage.note(if answered > 0 {
                "client of many answered"
            } else {
                "client of many without a place"
            });
        }
    }
}

//! More clients than the cluster remembers, at a counter of their own: the oldest are forgotten, and a caller that sends a command of
//! such a client again is answered with the first reply or told that the session has expired. Nothing is added twice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use quorate::machine::{Add, CLIENTS_MAX, ClientId, Counter, SessionKey};
use quorate::{ClientOptions, Outcome, ProposeError};
use quorate_core::Index;
use quorate_testkit::sim::{Draw, NotDone};
use tokio::task::spawn_local;

use super::clients::Load;
use super::groups::{Groups, SESSIONS};

/// Clients that come once, in a batch.
const BATCH: u64 = 1_400;
/// The command is sent again after so long at most: often all the others have come meanwhile.
const AGAIN_MS_MAX: u64 = 4_000;

/// What was added to the counter.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) acknowledged: Cell<i64>,
    /// Of these it is not known whether they count.
    pub(crate) unknown: Cell<i64>,
    totals: RefCell<BTreeSet<i64>>,
}

impl Remembered {
    fn acknowledge(&self, total: i64) {
        let is_new = self.totals.borrow_mut().insert(total);
        assert!(is_new, "exactly once: two additions were answered with the total {total}");
        self.acknowledged.set(self.acknowledged.get() + 1);
    }

    fn doubt(&self) {
        self.unknown.set(self.unknown.get() + 1);
    }
}

/// What one attempt came to.
enum Said {
    Total { total: i64, index: u64 },
    Expired { index: u64 },
    Unknown,
    Refused,
}

impl Load {
    async fn add_once(&self, at: usize, key: SessionKey) -> Said {
        let patience = Duration::from_millis(self.options.call);
        let work = move |_, groups: Groups| async move {
            groups.sessions.expect("it is open").propose_once(key, Add(1), patience).await
        };
        let said = self.cluster.on(at, work).await;
        self.cluster.note(format_args!("{key:?} node{at}: {said:?}"));
        match said {
            Ok(Ok(applied)) => Said::Total { total: applied.reply.total(), index: applied.index },
            Ok(Err(ProposeError::SessionExpired { index, .. })) => Said::Expired { index },
            Ok(Err(error)) if error.outcome() == Outcome::Unknown => Said::Unknown,
            Err(NotDone::Ended) => Said::Unknown,
            Ok(Err(_)) | Err(NotDone::Down) => Said::Refused,
        }
    }

    /// Adds one until that is acknowledged, and later sends the same command again, as a caller does whose answer was lost.
    pub(crate) async fn resender(self, name: u64, mut draw: Draw) {
        let (remembered, mut since, mut clients) = (self.remembered.clone(), 0, 0_u64);
        while !self.over.get() {
            clients += 1;
            let client = ClientId::of_name(&format!("resender{name}/{clients}"));
            let key = SessionKey::new(client, 1).since(Index(since));
            let mut in_doubt = false;
            let first = loop {
                match self.add_once(draw.place(self.options.nodes), key).await {
                    Said::Total { total, index } => {
                        since = index;
                        remembered.acknowledge(total);
                        break Some(total);
                    }
                    Said::Expired { index } => {
                        since = index;
                        self.coverage.note("new session told to begin later");
                        break None;
                    }
                    Said::Unknown => in_doubt = true,
                    Said::Refused => {}
                }
                self.cluster.pause(Duration::from_millis(20)).await;
            };
            let Some(first) = first else {
                if in_doubt {
                    remembered.doubt();
                }
                continue;
            };
            self.cluster.pause(Duration::from_millis(draw.range(0, AGAIN_MS_MAX))).await;
            match self.add_once(draw.place(self.options.nodes), key).await {
                Said::Total { total, .. } => {
                    assert_eq!(total, first, "exactly once: {key:?} is answered with another reply");
                    self.coverage.note("command sent again is remembered");
                }
                Said::Expired { .. } => self.coverage.note("command sent again, its session expired"),
                Said::Unknown | Said::Refused => {}
            }
        }
    }

    /// Adds by a client outside, whose sessions are forgotten between two commands.
    pub(crate) async fn outside_resender(self, mut draw: Draw) {
        let timeout = Duration::from_millis(self.options.call);
        let client = self.cluster.client(ClientOptions { timeout, ..ClientOptions::default() }).await;
        let count = client.group::<Counter>(SESSIONS);
        while !self.over.get() {
            match count.propose(Add(1)).await {
                Ok(applied) => self.remembered.acknowledge(applied.reply.total()),
                Err(error) if error.outcome() == Outcome::Unknown => self.remembered.doubt(),
                Err(_) => {}
            }
            self.cluster.pause(Duration::from_millis(draw.range(0, AGAIN_MS_MAX))).await;
        }
        client.close().await;
    }

    /// Clients that come once each, until more have come than are remembered.
    pub(crate) async fn flood(self, mut draw: Draw) {
        let (mut came, mut next) = (0, 0);
        while !self.over.get() && came <= CLIENTS_MAX as u64 {
            let (at, first) = (draw.place(self.options.nodes), next);
            next += BATCH;
            let patience = Duration::from_millis(self.options.call);
            let work = move |_, groups: Groups| async move {
                let calls = (first..first + BATCH).map(|number| {
                    let count = groups.sessions.clone().expect("it is open");
                    let key = SessionKey::new(ClientId::of_name(&format!("once{number}")), 1);
                    spawn_local(async move { count.propose_once(key, Add(0), patience).await.is_ok() })
                });
                let mut came = 0;
                for caller in calls.collect::<Vec<_>>() {
                    came += u64::from(caller.await.unwrap_or(false));
                }
                came
            };
            came += self.cluster.on(at, work).await.unwrap_or(0);
            self.cluster.pause(Duration::from_millis(draw.range(0, 1_000))).await;
        }
        if came > CLIENTS_MAX as u64 {
            self.coverage.note("more clients than are remembered");
        }
    }
}

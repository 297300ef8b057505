//! What holds once everything is mended: the first write is soon, every node takes a write and answers a read, all are level
//! and idle with every permit back, and while nothing happens there are no elections and no refusals.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use quorate::machine::{CounterQuery, KvAnswer, KvQuery};
use quorate::{Consistency, GroupHandle, GroupStatus, Node, QueryError, Standing, StateMachine};
use quorate_core::Hash;
use quorate_testkit::history::Call;
use tokio::task::spawn_local;

use super::attack::Attack;
use super::clients::{Load, Via, joined};
use super::groups::{Groups, KV, Kvs, Mixed, Opens};
use super::options::Options;

/// Clients of this file, beside those of the load.
const PROBE: u32 = 900;
const SETTLER: u32 = 1_000;
const QUIET: u32 = 2_000;

/// A link that was lost is noticed (keepalive), dialled again (the longest pause) and greeted: the bridge's settings.
const LINKS: Duration = Duration::from_millis(1_500 + 2_000 + 2_000);
/// The longest call of a slow machine, which may be in the middle of it.
const MACHINE: Duration = Duration::from_secs(10);
/// Timeouts of elections: one to twice as long until the first candidate, and split votes.
const ELECTIONS: u32 = 6;

/// Within which a cluster that is whole again acknowledges a write. The call that finds the leader may have begun before there
/// was one.
fn first_write_max(options: &Options) -> Duration {
    let elections = ELECTIONS * Duration::from_millis(options.election);
    let is_slow = options.attacks.contains(&Attack::SlowMachine);
    let machine = if is_slow { MACHINE } else { Duration::ZERO };
    LINKS + elections + machine + Duration::from_millis(options.call)
}

/// Asks every node until one acknowledges a write.
pub(crate) async fn first_write(load: &Load) {
    let (cluster, began) = (&load.cluster, load.cluster.now());
    let first = Rc::new(Cell::new(None));
    let mut probes = Vec::new();
    for at in 0..cluster.nodes() {
        let (load, first, client) = (load.clone(), first.clone(), PROBE + at as u32);
        probes.push(spawn_local(async move {
            let mut value = u64::from(client) << 32;
            while first.get().is_none() {
                value += 1;
                if load.once(client, &Via::Node(at), "k0", Call::Write(value)).await.0
                    && first.get().is_none()
                {
                    first.set(Some(load.cluster.now()));
                }
                load.cluster.pause(Duration::from_millis(20)).await;
            }
        }));
    }
    let most = first_write_max(&load.options);
    let acknowledged = async || first.get();
    let at = cluster.wait_for("acknowledged write after the mending", most, acknowledged).await;
    let took = at.saturating_sub(began);
    load.coverage.took("first write after mending", took);
    for probe in probes {
        joined(probe.await);
    }
}

/// Every node takes a write and answers a read, then all are level and idle.
pub(crate) async fn settle(load: &Load, opens: &Opens, give_up: Duration) {
    let cluster = &load.cluster;
    let mut client = SETTLER;
    let outside = load.outside().await;
    for via in (0..cluster.nodes()).map(Via::Node).chain([Via::Client(outside.group(KV))]) {
        for key in (0..load.options.keys).map(|key| format!("k{key}")) {
            for call in [Call::Write(u64::from(client) << 32), Call::Read] {
                while !load.once(client, &via, &key, call).await.0 {
                    assert!(cluster.now() < give_up, "liveness: {via:?} does not answer {call:?}");
                    cluster.pause(Duration::from_millis(50)).await;
                }
            }
            client += 1;
        }
    }
    outside.close().await;
    let patience = give_up.saturating_sub(cluster.now());
    let is_level = async || level(load, opens).await.then_some(());
    cluster.wait_for("level and idle cluster", patience, is_level).await;
    let mut digests = Vec::new();
    for at in 0..cluster.nodes() {
        digests.push(digest(cluster, at).await);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "machines differ: {digests:?}");
    for ((total, _), tally) in digests[0].counts.iter().zip(load.tallies.iter()) {
        assert_eq!(*total, tally.added.get(), "each acknowledged addition counts once, and no other");
    }
    if let Some((total, _)) = digests[0].sessions {
        let (least, unknown) = (load.remembered.acknowledged.get(), load.remembered.unknown.get());
        assert!(
            (least..=least + unknown).contains(&total),
            "{least} additions were acknowledged beside forgotten clients and {unknown} may have been, the total is {total}"
        );
    }
    if let Some((total, _)) = digests[0].mixed {
        let (least, unknown) = (load.sums.acknowledged.get(), load.sums.unknown.get());
        assert!(
            (least..=least + unknown).contains(&total),
            "{least} were acknowledged in the mixed group and {unknown} may have been, its total is {total}"
        );
    }
}

/// What the machines of a node have.
#[derive(Debug, PartialEq, Eq)]
struct Digests {
    kv: Hash,
    /// The total of each counter, and the digest of all that it applied.
    counts: Vec<(i64, i64)>,
    /// The same of the counter with too many clients.
    sessions: Option<(i64, i64)>,
    /// The total, and of how many commands.
    mixed: Option<(u64, u64)>,
}

async fn total_and_digest<M>(count: &GroupHandle<M>) -> Result<(i64, i64), QueryError>
where
    M: StateMachine<Query = CounterQuery, Answer = i64>,
{
    let total = count.query(CounterQuery::Total, Consistency::Stale).await?;
    Ok((total, count.query(CounterQuery::Digest, Consistency::Stale).await?))
}

async fn digest(cluster: &Kvs, at: usize) -> Digests {
    let asked = cluster.on(at, |_, groups: Groups| async move {
        let kv = match groups.kv.query(KvQuery::Digest, Consistency::Stale).await? {
            KvAnswer::Digest(kv) => kv,
            other => panic!("asked for a digest, answered {other:?}"),
        };
        let mut counts = Vec::new();
        for count in groups.counts.iter() {
            counts.push(total_and_digest(count).await?);
        }
        let sessions = match &groups.sessions {
            None => None,
            Some(count) => Some(total_and_digest(count).await?),
        };
        let mixed = match &groups.mixed {
            None => None,
            Some(Mixed::Old(group)) => Some(group.query((), Consistency::Stale).await?),
            Some(Mixed::New(group)) => Some(group.query((), Consistency::Stale).await?),
        };
        Ok::<_, QueryError>(Digests { kv, counts, sessions, mixed })
    });
    match asked.await {
        Ok(Ok(digests)) => digests,
        other => panic!("node{at} does not say what it has: {other:?}"),
    }
}

/// One leader for each group, everything applied everywhere, every permit back.
async fn level(load: &Load, opens: &Opens) -> bool {
    let (cluster, names) = (&load.cluster, opens.names());
    let mut applied: Vec<(String, u64)> = Vec::new();
    let mut leaders = 0;
    for at in 0..cluster.nodes() {
        let look = |node: Node, groups: Groups| async move {
            let counts = groups.counts.iter().map(quorate::GroupHandle::free_permits);
            (node.groups().await, counts.chain([groups.kv.free_permits()]).collect::<Vec<_>>())
        };
        let Ok((groups, permits)) = cluster.on(at, look).await else { return false };
        let full = (load.options.permits, load.options.permits);
        if permits.iter().any(|free| *free != full) || groups.len() != names.len() {
            return false;
        }
        for GroupStatus { group, role, fault_here, .. } in groups {
            let Some(role) = role else { return false };
            if role.standing != Standing::Voter
                || role.members.len() != cluster.nodes()
                || !role.members.iter().all(|member| member.voter)
            {
                return false;
            }
            if role.applied != role.last || role.durable != role.last || fault_here.is_some() {
                return false;
            }
            leaders += usize::from(role.role == "leader");
            applied.push((group, role.applied));
        }
    }
    applied.sort();
    applied.dedup();
    leaders == names.len() && applied.len() == names.len()
}

/// The term of each group on each node.
async fn terms(cluster: &Kvs) -> Vec<(usize, String, u64)> {
    let mut terms = Vec::new();
    for at in 0..cluster.nodes() {
        let groups = cluster.on(at, |node, _| async move { node.groups().await }).await.unwrap_or_default();
        let term = |status: GroupStatus| Some((at, status.group, status.role?.term));
        terms.extend(groups.into_iter().filter_map(term));
    }
    terms
}

/// For a while nothing is done to the cluster: each call is answered, and no one stands for election.
pub(crate) async fn quiet(load: &Load, opens: &Opens) {
    let cluster = &load.cluster;
    for at in 0..cluster.nodes() {
        // What an attack ordered of a disk and has not come yet.
        cluster.disk(at).fail_sync_in(u64::MAX);
    }
    let (before, end) = (terms(cluster).await, cluster.now() + Duration::from_millis(load.options.quiet));
    assert_eq!(before.len(), cluster.nodes() * opens.names().len(), "every replica has a role");
    let mut client = QUIET;
    while cluster.now() < end {
        for at in 0..cluster.nodes() {
            for call in [Call::Write(u64::from(client) << 32), Call::Read] {
                let (answered, _) = load.once(client, &Via::Node(at), "k0", call).await;
                assert!(answered, "stability: node{at} did not answer {call:?} at rest");
            }
            client += 1;
        }
        cluster.pause(Duration::from_secs(1)).await;
    }
    assert_eq!(before, terms(cluster).await, "stability: an election while nothing happened");
    if load.options.quiet >= 60_000 {
        load.coverage.note("quiet minute without an election");
    }
}

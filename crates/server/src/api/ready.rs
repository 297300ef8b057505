//! What a node needs to take work, and whether it has it: the checks of `/readyz`, which are also the reasons in the detail of
//! every `no_leader`.
//!
//! Nothing is asked that may hang with what it is asked about: the disk's thread and the state machine show since when they are at
//! their work, and the actors are waited for 800 ms.

use std::fmt::Write as _;
use std::time::Duration;

use quorate::{GroupStatus, LinkStatus, Node, RoleStatus, Shortage, Standing};

use super::code::Code;
use super::leaderless::no_leader;
use super::linked::{connected, cut, why_down};
use super::problem::Problem;
use super::state::AppState;

/// One thing that a node needs.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) passed: bool,
    pub(super) detail: String,
}

impl Check {
    /// As it stands among others.
    pub(super) fn named(&self) -> String {
        format!("{}: {}", self.name, self.detail)
    }
}

/// What is known of actors that do not answer.
pub(super) const SILENT: &str =
    "its actors do not answer within 800 ms: their thread hangs, or has too much to do";

/// All of them.
pub(super) async fn checks(state: &AppState) -> Vec<Check> {
    let (status, links) = (state.group().status().await, state.node().links());
    let replayed = Check {
        name: "replayed",
        passed: state.is_replayed(&status).await,
        detail: match &status.role {
            None => "not known while the replica does not answer".to_owned(),
            Some(role) if role.commit == 0 => {
                "not known yet: no leader has said since the start how much of the log is committed"
                    .to_owned()
            }
            Some(role) => format!("applied {} of {}", role.applied, role.commit),
        },
    };
    vec![
        runs(state).await,
        replica(&status),
        membership(state, &status).await,
        store(state.node()),
        peers(&status, &links),
        leader(&status, &links),
        replayed,
        machine(&status, state.node().config().live.call_timeout_ms),
        room(state, &status),
        draining(state),
    ]
}

fn draining(state: &AppState) -> Check {
    let detail = match state.drains_for() {
        Some(left) => format!("draining: the node ends in {} ms", left.as_millis()),
        None => "takes work".to_owned(),
    };
    Check { name: "not_draining", passed: !state.is_draining(), detail }
}

/// The caller's deadline has passed, and it waits for a few moments more: an answer that comes later is taken for none, and the
/// write that was refused for one whose outcome is unknown.
const EXPLAINED_WITHIN: Duration = Duration::from_millis(50);

/// A problem, with what this node lacks if it says that no leader was found: who asks again without mending that is told the
/// same.
pub(super) async fn explained(state: &AppState, problem: Problem) -> Problem {
    if problem.code != Code::NoLeader {
        return problem;
    }
    let Ok(checks) = tokio::time::timeout(EXPLAINED_WITHIN, checks(state)).await else {
        let node = state.node().id();
        let detail = format!("{}; {node}: its actors do not answer at once, see /readyz", problem.detail);
        return Problem { detail, ..problem };
    };
    let reasons = checks.iter().filter(|check| {
        !check.passed && ["node", "replica", "member", "store", "leader_known"].contains(&check.name)
    });
    let reasons: Vec<String> = reasons.map(Check::named).collect();
    if reasons.is_empty() {
        return problem;
    }
    let detail = format!("{}; {}: {}", problem.detail, state.node().id(), reasons.join("; "));
    Problem { detail, ..problem }
}

/// The actors of the group. They share one thread, and one that hangs takes the others with it.
fn replica(status: &GroupStatus) -> Check {
    let (passed, detail) = match (&status.role, status.silent) {
        (Some(role), _) if role.standing == Standing::Recovering => {
            (true, "follower, which recovers and gives no vote")
        }
        (Some(role), _) => (true, role.role.as_str()),
        (None, true) => (false, SILENT),
        (None, false) => (false, "the replica is being restarted"),
    };
    Check { name: "replica", passed, detail: detail.to_owned() }
}

/// What a node says that the membership in force here does not name.
pub(super) fn outside(role: &RoleStatus) -> Option<String> {
    let has_log = role.last > 0 || role.snapshot > 0;
    (role.standing == Standing::Outside).then(|| {
        if role.removed {
            "not a member: it was removed from the cluster; end it; to take it in again, start it with an empty data directory and --join, or add it by `quorate member add`"
        } else if has_log {
            "joining: its log has not come to where it is taken in; `quorate member list` shows how far it is"
        } else {
            "joining: no leader has taken it in yet; its log says why, and `quorate member list` shows it among those that wait"
        }
        .to_owned()
    })
}

/// A learner answers stale reads and passes writes on like a voter, once it has nearly all of the log.
async fn membership(state: &AppState, status: &GroupStatus) -> Check {
    let (passed, detail) = match &status.role {
        None => (true, "not known while the replica does not answer".to_owned()),
        Some(role) => match (outside(role), role.standing) {
            (Some(why), _) => (false, why),
            (None, standing @ (Standing::Voter | Standing::Learner)) => {
                match (state.has_caught_up(standing).await, standing) {
                    (Ok(()), Standing::Learner) => (true, "learner".to_owned()),
                    (Ok(()), _) => (true, "voter".to_owned()),
                    (Err(lacks), _) => (false, format!("joining: a learner that has not caught up: {lacks}")),
                }
            }
            (None, Standing::Outside | Standing::Recovering | Standing::Awaiting | Standing::Founding) => {
                (true, "member".to_owned())
            }
        },
    };
    Check { name: "member", passed, detail }
}

/// A leader gives leadership away once its disk has kept a write waiting for `persist_stall_ms_max`. Until the disk answers, the
/// node counts for no majority and gives no vote.
fn store(node: &Node) -> Check {
    let bound = Duration::from_millis(node.config().node.persist_stall_ms_max);
    let busy = node.disk_busy_for().filter(|busy| *busy >= bound);
    let detail = match busy {
        None => "answers".to_owned(),
        Some(busy) => format!(
            "its disk has not answered for {} ms (persist_stall_ms_max is {})",
            busy.as_millis(),
            bound.as_millis()
        ),
    };
    Check { name: "store", passed: busy.is_none(), detail }
}

/// A machine that has been at one command for longer than a call may take answers none in time.
fn machine(status: &GroupStatus, call_timeout_ms: u64) -> Check {
    let fault = status.fault_here.or(status.faulted);
    let slow = status.applying_for_ms.filter(|ms| *ms >= call_timeout_ms);
    let detail = match (fault, &status.halted, slow) {
        (_, Some(why), _) => Some(why.clone()),
        (Some(index), None, _) => Some(format!("faulted at index {index}")),
        (None, None, Some(ms)) => {
            Some(format!("has been at one command for {ms} ms (call_timeout_ms is {call_timeout_ms})"))
        }
        (None, None, None) => None,
    };
    Check { name: "machine", passed: detail.is_none(), detail: detail.unwrap_or_else(|| "runs".to_owned()) }
}

/// Apart from the leader: a node whose network is cut has none either, and is not mended by an election. While it has one, links that
/// have just fallen may be back before a majority is lost.
fn peers(status: &GroupStatus, links: &[LinkStatus]) -> Check {
    let (any, detail) = connected(links);
    Check { name: "peers", passed: any || status.leader.is_some(), detail }
}

/// A node that hears a leader and cannot send to it would keep each request until its deadline, and then refuse it.
fn leader(status: &GroupStatus, links: &[LinkStatus]) -> Check {
    let (passed, detail) = match status.leader.as_deref() {
        Some(leader) if leader == status.node => (true, leader.to_owned()),
        Some(leader) => match why_down(links.iter().find(|link| link.node == leader)) {
            None => (true, leader.to_owned()),
            Some(why) => (false, format!("{leader} leads, and nothing can be sent to it: {why}")),
        },
        None => {
            let cut = cut(links).map_or_else(String::new, |cut| format!("; {cut}"));
            (false, format!("{}{cut}", no_leader(status)))
        }
    };
    Check { name: "leader_known", passed, detail }
}

/// While its disk is below its reserve a node takes no entry: as a leader it refuses writes, and it cannot help another to commit
/// them. It still answers reads to who asks it. So does a leader whose disk has room and that no majority can follow.
fn room(state: &AppState, status: &GroupStatus) -> Check {
    let space = state.node().space();
    let Shortage { free, reserve, again, .. } = space.shortage();
    let is_full = state.node().is_disk_full();
    let full = status.role.as_ref().and_then(RoleStatus::lacks_room);
    let mut detail = format!("{free} free on the disk, {reserve} must stay free");
    if is_full {
        write!(detail, "; takes entries again with {again} free").expect("writing to a string does not fail");
    } else if let Some(full) = &full {
        write!(detail, "; {full}").expect("writing to a string does not fail");
    }
    Check { name: "disk", passed: !is_full && full.is_none(), detail }
}

pub(super) async fn runs(state: &AppState) -> Check {
    // `failed` resolves only once the node has ended.
    let ended = tokio::time::timeout(Duration::ZERO, state.node().failed()).await.ok();
    let detail = match &ended {
        None => "runs".to_owned(),
        Some(None) => "stopped".to_owned(),
        Some(Some(failure)) => failure.to_string(),
    };
    Check { name: "node", passed: ended.is_none(), detail }
}

#[cfg(test)]
mod tests {
    use quorate::{GroupHandle, LinkState};
    use quorate_tests::wait::eventually;

    use super::*;
    use crate::api::ApiOptions;
    use crate::machine::{CounterCommand, DataMachine};

    async fn with_a_role(group: &GroupHandle<DataMachine>) -> GroupStatus {
        let has_one = async || Some(group.status().await).filter(|status| status.role.is_some());
        eventually("the group has a role", has_one).await.expect("in time")
    }

    /// What a node says that has a peer where no one listens.
    async fn alone() -> (GroupStatus, Vec<LinkStatus>) {
        let directory = tempfile::tempdir().expect("a directory");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent = taken.local_addr().expect("bound").to_string();
        drop(taken);
        let node = quorate::Node::builder("node0", directory.path()).listen("127.0.0.1:0");
        let node = node.peer("node1", &silent).start().await.expect("it starts");
        let group = node.group("main", crate::machine::DataMachine::default()).await.expect("it opens");
        let dialled =
            async || Some(node.links()).filter(|links| links.iter().any(|link| link.last_error.is_some()));
        let links = eventually("the peer was dialled", dialled).await.expect("in time");
        let status = with_a_role(&group).await;
        node.stop().await;
        (status, links)
    }

    #[tokio::test]
    async fn a_node_that_cannot_send_to_its_leader_is_not_ready() {
        let (said, links) = alone().await;
        let status = |leader: Option<&str>| GroupStatus { leader: leader.map(str::to_owned), ..said.clone() };
        let check = leader(&status(Some("node1")), &links);
        assert!(
            !check.passed && check.detail.contains("node1 leads, and nothing can be sent to it"),
            "{}",
            check.detail
        );
        let peers = |links: &[LinkStatus]| peers(&status(None), links);
        let none = peers(&links);
        assert!(
            !none.passed && none.detail.starts_with("no other member is connected; no link to node1 (127.")
        );
        assert!(none.detail.contains(" is not connected for ") && none.detail.contains("cannot connect"));
        let (mut up, mut idle) = (links.clone(), links.clone());
        up[0].state = LinkState::Up;
        idle[0].state = LinkState::Idle;
        assert_eq!((peers(&up).passed, &peers(&up).detail[..]), (true, "connected to node1"));
        assert!(peers(&idle).passed && peers(&[]).passed, "a node that is alone misses no one");
        assert!(super::peers(&status(Some("node0")), &links).passed, "it has a leader still");
        let check = leader(&status(None), &links);
        assert!(
            !check.passed
                && check.detail.starts_with("none")
                && check.detail.contains("; no link to node1 ("),
            "{}",
            check.detail
        );
        assert!(leader(&status(Some("node0")), &links).passed, "it leads itself");
    }

    /// A node whose disk hung stayed ready, and called that `no_leader`.
    #[tokio::test]
    async fn a_node_whose_disk_hangs_is_not_ready_and_says_for_how_long() {
        let disk = quorate::store::SimDisk::new();
        let mut config = quorate::Config::default();
        config.node.persist_stall_ms_max = 200;
        let node = Node::builder("node0", "unused").disk(Box::new(disk.clone())).config(config);
        let node = node.start().await.expect("it starts");
        let group = node.group("main", crate::machine::DataMachine::default()).await.expect("it opens");
        assert_eq!(group.wait_for_leader(Duration::from_secs(60)).await.as_ref(), Some(node.id()));
        let state = AppState::new(node.clone(), group, "localhost:1", ApiOptions::default());
        let of = |checks: &[Check], name: &str| {
            let check = checks.iter().find(|check| check.name == name).expect("it is one of them");
            (check.passed, check.detail.clone())
        };
        let until = async |passes: bool| {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            for _ in 0..3_000 {
                ticks.tick().await;
                let (passed, detail) = of(&checks(&state).await, "store");
                if passed == passes {
                    return detail;
                }
            }
            panic!("it stays as it is");
        };
        assert_eq!(until(true).await, "answers");
        disk.stall(true);
        let command =
            crate::machine::DataCommand::Counter(CounterCommand::Add { name: "n".into(), amount: 1 });
        let unknown =
            state.group().propose_by(command, Duration::from_millis(50)).await.expect_err("it hangs");
        assert_eq!(unknown.outcome(), quorate::Outcome::Unknown);
        let said = until(false).await;
        assert!(
            said.starts_with("its disk has not answered for ")
                && said.contains("persist_stall_ms_max is 200"),
            "{said}"
        );
        let problem = explained(&state, Problem::new(Code::NoLeader, "no leader known")).await;
        assert!(
            problem.detail.contains("no leader known; node0: store: its disk has not answered"),
            "{problem:?}"
        );
        let other = Problem::new(Code::Busy, "busy");
        assert_eq!(explained(&state, other.clone()).await, other);
        disk.stall(false);
        assert_eq!(until(true).await, "answers");
        node.stop().await;
    }

    /// "node0: none" was all that a client read, and a node that has heard of no leader had "applied 0 of 0".
    #[tokio::test]
    async fn every_reason_is_said_with_the_check_that_it_belongs_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let node = quorate::Node::builder("node0", directory.path()).listen("127.0.0.1:0");
        let node = node.peer("node1", "127.0.0.1:1").start().await.expect("it starts");
        let group = node.group("main", crate::machine::DataMachine::default()).await.expect("it opens");
        let state = AppState::new(node.clone(), group, "localhost:1", ApiOptions::default());
        with_a_role(state.group()).await;
        let all = checks(&state).await;
        let replayed = all.iter().find(|check| check.name == "replayed").expect("it is one of them");
        let unknown = "not known yet: no leader has said since the start how much of the log is committed";
        assert!(!replayed.passed && replayed.detail == unknown, "{replayed:?}");
        let problem = explained(&state, Problem::new(Code::NoLeader, "no leader known")).await;
        assert!(problem.detail.starts_with("no leader known; node0: leader_known: none"), "{problem:?}");
        node.stop().await;
    }

    #[tokio::test]
    async fn a_machine_in_one_command_for_longer_than_a_call_and_silent_actors_are_not_ready() {
        let (said, _) = alone().await;
        let at = |applying_for_ms| machine(&GroupStatus { applying_for_ms, ..said.clone() }, 5_000);
        assert!(at(None).passed && at(Some(4_999)).passed);
        let check = at(Some(5_000));
        assert!(!check.passed && check.detail.contains("at one command for 5000 ms"), "{check:?}");
        assert!(replica(&said).passed, "{said:?}");
        let (role, silent) = (None, true);
        let check = replica(&GroupStatus { role, silent, ..said.clone() });
        assert!(!check.passed && check.detail.contains("their thread hangs"), "{check:?}");
        let check = replica(&GroupStatus { role: None, ..said });
        assert!(!check.passed && check.detail.contains("is being restarted"), "{check:?}");
    }

    /// A leader that could commit nothing was ready: its own disk had room.
    #[tokio::test]
    async fn rule_16_a_leader_without_a_majority_with_room_is_not_ready() {
        let directory = tempfile::tempdir().expect("a directory");
        let node = Node::builder("node0", directory.path()).start().await.expect("it starts");
        let group = node.group("main", crate::machine::DataMachine::default()).await.expect("it opens");
        let state = AppState::new(node.clone(), group, "localhost:1", ApiOptions::default());
        let mut status = with_a_role(state.group()).await;
        assert!(room(&state, &status).passed);
        let role = status.role.as_mut().expect("just seen");
        role.full_voters = vec!["node1".to_owned(), "node2".to_owned()];
        let check = room(&state, &status);
        assert!(!check.passed && check.detail.contains("the disks of node1, node2 are full"), "{check:?}");
        node.stop().await;
    }

    #[tokio::test]
    async fn a_cluster_that_is_not_founded_says_which_node_it_waits_for() {
        let (said, links) = alone().await;
        let detail = leader(&said, &links).detail;
        assert!(
            detail.contains("the cluster is not founded yet, since this node has not reached node1 once"),
            "{detail}"
        );
    }
}

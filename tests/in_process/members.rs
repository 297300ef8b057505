//! Members that come, go and are replaced, on whole nodes (`docs/decisions/0052-members-in-the-runtime.md`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use quorate::machine::{Counter, Total};
use quorate::{
    ChangeError, ChangeRefusal, Consistency, GroupHandle, MemberKind, MembersView, Node, NodeBuilder,
    NodeFailure, NodeId, Outcome, Standing,
};
use quorate_tests::cluster::{add, free_ports, log_if_asked, quick};
use quorate_tests::wait::{PATIENCE, eventually};
use tempfile::TempDir;

pub(crate) fn id(at: usize) -> NodeId {
    NodeId::new(&format!("node{at}")).expect("a name")
}

/// Nodes of which some have founded a cluster and others join it.
pub(crate) struct Nodes {
    pub(crate) directory: TempDir,
    pub(crate) ports: Vec<u16>,
    pub(crate) running: BTreeMap<usize, (Node, GroupHandle<Counter>)>,
}

impl Nodes {
    /// Room for `count` nodes, of which the first `founders` run as one cluster.
    pub(crate) async fn founded(count: usize, founders: usize) -> Result<Self> {
        log_if_asked();
        let (directory, ports) = (tempfile::tempdir()?, free_ports(count)?);
        let mut nodes = Self { directory, ports, running: BTreeMap::new() };
        for at in 0..founders {
            nodes.start(at, nodes.founder(at, founders)).await?;
        }
        let _ = nodes.count(0).propose(quorate::machine::Add(0)).await?;
        Ok(nodes)
    }

    pub(crate) fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    pub(crate) fn data(&self, at: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("node{at}"))
    }

    pub(crate) fn plain(&self, at: usize) -> NodeBuilder {
        Node::builder(id(at).as_str(), self.data(at)).listen(&self.address(at)).config(quick())
    }

    pub(crate) fn founder(&self, at: usize, founders: usize) -> NodeBuilder {
        let peers = (0..founders).filter(|peer| *peer != at);
        peers.fold(self.plain(at), |builder, peer| builder.peer(id(peer).as_str(), &self.address(peer)))
    }

    pub(crate) fn joiner(&self, at: usize, by: usize) -> NodeBuilder {
        self.plain(at).join([self.address(by)])
    }

    pub(crate) async fn start(&mut self, at: usize, builder: NodeBuilder) -> Result<()> {
        let node = builder.start().await.with_context(|| format!("node{at} does not start"))?;
        let count = node.group("counter", Counter::default()).await?;
        self.running.insert(at, (node, count));
        Ok(())
    }

    pub(crate) async fn join(&mut self, at: usize, by: usize) -> Result<()> {
        self.start(at, self.joiner(at, by)).await
    }

    pub(crate) async fn kill(&mut self, at: usize) {
        if let Some((node, _)) = self.running.remove(&at) {
            node.kill().await;
        }
    }

    pub(crate) fn count(&self, at: usize) -> &GroupHandle<Counter> {
        &self.running[&at].1
    }

    pub(crate) async fn standing(&self, at: usize) -> Option<Standing> {
        Some(self.count(at).status().await.role?.standing)
    }

    pub(crate) async fn eventually_list(
        &self,
        by: usize,
        what: &str,
        has: impl Fn(&MembersView) -> bool,
    ) -> Result<MembersView> {
        eventually(what, async || self.count(by).members().list().await.ok().filter(&has)).await
    }

    /// The members, once these are the voters and no change is under way.
    pub(crate) async fn voters(&self, by: usize, voters: &[usize]) -> Result<MembersView> {
        let voters: Vec<NodeId> = voters.iter().map(|at| id(*at)).collect();
        let of = |view: &MembersView| {
            let voting = view.members.iter().filter(|member| member.kind == MemberKind::Voter);
            voting.map(|member| member.id.clone()).collect::<Vec<_>>()
        };
        self.eventually_list(by, &format!("{voters:?} vote"), |view| !view.under_way && of(view) == voters)
            .await
    }

    pub(crate) async fn stop_all(self) {
        for (node, _) in self.running.into_values() {
            node.stop().await;
        }
    }
}

fn refusal(error: ChangeError) -> ChangeRefusal {
    assert_eq!(error.outcome(), Outcome::Refused);
    match error {
        ChangeError::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_lone_node_grows_to_three_and_shrinks_to_another_one() -> Result<()> {
    let mut nodes = Nodes::founded(3, 1).await?;
    ensure!(add(nodes.count(0), 10).await? == 10);
    nodes.join(1, 0).await?;
    nodes.voters(0, &[0, 1]).await?;
    // The second is asked by the first one that joined: any member will do.
    nodes.join(2, 1).await?;
    let view = nodes.voters(2, &[0, 1, 2]).await?;
    ensure!(view.members.iter().all(|member| member.connected && member.incarnation.0 != 0), "{view:?}");
    ensure!(add(nodes.count(2), 10).await? == 20);
    ensure!(nodes.count(1).query(Total, Consistency::Linearizable).await? == 20);

    // The leader itself leaves, and says so.
    let leader = view.leader.clone();
    let gone = (0..3).find(|at| id(*at) == leader).context("it is one of them")?;
    let by = (gone + 1) % 3;
    let index = nodes.count(by).members().expecting(view.index).remove(leader).await?;
    ensure!(index > view.index);
    let left: Vec<usize> = (0..3).filter(|at| *at != gone).collect();
    let view = nodes.voters(left[0], &left).await?;
    eventually("it is told that it is out", async || {
        (nodes.standing(gone).await? == Standing::Outside).then_some(())
    })
    .await?;
    ensure!(add(nodes.count(left[1]), 10).await? == 30);

    let last = left.iter().copied().find(|at| id(*at) == view.leader).context("one of them leads")?;
    let other = left.iter().copied().find(|at| *at != last).context("there are two")?;
    nodes.count(other).members().remove(id(other)).await?;
    nodes.voters(last, &[last]).await?;
    nodes.kill(other).await;
    nodes.kill(gone).await;
    ensure!(add(nodes.count(last), 10).await? == 40, "it is a majority of itself");
    let refused = nodes.count(last).members().remove(id(last)).await.expect_err("no one would be left");
    assert_eq!(refusal(refused), ChangeRefusal::LastVoter { node: id(last) });
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn a_node_that_lost_its_disk_is_replaced_under_its_name() -> Result<()> {
    let mut nodes = Nodes::founded(3, 3).await?;
    ensure!(add(nodes.count(0), 10).await? == 10);
    nodes.kill(2).await;
    let old = nodes.directory.path().join("old");
    std::fs::rename(nodes.data(2), &old)?;
    let refused = nodes.count(0).members().replace(id(2)).await.expect_err("no one waits");
    ensure!(refused == ChangeError::NoJoiner { node: id(2) }, "{refused}");

    nodes.join(2, 1).await?;
    let waits = |view: &MembersView| view.waiting.iter().any(|joiner| joiner.id == id(2));
    let view = nodes.eventually_list(0, "it waits", waits).await?;
    ensure!(view.waiting[0].reason.contains("quorate member replace node2"), "{view:?}");
    ensure!(nodes.standing(2).await == Some(Standing::Outside));
    nodes.count(1).members().replace(id(2)).await?;
    nodes.voters(0, &[0, 1, 2]).await?;
    // It counts: with one of the others it is a majority, and it has everything.
    nodes.kill(0).await;
    ensure!(add(nodes.count(2), 10).await? == 20);

    // The old disk is found again, and put in another machine under its old name.
    let stray = free_ports(1)?[0];
    let builder = Node::builder("node2", &old).config(quick()).listen(&format!("127.0.0.1:{stray}"));
    let builder = builder.advertise(&nodes.address(2));
    let returned = builder.start().await?;
    // It may have ended before.
    let _count = returned.group("counter", Counter::default()).await;
    let failure = tokio::time::timeout(PATIENCE, returned.failed()).await?.context("it stops")?;
    ensure!(matches!(failure, NodeFailure::Replaced { .. }), "{failure}");
    returned.stop().await;
    ensure!(add(nodes.count(1), 10).await? == 30, "it disturbed no one");
    nodes.stop_all().await;
    Ok(())
}

/// The one that was away knows the leader's name with the disk that was lost.
#[tokio::test]
async fn of_five_one_that_was_away_follows_a_leader_that_was_replaced_meanwhile() -> Result<()> {
    let mut nodes = Nodes::founded(5, 5).await?;
    ensure!(add(nodes.count(0), 5).await? == 5);
    let all_known = |view: &MembersView| view.members.iter().all(|member| member.incarnation.0 != 0);
    nodes.eventually_list(0, "the disks of all are agreed on", all_known).await?;
    nodes.kill(3).await;
    nodes.kill(4).await;
    std::fs::remove_dir_all(nodes.data(4))?;
    nodes.join(4, 0).await?;
    nodes.eventually_list(0, "it waits", |view| !view.waiting.is_empty()).await?;
    nodes.count(0).members().replace(id(4)).await?;
    let view = nodes.voters(0, &[0, 1, 2, 3, 4]).await?;
    let leader = (0..3).find(|at| id(*at) == view.leader).context("one of the three leads")?;
    nodes.count(leader).transfer(Some(id(4)), PATIENCE).await?;
    ensure!(add(nodes.count(1), 5).await? == 10);

    nodes.start(3, nodes.plain(3)).await?;
    let total = eventually("it has what the new leader sends", async || {
        let total = nodes.count(3).query(Total, Consistency::Linearizable).await.ok()?;
        (nodes.count(3).leader() == Some(id(4))).then_some(total)
    })
    .await?;
    ensure!(total == 10);
    nodes.stop_all().await;
    Ok(())
}

/// Its supervisor starts it with the same flags again and again.
#[tokio::test]
async fn a_removed_member_that_is_started_again_does_not_come_back() -> Result<()> {
    let mut nodes = Nodes::founded(3, 2).await?;
    nodes.join(2, 0).await?;
    nodes.voters(0, &[0, 1, 2]).await?;
    ensure!(add(nodes.count(2), 3).await? == 3);
    nodes.count(2).members().remove(id(2)).await?;
    nodes.kill(2).await;
    nodes.join(2, 0).await?;
    // Twice the time in which a new one would have been taken in.
    let asked = eventually("a new member is taken in meanwhile", async || {
        let status = nodes.count(2).status().await.role?;
        (status.standing == Standing::Outside).then_some(())
    });
    asked.await?;
    nodes.kill(2).await;
    std::fs::remove_dir_all(nodes.data(2))?;
    nodes.join(2, 0).await?;
    let view = nodes.voters(0, &[0, 1, 2]).await?;
    ensure!(view.waiting.is_empty(), "{view:?}");
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn a_member_that_joins_again_at_another_address_is_dialled_there() -> Result<()> {
    let mut nodes = Nodes::founded(3, 3).await?;
    ensure!(add(nodes.count(0), 3).await? == 3);
    nodes.kill(2).await;
    nodes.ports[2] = free_ports(1)?[0];
    nodes.join(2, 0).await?;
    let moved = nodes.address(2);
    let is_there =
        |view: &MembersView| view.members.iter().any(|member| member.raft == moved && member.connected);
    nodes.eventually_list(0, "it is dialled at the new address", is_there).await?;
    nodes.kill(0).await;
    ensure!(add(nodes.count(1), 3).await? == 6, "with it there is a majority");
    // It needs no flag any more.
    nodes.kill(2).await;
    nodes.start(2, nodes.plain(2)).await?;
    ensure!(add(nodes.count(2), 3).await? == 9);
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn wrong_orders_are_refused_with_their_numbers() -> Result<()> {
    let mut nodes = Nodes::founded(4, 3).await?;
    let view = nodes.voters(0, &[0, 1, 2]).await?;
    let members = || nodes.count(0).members();
    let outdated = members().expecting(view.index + 7).remove(id(2)).await.expect_err("another index");
    let (expected, present) = (quorate::Index(view.index + 7), quorate::Index(view.index));
    assert_eq!(refusal(outdated), ChangeRefusal::Outdated { expected, present });
    let unknown = members().remove(id(9)).await.expect_err("it is none");
    assert_eq!(refusal(unknown), ChangeRefusal::UnknownMember { node: id(9) });
    let voter = members().promote(id(1)).await.expect_err("it votes");
    assert_eq!(refusal(voter), ChangeRefusal::AlreadyVoter { node: id(1) });
    let bad = members().add(id(3), "nowhere", "").await.expect_err("no port");
    ensure!(matches!(bad, ChangeError::Address { .. }), "{bad}");
    let taken = members().add(id(3), &nodes.address(1), "").await.expect_err("of node1");
    ensure!(matches!(&taken, ChangeError::AddressTaken { other, .. } if *other == id(1)), "{taken}");
    // A learner that never answers is none to promote.
    members().add(id(3), &nodes.address(3), "").await?;
    let away = members().promote(id(3)).await.expect_err("it is not there");
    assert_eq!(refusal(away), ChangeRefusal::NotConnected { node: id(3) });
    members().remove(id(3)).await?;
    let view = nodes.voters(0, &[0, 1, 2]).await?;
    ensure!(view.members.len() == 3, "{view:?}");
    let leader = (0..3).find(|at| id(*at) == view.leader).context("one of the three leads")?;
    let (away, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes.kill(away).await;
    let needed = eventually("the leader notices that one is away", async || {
        let refused = nodes.count(leader).members().remove(id(stays)).await.err()?;
        matches!(refused, ChangeError::Refused(ChangeRefusal::NoQuorum { .. })).then_some(refused)
    })
    .await?;
    assert_eq!(refusal(needed), ChangeRefusal::NoQuorum { voters: 2, needed: 2, connected: 1 });
    nodes.stop_all().await;
    Ok(())
}

/// Nothing says that it will not happen: the leader may come to reach the others again.
#[tokio::test]
async fn a_change_that_no_majority_takes_is_unknown() -> Result<()> {
    let mut nodes = Nodes::founded(4, 3).await?;
    let view = nodes.voters(0, &[0, 1, 2]).await?;
    let leader = (0..3).find(|at| id(*at) == view.leader).context("one of the three leads")?;
    for away in (0..3).filter(|at| *at != leader) {
        nodes.kill(away).await;
    }
    let members = nodes.count(leader).members().within(std::time::Duration::from_secs(3));
    let unknown = members.add(id(3), &nodes.address(3), "").await.expect_err("no one else has it");
    assert_eq!(unknown.outcome(), Outcome::Unknown, "{unknown}");
    nodes.stop_all().await;
    Ok(())
}

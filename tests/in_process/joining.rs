//! Processes that join, in the odd orders in which that happens (`docs/decisions/0052-members-in-the-runtime.md`).

use anyhow::{Context, Result, ensure};
use quorate::machine::{Counter, Total};
use quorate::{ChangeError, Consistency, MemberKind, MembersView, Outcome, Standing};
use quorate_tests::cluster::add;
use quorate_tests::wait::{PATIENCE, eventually};

use super::members::{Nodes, id};

fn kind(view: &MembersView, at: usize) -> Option<MemberKind> {
    view.members.iter().find(|member| member.id == id(at)).map(|member| member.kind)
}

fn all_known(view: &MembersView) -> bool {
    view.members.iter().all(|member| member.incarnation.0 != 0)
}

/// With the same flags it made a cluster of its own of that directory, and acknowledged writes.
#[tokio::test]
async fn rule_14_a_directory_that_is_to_join_founds_nothing_when_its_first_start_broke_off() -> Result<()> {
    let mut nodes = Nodes::founded(3, 1).await?;
    ensure!(add(nodes.count(0), 10).await? == 10);
    // Before a group was opened.
    let node = nodes.joiner(1, 0).start().await?;
    node.kill().await;
    nodes.join(1, 0).await?;
    nodes.voters(0, &[0, 1]).await?;
    // Its port was taken.
    let taken = std::net::TcpListener::bind(nodes.address(2))?;
    ensure!(nodes.joiner(2, 0).start().await.is_err());
    drop(taken);
    nodes.join(2, 0).await?;
    nodes.voters(0, &[0, 1, 2]).await?;
    ensure!(add(nodes.count(2), 1).await? == 11);
    nodes.stop_all().await;
    Ok(())
}

/// One connection is for all groups. The disk that replaced another one in one group answered for it in the others, with acknowledgements and
/// votes.
#[tokio::test]
async fn rule_14_a_disk_is_a_member_of_those_groups_alone_that_took_it_in() -> Result<()> {
    let mut nodes = Nodes::founded(3, 3).await?;
    let mut others = Vec::new();
    for at in 0..3 {
        others.push(nodes.running[&at].0.group("other", Counter::default()).await?);
    }
    ensure!(add(&others[0], 5).await? == 5);
    eventually("all are known", async || others[0].members().list().await.ok().filter(all_known)).await?;
    nodes.eventually_list(0, "all are known", all_known).await?;
    nodes.kill(2).await;
    std::fs::remove_dir_all(nodes.data(2))?;
    nodes.join(2, 0).await?;
    let other = nodes.running[&2].0.group("other", Counter::default()).await?;
    nodes.eventually_list(0, "it waits", |view| !view.waiting.is_empty()).await?;
    nodes.count(0).members().replace(id(2)).await?;
    nodes.voters(0, &[0, 1, 2]).await?;
    ensure!(add(&others[1], 5).await? == 10, "two of three");
    let role = other.status().await.role.context("it has a role")?;
    ensure!((role.standing, role.last) == (Standing::Outside, 0), "{role:?}");
    let waits = |view: &MembersView| view.waiting.iter().any(|joiner| joiner.id == id(2));
    eventually("it waits there", async || others[0].members().list().await.ok().filter(&waits)).await?;
    others[0].members().replace(id(2)).await?;
    eventually("it votes there, too", async || {
        let view = others[0].members().list().await.ok()?;
        (kind(&view, 2) == Some(MemberKind::Voter) && !view.under_way).then_some(())
    })
    .await?;
    nodes.kill(0).await;
    ensure!(add(&other, 5).await? == 15);
    nodes.stop_all().await;
    Ok(())
}

/// As after a replacement under its name: a node that was away knows it by the disk that was removed.
#[tokio::test]
async fn one_that_was_away_follows_a_leader_whose_name_was_removed_and_joined_again() -> Result<()> {
    let mut nodes = Nodes::founded(5, 5).await?;
    ensure!(add(nodes.count(0), 5).await? == 5);
    nodes.eventually_list(0, "all are known", all_known).await?;
    eventually("the one that will be away has them, too", async || {
        let role = nodes.count(3).status().await.role?;
        role.members.iter().all(|member| member.incarnation != 0).then_some(())
    })
    .await?;
    nodes.kill(3).await;
    nodes.kill(4).await;
    std::fs::remove_dir_all(nodes.data(4))?;
    eventually("it is removed", async || nodes.count(0).members().remove(id(4)).await.ok()).await?;
    nodes.join(4, 0).await?;
    let view = nodes.voters(0, &[0, 1, 2, 3, 4]).await?;
    let leader = (0..3).find(|at| id(*at) == view.leader).context("one of the three leads")?;
    nodes.count(leader).transfer(Some(id(4)), PATIENCE).await?;
    ensure!(add(nodes.count(1), 5).await? == 10);
    nodes.start(3, nodes.plain(3)).await?;
    eventually("it has what the new leader sends", async || {
        let total = nodes.count(3).query(Total, Consistency::Linearizable).await.ok()?;
        (total == 10 && nodes.count(3).leader() == Some(id(4))).then_some(())
    })
    .await?;
    nodes.stop_all().await;
    Ok(())
}

/// Whichever disk comes first has the name: the one that was removed is not waited for.
#[tokio::test]
async fn a_name_that_is_added_by_command_is_that_of_the_disk_that_comes() -> Result<()> {
    let mut nodes = Nodes::founded(3, 3).await?;
    ensure!(add(nodes.count(0), 5).await? == 5);
    nodes.eventually_list(0, "all are known", all_known).await?;
    nodes.count(0).members().remove(id(2)).await?;
    nodes.kill(2).await;
    std::fs::remove_dir_all(nodes.data(2))?;
    let address = nodes.address(2);
    let without = nodes.count(0).members().add(id(2), "", "").await.expect_err("it cannot be dialled");
    ensure!(
        matches!(without, ChangeError::Address { .. }) && without.outcome() == Outcome::Refused,
        "{without}"
    );
    nodes.count(0).members().add(id(2), &address, "").await?;
    nodes.join(2, 0).await?;
    let view = nodes.voters(0, &[0, 1, 2]).await?;
    ensure!(all_known(&view), "{view:?}");
    nodes.kill(1).await;
    ensure!(add(nodes.count(2), 5).await? == 10, "it is one of two");
    nodes.stop_all().await;
    Ok(())
}

/// It was taken in, and no member had a link to it.
#[tokio::test]
async fn a_directory_of_another_cluster_is_not_taken_in() -> Result<()> {
    let mut nodes = Nodes::founded(4, 1).await?;
    ensure!(add(nodes.count(0), 5).await? == 5);
    // It was started with a list by mistake: of itself and of a node that never came.
    let wrong = nodes.plain(1).peer("node2", &nodes.address(2));
    nodes.start(1, wrong).await?;
    nodes.kill(1).await;
    nodes.join(1, 0).await?;
    // Another one is taken in meanwhile.
    nodes.join(3, 0).await?;
    let view = nodes.voters(0, &[0, 3]).await?;
    ensure!(kind(&view, 1).is_none(), "{view:?}");
    nodes.stop_all().await;
    Ok(())
}

#[tokio::test]
async fn a_vote_that_was_taken_by_command_is_given_back_by_command_alone() -> Result<()> {
    let mut nodes = Nodes::founded(4, 2).await?;
    nodes.join(2, 0).await?;
    nodes.voters(0, &[0, 1, 2]).await?;
    nodes.count(0).members().demote(id(2)).await?;
    nodes.kill(2).await;
    nodes.join(2, 0).await?;
    // Another one becomes a voter meanwhile.
    nodes.join(3, 0).await?;
    let view = nodes.voters(0, &[0, 1, 3]).await?;
    ensure!(kind(&view, 2) == Some(MemberKind::Learner), "{view:?}");
    eventually("it has caught up, and is promoted", async || {
        nodes.count(0).members().promote(id(2)).await.ok()
    })
    .await?;
    nodes.voters(0, &[0, 1, 2, 3]).await?;
    nodes.stop_all().await;
    Ok(())
}

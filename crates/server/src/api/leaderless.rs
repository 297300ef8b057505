//! Why a group that reaches its nodes has no leader all the same.

use quorate::{GroupStatus, RoleStatus, Standing};

/// A cluster that was never complete has no leader, and says whom it waits for. One of which a majority recovers has none either, and
/// never will by itself.
pub(super) fn no_leader(status: &GroupStatus) -> String {
    let waits_for = status.role.as_ref().map(|role| role.waits_for.join(", ")).unwrap_or_default();
    if waits_for.is_empty() {
        let recovers = status.role.as_ref().and_then(|role| recovering(&status.node, role));
        return recovers.map_or_else(|| "none".to_owned(), |recovers| format!("none: {recovers}"));
    }
    format!(
        "none: the cluster is not founded yet, since this node has not reached {waits_for} once; start it, or correct its address"
    )
}

/// Which nodes lost entries that they may have acknowledged, and what that means for an election.
fn recovering(me: &str, role: &RoleStatus) -> Option<String> {
    let mut names: Vec<&str> = role.recovering.iter().map(String::as_str).collect();
    if role.standing == Standing::Recovering {
        names.push(me);
    }
    // Every node says the same words, whichever of them it is.
    names.sort_unstable();
    if names.is_empty() {
        return None;
    }
    let voters = role.members.iter().filter(|member| member.voter);
    let (lost, whole): (Vec<_>, Vec<_>) = voters.partition(|member| names.contains(&member.id.as_str()));
    let verb = if names.len() == 1 { "recovers and gives" } else { "recover and give" };
    let said = format!("{} {verb} no vote", names.join(", "));
    // A majority of all voters elects, without those that recover.
    let remedy = if whole.len() > lost.len() {
        "the others elect a leader once a majority of all voters is among them"
    } else {
        "no majority of the voters is left without them, so there will be no leader: stop each of them and put its last `db.damaged-N` \
         back as `db` (docs/reference/data-directory.md)"
    };
    Some(format!("{said}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use quorate::MemberStatus;

    use super::*;

    fn role(standing: Standing, recovering: &[&str]) -> RoleStatus {
        let member = |id: &str| MemberStatus {
            id: id.to_owned(),
            raft: String::new(),
            api: String::new(),
            voter: true,
            incarnation: 0,
        };
        RoleStatus {
            role: "follower".to_owned(),
            standing,
            term: 1,
            first: 1,
            snapshot: 0,
            last: 0,
            durable: 0,
            commit: 0,
            applied: 0,
            apply_lag: 0,
            apply_lag_bytes: 0,
            chain: String::new(),
            members: ["node0", "node1", "node2"].map(member).into(),
            peers: Vec::new(),
            waits_for: Vec::new(),
            recovering: recovering.iter().map(ToString::to_string).collect(),
            removed: false,
            full_voters: Vec::new(),
        }
    }

    /// "none" was all that was said, while every link was up.
    #[test]
    fn a_majority_that_recovers_is_named_with_the_remedy() {
        let said = recovering("node2", &role(Standing::Voter, &["node0", "node1"])).expect("a reason");
        assert!(said.starts_with("node0, node1 recover and give no vote; no majority"), "{said}");
        assert!(said.contains("put its last `db.damaged-N` back"), "{said}");
        let said = recovering("node0", &role(Standing::Recovering, &["node1"])).expect("a reason");
        assert!(said.starts_with("node0, node1 recover") && said.contains("db.damaged-N"), "{said}");
        let of_the_other = recovering("node1", &role(Standing::Recovering, &["node0"])).expect("a reason");
        assert_eq!(of_the_other, said, "each of them names both, in one order");
        let said = recovering("node0", &role(Standing::Recovering, &[])).expect("a reason");
        assert_eq!(
            said,
            "node0 recovers and gives no vote; the others elect a leader once a majority of all voters is among them"
        );
        assert_eq!(recovering("node2", &role(Standing::Voter, &[])), None);
    }
}

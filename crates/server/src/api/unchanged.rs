//! Why the members were not changed, as a problem: the arithmetic of a refusal is in its detail.

use quorate::{ChangeError, ChangeRefusal, Outcome};

use super::code::Code;
use super::problem::Problem;

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let (code, index) = match &error {
            ChangeError::Refused(refusal) => (of_refusal(refusal), present(refusal)),
            ChangeError::NoLeader { .. } | ChangeError::NotLeader { .. } => (Code::NoLeader, None),
            ChangeError::NoJoiner { .. } => (Code::NoJoiner, None),
            ChangeError::OldBuild { .. } => (Code::OldBuild, None),
            ChangeError::Address { .. } => (Code::BadMember, None),
            ChangeError::AddressTaken { .. } => (Code::AddressTaken, None),
            ChangeError::NoSuchGroup { .. } => (Code::NoSuchGroup, None),
            ChangeError::Unreadable { .. } => (Code::NotReadByLeader, None),
            ChangeError::Stopped { .. } => (Code::Stopped, None),
            ChangeError::Unknown { .. } => (Code::ChangeUnfinished, None),
            other if other.outcome() == Outcome::Unknown => (Code::ChangeUnfinished, None),
            _ => (Code::NotReady, None),
        };
        debug_assert_eq!(code.about().outcome, error.outcome(), "{error}");
        Self { index, ..Self::new(code, error.to_string()) }
    }
}

fn of_refusal(refusal: &ChangeRefusal) -> Code {
    match refusal {
        ChangeRefusal::Outdated { .. } => Code::MembersOutdated,
        ChangeRefusal::UnderWay { .. } => Code::ChangeInProgress,
        ChangeRefusal::NoSpace | ChangeRefusal::NoSpaceAtPeers { .. } => Code::NoSpace,
        ChangeRefusal::UnknownMember { .. } => Code::NoSuchMember,
        ChangeRefusal::AlreadyMember { .. } => Code::MemberExists,
        ChangeRefusal::AlreadyVoter { .. }
        | ChangeRefusal::AlreadyLearner { .. }
        | ChangeRefusal::Unchanged { .. } => Code::NothingToChange,
        ChangeRefusal::SameIncarnation { .. } => Code::NoJoiner,
        ChangeRefusal::LastVoter { .. } => Code::LastVoter,
        ChangeRefusal::NoQuorum { .. } => Code::NoQuorum,
        ChangeRefusal::FarBehind { .. }
        | ChangeRefusal::NotConnected { .. }
        | ChangeRefusal::Recovering { .. } => Code::NotCaughtUp,
        // A leader that is new, or about to give way: asked again a moment later, it or the next one takes the change. Or one of a newer
        // library.
        _ => Code::NotReady,
    }
}

fn present(refusal: &ChangeRefusal) -> Option<u64> {
    if let ChangeRefusal::Outdated { present, .. } = refusal { Some(present.0) } else { None }
}

#[cfg(test)]
mod tests {
    use quorate::{Index, NodeId};

    use super::*;

    fn refused(refusal: ChangeRefusal) -> (Code, String) {
        let problem = Problem::from(ChangeError::Refused(refusal));
        (problem.code, problem.detail)
    }

    #[test]
    fn rule_13_a_change_is_unknown_only_if_it_may_have_happened() {
        let (node, detail) = (|| NodeId::new("node2").expect("a name"), || "said".to_owned());
        let errors = [
            ChangeError::Refused(ChangeRefusal::LastVoter { node: node() }),
            ChangeError::NoLeader { detail: detail(), waited_ms: 1 },
            ChangeError::NotLeader { leader: Some(node()) },
            ChangeError::NoJoiner { node: node() },
            ChangeError::OldBuild { nodes: vec![detail()] },
            ChangeError::Address { node: node(), address: detail() },
            ChangeError::AddressTaken { address: detail(), other: node() },
            ChangeError::NoSuchGroup { group: detail(), node: detail() },
            ChangeError::Unreadable { detail: detail() },
            ChangeError::Stopped { detail: detail() },
            ChangeError::Unknown { detail: detail() },
        ];
        for error in errors {
            let problem = Problem::from(error.clone());
            assert_eq!(problem.code.about().outcome, error.outcome(), "{error}");
            assert_eq!(problem.detail, error.to_string());
        }
    }

    #[test]
    fn a_refusal_shows_its_arithmetic_and_the_membership_in_force() {
        let outdated = ChangeRefusal::Outdated { expected: Index(4), present: Index(7) };
        let problem = Problem::from(ChangeError::Refused(outdated));
        assert_eq!((problem.code, problem.index), (Code::MembersOutdated, Some(7)));
        let (code, detail) = refused(ChangeRefusal::NoQuorum { voters: 3, needed: 2, connected: 1 });
        assert_eq!(code, Code::NoQuorum);
        assert!(detail.contains("of 3 voters 2 are needed, and 1 are connected"), "{detail}");
        let node = NodeId::new("node3").expect("a name");
        let (code, detail) = refused(ChangeRefusal::FarBehind { node, lag: 5_000, lag_max: 1_024 });
        assert_eq!(code, Code::NotCaughtUp);
        assert!(detail.contains("lacks 5000 entries, 1024 are allowed"), "{detail}");
    }
}

//! The process's limit of open files, and who may use how many of them.
//!
//! A store that cannot open a file has failed, and its node ends: strangers must never be able to use up what the store and the
//! links need. So the limit is raised as far as it may be, a reserve is set aside, and what is left is the number of places for
//! connections from outside: those of clients at the API, and those at the port of the nodes.
//!
//! It never: lowers a limit, or lets a node start that could not keep its reserve.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the process itself: standard streams, the runtime, signals, name lookups.
const PROCESS_FILES: u64 = 32;
/// For the store of one node: 64 tables that it keeps open (`TABLE_FILES_MAX` of the store), and as many again for journals, its
/// lock and anchor, and the tables that a compaction reads and writes.
const STORE_FILES: u64 = 128;
/// For the connections that one node makes: a link to each peer, with a second one while it is replaced.
const LINK_FILES: u64 = 32;
/// For questions to the APIs of other nodes: [`PEER_CALLS_MAX`] at a time.
const PEER_FILES: u64 = PEER_CALLS_MAX as u64;
/// For connections in the lobby of one node's API: [`LOBBY_CONNECTIONS_MAX`].
const LOBBY_FILES: u64 = LOBBY_CONNECTIONS_MAX as u64;
/// For the runtime and the listening sockets of one node.
const NODE_FILES: u64 = 16;
/// Fewer places than this are not worth a start: members connect, clients connect, and someone looks at what is wrong.
const PLACES_MIN: u64 = 64;
/// One of so many places is at the port of the nodes; the others are the API's.
const RAFT_SHARE: u64 = 4;
/// What systems accept that refuse to be asked for everything (macOS).
const SOFT_LIMIT_FALLBACK: u64 = 10_240;

/// Calls of one node to the APIs of others, at a time.
pub(crate) const PEER_CALLS_MAX: usize = 32;
/// Connections to the API of one node that have no place (`serve/lobby.rs`).
pub(crate) const LOBBY_CONNECTIONS_MAX: usize = 32;

/// How many connections from outside one node may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// At the API.
    pub api: usize,
    /// At the port of the nodes, for peers and clients of the bridge.
    pub raft: usize,
}

/// The limit is too low to serve at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "at most {limit} files may be open in this process, and it needs {needed}: {process} for itself, and for each of {nodes} nodes \
     {store} for its store, {links} for its links and listeners and {places} for connections; raise the hard limit \
     (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container)",
    process = PROCESS_FILES,
    store = STORE_FILES,
    links = LINK_FILES + PEER_FILES + LOBBY_FILES + NODE_FILES,
    places = PLACES_MIN
)]
pub struct TooFewFiles {
    /// The limit.
    pub limit: u64,
    /// What is needed at least.
    pub needed: u64,
    /// Nodes in this process.
    pub nodes: u16,
}

/// Raises the soft limit of open files to the hard one, as far as the system lets it, and gives the limit that holds then.
pub fn raise_file_limit() -> u64 {
    let unlimited = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    for wanted in [unlimited(maximum), unlimited(maximum).min(SOFT_LIMIT_FALLBACK)] {
        if wanted <= unlimited(current) {
            break;
        }
        let raised = Rlimit { current: (wanted != u64::MAX).then_some(wanted), maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    unlimited(getrlimit(Resource::Nofile).current)
}

/// The places of each of `nodes` nodes in a process that may have `limit` files open.
pub fn places(limit: u64, nodes: u16) -> Result<Places, TooFewFiles> {
    let of_node = STORE_FILES + LINK_FILES + PEER_FILES + LOBBY_FILES + NODE_FILES;
    let count = u64::from(nodes.max(1));
    let needed = PROCESS_FILES + count * (of_node + PLACES_MIN);
    if limit < needed {
        return Err(TooFewFiles { limit, needed, nodes });
    }
    let left = (limit - PROCESS_FILES) / count - of_node;
    let of = |places: u64| usize::try_from(places).unwrap_or(usize::MAX);
    Ok(Places { api: of(left - left / RAFT_SHARE), raft: of(left / RAFT_SHARE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_reserve_are_never_more_than_the_limit() {
        let reserve = |nodes: u64| {
            PROCESS_FILES + nodes * (STORE_FILES + LINK_FILES + PEER_FILES + LOBBY_FILES + NODE_FILES)
        };
        for (limit, nodes) in [(336, 1), (1_024, 1), (1_024, 3), (4_096, 9), (1 << 20, 3), (u64::MAX, 1)] {
            let places = places(limit, nodes).expect("enough");
            let given = (places.api + places.raft) as u64;
            let nodes = u64::from(nodes);
            assert!(reserve(nodes) + nodes * given <= limit, "{limit}: {places:?}");
            assert!(
                given >= PLACES_MIN && places.api > places.raft && places.raft > 0,
                "{limit}: {places:?}"
            );
        }
    }

    #[test]
    fn a_limit_that_is_too_low_is_refused_with_numbers() {
        let refused = places(335, 1).expect_err("too few");
        assert_eq!(refused, TooFewFiles { limit: 335, needed: 336, nodes: 1 });
        let said = refused.to_string();
        assert!(said.contains("at most 335 files") && said.contains("needs 336"), "{said}");
        assert!(places(1_151, 4).is_err(), "each node has a reserve of its own");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let raised = raise_file_limit();
        assert_eq!(Some(raised), getrlimit(Resource::Nofile).current.or(Some(u64::MAX)));
        assert!(Some(raised) >= before.current, "it was {before:?}, it is {raised}");
        assert_eq!(raise_file_limit(), raised, "there is nothing more to raise");
    }
}

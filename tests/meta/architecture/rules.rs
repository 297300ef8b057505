//! The arrows that are allowed, as data, each with its reason (`docs/ARCHITECTURE.md`).

/// A crate of the workspace and the crates of the workspace it may depend on, in any kind of dependency; beside [`IN_TESTS`].
pub(crate) const CRATES: &[(&str, &[&str])] = &[
    ("quorate-core", &[]),
    ("quorate-log-lines", &[]),
    ("quorate-store", &["quorate-core"]),
    ("quorate-bridge", &[]),
    ("quorate", &["quorate-core", "quorate-store", "quorate-bridge"]),
    ("quorate-server", &["quorate"]),
    ("quorate-testkit", &["quorate", "quorate-store", "quorate-core"]),
    ("quorate-examples", &["quorate", "quorate-bridge", "quorate-core", "quorate-server", "quorate-testkit"]),
    ("quorate-tests", &["quorate", "quorate-bridge", "quorate-core", "quorate-server", "quorate-testkit"]),
    ("quorate-fuzz", &["quorate", "quorate-bridge", "quorate-core", "quorate-server"]),
    ("quorate-bench", &["quorate", "quorate-bridge", "quorate-core", "quorate-server", "quorate-testkit"]),
];

/// What the tests of a crate may use besides: the server's start its binary, which cargo builds for a test of that crate alone.
pub(crate) const IN_TESTS: &[(&str, &str)] = &[
    ("quorate-store", "quorate-log-lines"),
    ("quorate", "quorate-log-lines"),
    ("quorate-server", "quorate-core"),
    ("quorate-server", "quorate-testkit"),
    ("quorate-server", "quorate-tests"),
];

/// What core may depend on besides; the list is exact, so that an addition is a decision (`docs/decisions`).
pub(crate) const CORE_DEPENDENCIES: &[&str] = &["blake3", "bytes", "rmp-serde", "serde", "thiserror"];

/// What must not be anywhere below core.
pub(crate) const NEVER_BELOW_CORE: &[&str] =
    &["tokio", "ractor", "fjall", "rand", "fastrand", "mio", "socket2", "tempfile", "tracing", "chrono"];

/// What is forbidden.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forbidden {
    /// This path and everything below it.
    Path(&'static str),
    /// This word, in any path.
    Word(&'static str),
    /// Any word that contains this, in small letters.
    Part(&'static str),
}

/// What some files must not name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// Files and directories, from the top of the repository.
    pub(crate) within: &'static [&'static str],
    /// But not these. Each must still need it.
    pub(crate) except: &'static [&'static str],
    /// What they must not name.
    pub(crate) forbidden: &'static [Forbidden],
    /// Why.
    pub(crate) why: &'static str,
}

use Forbidden::{Part, Path, Word};

/// Why the bridge's directories do not import those above them.
const FLOORS: &str =
    "each floor of the bridge imports only those before it: identity, frame, connection, endpoint, actors";

/// The rules.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        within: &["crates/core/src"],
        except: &[],
        forbidden: &[
            Path("tokio"),
            Path("ractor"),
            Path("fjall"),
            Path("rand"),
            Path("tracing"),
            Path("std::time::Instant"),
            Path("std::time::SystemTime"),
            Path("std::fs"),
            Path("std::net"),
            Path("std::thread"),
            Path("std::env"),
            Path("std::process"),
            Path("std::sync::Mutex"),
            Path("std::sync::RwLock"),
            Word("RandomState"),
            Word("HashMap"),
            Word("HashSet"),
        ],
        why: "core is a function of its arguments: no clock, chance, I/O, lock, or map whose order differs from run to run",
    },
    Rule {
        within: &["crates/bridge/src"],
        except: &[],
        forbidden: &[
            Path("quorate_core"),
            Path("quorate"),
            Path("fjall"),
            Part("raft"),
            Word("HardState"),
            Word("voted_for"),
            Word("Term"),
        ],
        why: "the bridge carries any typed actor and knows nothing of Raft",
    },
    Rule {
        within: &["crates/bridge/src/identity"],
        except: &[],
        forbidden: &[
            Path("crate::frame"),
            Path("crate::connection"),
            Path("crate::endpoint"),
            Path("crate::actors"),
            Path("crate::handle"),
        ],
        why: FLOORS,
    },
    Rule {
        within: &["crates/bridge/src/frame"],
        except: &[],
        forbidden: &[
            Path("crate::connection"),
            Path("crate::endpoint"),
            Path("crate::actors"),
            Path("crate::handle"),
        ],
        why: FLOORS,
    },
    Rule {
        within: &["crates/bridge/src/connection"],
        except: &[],
        forbidden: &[Path("crate::endpoint"), Path("crate::actors"), Path("crate::handle")],
        why: FLOORS,
    },
    Rule {
        within: &["crates/bridge/src/endpoint"],
        except: &[],
        forbidden: &[Path("crate::actors"), Path("crate::handle")],
        why: FLOORS,
    },
    Rule {
        within: &["crates/quorate/src"],
        except: &[],
        forbidden: &[Word("HardState"), Word("voted_for"), Word("raise_term")],
        why: "term and vote belong to core's roles; the store writes them as they are given, all others pass them on unread",
    },
    Rule {
        within: &["crates/quorate/src"],
        except: &[],
        forbidden: &[
            Word("VoteRequest"),
            Word("VoteReply"),
            Word("AppendReply"),
            Word("AppendResult"),
            Word("raise_term"),
        ],
        why: "votes and acknowledgements are made in core: a shell that answered beside the role lost committed data elsewhere",
    },
    Rule {
        within: &["crates/quorate/src/role"],
        except: &[],
        forbidden: &[
            Path("crate::node"),
            Path("crate::machine"),
            Path("std::fs"),
            Path("std::time::SystemTime"),
        ],
        why: "a role knows neither the process around it nor the machine its entries are for",
    },
    Rule {
        within: &["crates/quorate/src/role/replicator.rs"],
        except: &[],
        forbidden: &[
            Path("crate::store"),
            Path("crate::log_store"),
            Path("crate::messages::store"),
            Path("quorate_store"),
            Path("crate::applier"),
            Path("crate::group"),
            Word("StoreMessage"),
            Word("StoreRequest"),
            Word("GroupMessage"),
            Word("ApplierMessage"),
            Word("HardState"),
        ],
        why: "a replicator owns a window; what it needs it asks of its leader, and acknowledgements are not its business",
    },
    Rule {
        within: &["crates/quorate/src/applier", "crates/quorate/src/host"],
        except: &[],
        forbidden: &[
            Path("crate::store"),
            Path("crate::log_store"),
            Path("crate::messages::store"),
            Path("quorate_store"),
            Path("crate::node"),
            Path("crate::clock"),
            Path("crate::role"),
            Path("crate::messages::role"),
            Path("crate::messages::replicator"),
            Word("LeaderMessage"),
            Word("RoleMessage"),
            Word("ReplicatorMessage"),
            Word("Submission"),
            Word("StoreMessage"),
            Word("StoreRequest"),
        ],
        why: "the applier asks nothing: it is handed entries, and tells the role along the route how far it is",
    },
    Rule {
        within: &["crates/store/src"],
        except: &[],
        forbidden: &[
            Path("ractor"),
            Path("tokio"),
            Path("quorate_bridge"),
            Path("quorate"),
            Path("std::net"),
        ],
        why: "the store keeps bytes, never decides what they mean, and knows no actor: it is called on one thread",
    },
    Rule {
        within: &["crates/store/src"],
        except: &["crates/store/src/tests"],
        forbidden: &[Word("HardState"), Word("as_hard_state"), Word("voted_for"), Word("raise_term")],
        why: "a hard state is a record that core interprets: the store keeps it, and asks core which of two copies counts",
    },
    Rule {
        within: &["crates/quorate/src/log_store"],
        except: &[],
        forbidden: &[
            Path("crate::group"),
            Path("crate::role"),
            Path("crate::applier"),
            Path("crate::node"),
            Path("crate::machine"),
            Path("crate::protocol"),
            Path("quorate_bridge"),
        ],
        why: "the log store's actor gathers and hands on; it holds no reply back for a role",
    },
    Rule {
        within: &["crates/store/src", "crates/quorate/src"],
        except: &["crates/store/src/disk/fjall"],
        forbidden: &[Path("fjall")],
        why: "fjall stores and we verify: one directory knows its API, all else goes through the `Disk` seam",
    },
    Rule {
        within: &["crates/quorate/src/machine"],
        except: &[],
        forbidden: &[
            Path("crate::group"),
            Path("crate::role"),
            Path("crate::applier"),
            Path("crate::node"),
            Path("crate::store"),
            Path("crate::log_store"),
            Path("quorate_store"),
            Path("crate::protocol"),
            Path("crate::clock"),
            Path("tokio"),
            Path("ractor"),
            Path("quorate_bridge"),
            Path("std::fs"),
            Path("std::net"),
            Path("std::thread"),
            Path("std::time::Instant"),
            Path("std::time::SystemTime"),
            Word("HashMap"),
            Word("HashSet"),
        ],
        why: "what is replicated must come out alike everywhere: no actor, clock, chance or I/O beside it",
    },
    Rule {
        within: &["crates/quorate/src/group"],
        except: &[],
        forbidden: &[
            Path("crate::node"),
            Path("crate::store::Store"),
            Path("crate::store::StoreThread"),
            Path("crate::store::StoreHandle"),
            Path("crate::store::Disk"),
            Path("quorate_store::Store"),
            Path("quorate_store::StoreThread"),
            Path("quorate_store::StoreHandle"),
            Path("quorate_store::Disk"),
            Path("quorate_core::Follower"),
            Path("quorate_core::Candidate"),
            Path("quorate_core::Leader"),
            Path("quorate_core::Replicator"),
        ],
        why: "Group is a switchboard: it starts roles and passes state on, it steps none and touches no disk",
    },
    Rule {
        within: &["crates/quorate/src/messages"],
        except: &[],
        forbidden: &[
            Path("crate::applier"),
            Path("crate::client"),
            Path("crate::group"),
            Path("crate::handle"),
            Path("crate::log_store"),
            Path("crate::node"),
            Path("crate::role"),
        ],
        why: "a message is known without the actor that hears it",
    },
    Rule {
        within: &["crates/quorate/src/client"],
        except: &[],
        forbidden: &[
            Path("crate::node"),
            Path("crate::role"),
            Path("crate::applier"),
            Path("crate::store"),
            Path("crate::log_store"),
            Path("quorate_store"),
            Path("quorate_core::Leader"),
            Path("quorate_core::Follower"),
            Path("quorate_core::Message"),
        ],
        why: "a client is outside the cluster: it knows the protocol and nothing of a node's insides",
    },
    Rule {
        within: &["crates/quorate/src/node"],
        except: &[],
        forbidden: &[
            Path("quorate_core::Follower"),
            Path("quorate_core::Candidate"),
            Path("quorate_core::Leader"),
            Path("quorate_core::Replicator"),
            Path("quorate_core::ReplicaState"),
            Path("quorate_core::Message"),
            Path("quorate_core::RoleEvent"),
        ],
        why: "Node owns directories and restarts, and never touches Raft",
    },
    Rule {
        within: &["crates/quorate/src"],
        except: &["crates/quorate/src/clock.rs"],
        forbidden: &[Path("std::time::SystemTime"), Word("RandomState")],
        why: "one file reads the wall clock and the system's chance, so that a simulation can hold both",
    },
    Rule {
        within: &["crates/quorate/src"],
        except: &[
            "crates/quorate/src/host/held.rs",
            "crates/quorate/src/host/workers.rs",
            "crates/quorate/src/client/session_pool.rs",
            "crates/quorate/src/client/nodes.rs",
            "crates/quorate/src/lock.rs",
            "crates/quorate/src/node/owner.rs",
            "crates/quorate/src/node/admission.rs",
            "crates/quorate/src/roster.rs",
        ],
        forbidden: &[Word("Mutex"), Word("RwLock")],
        why: "actors share nothing; what lives above or outside them is locked in the files named here and nowhere else",
    },
    Rule {
        within: &["crates/store/src"],
        except: &[
            "crates/store/src/engine/thread.rs",
            "crates/store/src/disk/sim/disk.rs",
            "crates/store/src/lock.rs",
            "crates/store/src/tests",
        ],
        forbidden: &[Word("Mutex"), Word("RwLock")],
        why: "one thread owns the store: only the handle on it and the simulated disk, which a test shares, are locked",
    },
];

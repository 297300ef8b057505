//! Arrows between crates and between actors: what may know what. A new arrow fails here and is a decision, not an
//! accident. The tables are in `rules.rs`; `docs/ARCHITECTURE.md` says the same in words.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result};
use rules::{CORE_DEPENDENCIES, CRATES, Forbidden, IN_TESTS, NEVER_BELOW_CORE, RULES, Rule};
use serde_json::Value;

use crate::repository::{list, metadata, run, sources, text};
use crate::source::paths::{Named, module_of, paths};

/// The resolved graph of this machine's platform: whatever it needs was downloaded to build this test.
fn graph() -> Result<Value> {
    let told = run(Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names its host")?;
    metadata(&["--filter-platform", host])
}

/// Arrows between crates of the workspace that the table does not allow.
fn wrong_arrows(metadata: &Value) -> Vec<String> {
    let known: BTreeMap<&str, &[&str]> = CRATES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in list(metadata, "packages") {
        let from = text(package, "name");
        let Some(allowed) = known.get(from) else {
            wrong.push(format!("{from} is not in the table"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let to = text(dependency, "name");
            let in_tests = dependency["kind"] == "dev" && IN_TESTS.contains(&(from, to));
            if to.starts_with("quorate") && !allowed.contains(&to) && !in_tests {
                wrong.push(format!("{from} -> {to}"));
            }
        }
    }
    wrong
}

/// Features of ractor that break every actor in the graph, whichever crate asked for them.
fn wrong_features(graph: &Value) -> Vec<String> {
    let ractor = |node: &&Value| {
        let id = text(node, "id");
        id.contains("#ractor@") || id.starts_with("ractor ")
    };
    let nodes: Vec<&Value> = list(&graph["resolve"], "nodes").filter(ractor).collect();
    let features = nodes.iter().flat_map(|node| list(node, "features")).filter_map(Value::as_str);
    let mut wrong: Vec<String> = features
        .filter(|feature| ["cluster", "async-trait"].contains(feature))
        .map(|feature| format!("ractor has feature {feature}"))
        .collect();
    if nodes.len() != 1 {
        wrong.push(format!("ractor is in the graph {} times", nodes.len()));
    }
    wrong
}

/// Every package below `root` in the resolved graph, by normal and build dependencies.
fn below(graph: &Value, root: &str) -> BTreeSet<String> {
    let name = |id: &str| {
        let of = |package: &&Value| text(package, "id") == id;
        list(graph, "packages").find(of).map(|package| text(package, "name").to_owned()).unwrap_or_default()
    };
    let nodes: BTreeMap<&str, &Value> =
        list(&graph["resolve"], "nodes").map(|node| (text(node, "id"), node)).collect();
    let mut open: Vec<&str> = nodes.keys().copied().filter(|id| name(id) == root).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in nodes.get(id).into_iter().flat_map(|node| list(node, "deps")) {
            let real = list(dependency, "dep_kinds").any(|kind| kind["kind"] != "dev");
            if real && seen.insert(text(dependency, "pkg")) {
                open.push(text(dependency, "pkg"));
            }
        }
    }
    seen.into_iter().map(name).collect()
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let prefix: Vec<&str> = prefix.split("::").collect();
    path.len() >= prefix.len() && path.iter().zip(&prefix).all(|(a, b)| a == b)
}

fn breaks(named: &Named, forbidden: Forbidden) -> bool {
    match forbidden {
        Forbidden::Word(word) => named.segments.iter().any(|segment| segment == word),
        Forbidden::Part(part) => named.segments.iter().any(|s| s.to_lowercase().contains(part)),
        Forbidden::Path(path) => {
            // A module brought in by name opens what is below it; the crate's own top is everyone's.
            let module = named.segments.join("::");
            let opens =
                named.imported && named.segments.len() > 1 && path.starts_with(&format!("{module}::"));
            starts_with(&named.segments, path) || opens
        }
    }
}

/// What `source` at `path` breaks of `rule`.
fn violations(rule: &Rule, path: &str, source: &str) -> Vec<String> {
    let (_, in_src) = path.split_once("/src/").unwrap_or(("", path));
    let named = paths(source, &module_of(in_src));
    let found = named.iter().flat_map(|named| {
        let broken = rule.forbidden.iter().filter(|forbidden| breaks(named, **forbidden));
        broken.map(move |_| format!("{path}:{}: {}; {}", named.line, named.segments.join("::"), rule.why))
    });
    found.collect()
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || path.starts_with(&format!("{place}/")))
}

#[test]
fn crates_depend_only_along_the_allowed_arrows() -> Result<()> {
    let wrong = wrong_arrows(&metadata(&["--no-deps"])?);
    assert!(wrong.is_empty(), "arrows that are not in tests/meta/architecture/rules.rs: {wrong:#?}");
    Ok(())
}

#[test]
fn core_depends_on_what_is_listed_and_on_no_runtime() -> Result<()> {
    let all = metadata(&["--no-deps"])?;
    let core = list(&all, "packages").find(|package| text(package, "name") == "quorate-core");
    let real = |dependency: &&Value| dependency["kind"].is_null();
    let direct: BTreeSet<&str> = list(core.context("there is a core")?, "dependencies")
        .filter(real)
        .map(|dependency| text(dependency, "name"))
        .collect();
    assert_eq!(direct, CORE_DEPENDENCIES.iter().copied().collect());
    let below = below(&graph()?, "quorate-core");
    assert!(below.contains("blake3"), "the graph is read: {below:?}");
    let wrong: Vec<&&str> = NEVER_BELOW_CORE.iter().filter(|name| below.contains(**name)).collect();
    assert!(wrong.is_empty(), "below core: {wrong:?}");
    Ok(())
}

#[test]
fn ractor_has_no_feature_that_breaks_actors() -> Result<()> {
    let wrong = wrong_features(&graph()?);
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

#[test]
fn modules_name_only_what_they_may() -> Result<()> {
    let mut wrong = Vec::new();
    for (path, source) in sources("crates")? {
        for rule in RULES.iter().filter(|rule| is_in(&path, rule.within) && !is_in(&path, rule.except)) {
            wrong.extend(violations(rule, &path, &source));
        }
    }
    assert!(wrong.is_empty(), "{} forbidden names:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// A rule for files that were removed guards nothing, and an exception that no file needs is a hole.
#[test]
fn rules_and_exceptions_are_all_in_use() -> Result<()> {
    let sources = sources("crates")?;
    let mut wrong = Vec::new();
    for rule in RULES {
        for place in rule.within.iter().filter(|place| !sources.keys().any(|path| is_in(path, &[place]))) {
            wrong.push(format!("no source is in {place}"));
        }
        for place in rule.except {
            let of_place = sources.iter().filter(|(path, _)| is_in(path, &[place]));
            if !of_place.into_iter().any(|(path, source)| !violations(rule, path, source).is_empty()) {
                wrong.push(format!("{place} does not need its exception from: {}", rule.why));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Whether this source, in this file, would break a rule.
fn is_forbidden(path: &str, source: &str) -> bool {
    let of_path = |rule: &&Rule| is_in(path, rule.within) && !is_in(path, rule.except);
    RULES.iter().filter(of_path).any(|rule| !violations(rule, path, source).is_empty())
}

/// Every shell, not only those that exist today: term, vote and the answers that depend on them are made in core alone.
#[test]
fn bug_21_nothing_beside_a_role_touches_term_or_vote() {
    for shell in
        ["group/actor.rs", "node/actor.rs", "role/replicator.rs", "applier/actor.rs", "protocol.rs", "new.rs"]
    {
        let path = format!("crates/quorate/src/{shell}");
        for touch in [
            "s.voted_for = None;",
            "s.raise_term(t);",
            "HardState { ..h };",
            "AppendReply { ..r };",
            "VoteReply { ..r };",
        ] {
            assert!(is_forbidden(&path, &format!("fn f() {{ let _ = {touch} }}")), "{path} may {touch}");
        }
    }
    assert!(is_forbidden("crates/bridge/src/link.rs", "fn f(t: Term) {}"), "the bridge knows no term");
}

#[test]
fn the_checker_sees_what_it_must() {
    for (path, source) in [
        ("crates/core/src/tail.rs", "use tokio::time;"),
        ("crates/core/src/tail.rs", "use std::{fmt, time::{Duration, Instant}};"),
        ("crates/core/src/tail.rs", "use std::time;"),
        ("crates/core/src/tail.rs", "use std::fs as files;"),
        ("crates/core/src/tail.rs", "fn f() { let _ = ::std::thread::current(); }"),
        ("crates/core/src/tail.rs", "fn f() { let now = std::time::SystemTime::now(); }"),
        ("crates/bridge/src/core.rs", "use quorate_core::NodeId;"),
        ("crates/bridge/src/core.rs", "struct RaftLane;"),
        ("crates/quorate/src/group/actor.rs", "use quorate_core::HardState;"),
        ("crates/quorate/src/node/actor.rs", "fn f(s: &S) { s.voted_for.clone(); }"),
        ("crates/quorate/src/role/leader.rs", "fn f() { quorate_core::AppendReply { } }"),
        ("crates/quorate/src/role/replicator.rs", "use crate::store::StoreMessage;"),
        ("crates/quorate/src/role/replicator.rs", "use super::super::store;"),
        ("crates/quorate/src/applier/actor.rs", "use crate::role::{GroupContext, LeaderMessage};"),
        ("crates/quorate/src/applier/actor.rs", "use super::super::role::runner::Runner;"),
        ("crates/quorate/src/log_store/actor.rs", "use crate::{group, error};"),
        ("crates/store/src/engine/write.rs", "fn f() { fjall::Database::builder(p); }"),
        ("crates/store/src/engine/write.rs", "use ractor::ActorRef;"),
        ("crates/store/src/engine/write.rs", "fn f(hard: &HardRecord) { hard.as_hard_state(); }"),
        ("crates/quorate/src/machine/mod.rs", "use std::collections::HashMap;"),
        ("crates/quorate/src/role/runner.rs", "use std::sync::Mutex;"),
    ] {
        assert!(is_forbidden(path, source), "not seen in {path}: {source}");
    }
    for (path, source) in [
        (
            "crates/core/src/tail.rs",
            "// use tokio::time;\nuse std::time::Duration;\nconst T: &str = \"std::fs\";",
        ),
        ("crates/bridge/src/core.rs", "/// Raft rides on it.\nuse tokio::net::TcpStream; struct Fragment;"),
        ("crates/store/src/disk/fjall/database.rs", "use fjall::Database;"),
        ("crates/store/src/disk/mod.rs", "mod fjall;\npub use self::fjall::FjallDisk;"),
        ("crates/quorate/src/applier/actor.rs", "use crate::context::GroupContext;"),
        ("crates/quorate/src/restarts.rs", "#[cfg(test)] mod tests { use super::*; }"),
    ] {
        assert!(!is_forbidden(path, source), "wrongly seen in {path}: {source}");
    }
}

#[test]
fn the_checker_sees_wrong_crates_and_features() {
    let arrows = |text: &str| wrong_arrows(&serde_json::from_str(text).expect("json"));
    let package = |name: &str, on: &str| {
        format!(r#"{{"packages":[{{"name":"{name}","dependencies":[{{"name":"{on}","kind":null}}]}}]}}"#)
    };
    assert_eq!(arrows(&package("quorate-core", "quorate-bridge")), ["quorate-core -> quorate-bridge"]);
    assert_eq!(arrows(&package("quorate-bridge", "quorate-core")), ["quorate-bridge -> quorate-core"]);
    assert_eq!(arrows(&package("quorate-server", "quorate-core")), ["quorate-server -> quorate-core"]);
    assert_eq!(arrows(&package("quorate-extra", "serde")), ["quorate-extra is not in the table"]);
    assert!(arrows(&package("quorate", "quorate-core")).is_empty());
    let features = |features: &str| {
        let text = format!(
            r#"{{"resolve":{{"nodes":[{{"id":"registry#ractor@0.16.5","features":[{features}]}}]}}}}"#
        );
        wrong_features(&serde_json::from_str(&text).expect("json"))
    };
    assert!(features(r#""tokio_runtime","monitors""#).is_empty());
    assert_eq!(features(r#""monitors","cluster""#), ["ractor has feature cluster"]);
    assert_eq!(features(r#""async-trait""#), ["ractor has feature async-trait"]);
}

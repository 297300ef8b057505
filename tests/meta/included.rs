//! A file with tests that no binary includes never runs. Every Rust source of the workspace is reached from a target's root
//! by `mod` lines, or this fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::repository::{files, from_top, list, metadata, text, top};
use crate::source::modules::Target;

/// Workspaces of their own, each with its own lock file: their roots are named here.
const BESIDE: [&str; 4] = [
    CHECKERS,
    "crates/bench/compare/src/lib.rs",
    "crates/bench/compare/src/etcd/main.rs",
    "crates/bench/compare/src/in_process/main.rs",
];
const CHECKERS: &str = "crates/testkit/compare/src/main.rs";

/// Files that include another by its path, each with its reason.
const PATH_ATTRIBUTES: &[(&str, &str)] =
    &[(CHECKERS, "it takes the checker by its sources, to build nothing else of this workspace")];

/// Every target of the workspace, read from its root.
fn targets() -> Result<Vec<Target>> {
    let metadata = metadata(&["--no-deps"])?;
    let mut roots: BTreeSet<PathBuf> = BESIDE.iter().map(|root| top().join(root)).collect();
    for package in list(&metadata, "packages") {
        roots.extend(list(package, "targets").map(|target| PathBuf::from(text(target, "src_path"))));
    }
    roots.iter().map(|root| Target::read(root)).collect()
}

/// The file itself, however it was reached.
fn plain(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[test]
fn every_source_belongs_to_a_target() -> Result<()> {
    let included: BTreeSet<PathBuf> =
        targets()?.iter().flat_map(|target| target.lines.keys()).map(|path| plain(path)).collect();
    let mut lost = Vec::new();
    for place in ["crates", "tests", "examples"] {
        lost.extend(files(place, "rs")?.into_iter().filter(|path| !included.contains(&plain(path))));
    }
    let lost: Vec<String> = lost.iter().map(|path| from_top(path)).collect();
    assert!(lost.is_empty(), "no target includes these, so their tests never run: {lost:#?}");
    Ok(())
}

#[test]
fn no_file_includes_another_by_its_path() -> Result<()> {
    let targets = targets()?;
    let all = targets.iter().flat_map(|target| &target.path_attributes);
    let found: BTreeSet<String> = all.map(|(file, line)| format!("{}:{line}", from_top(file))).collect();
    let is_allowed =
        |place: &&String| PATH_ATTRIBUTES.iter().any(|(file, _)| place.starts_with(&format!("{file}:")));
    let wrong: Vec<&String> = found.iter().filter(|place| !is_allowed(place)).collect();
    assert!(wrong.is_empty(), "#[path] hides which binary includes a file: {wrong:#?}");
    Ok(())
}

#[test]
fn a_file_that_no_module_declares_is_not_included() -> Result<()> {
    let target = Target::of_text(&[
        (
            "lib.rs",
            "mod a;\n#[cfg(test)] mod tests { mod inner; }\n// mod c;\nconst TEXT: &str = \"mod c;\";",
        ),
        ("a.rs", "pub mod b;"),
        ("a/b.rs", ""),
        ("tests/inner.rs", ""),
        ("c.rs", ""),
    ])?;
    let names: BTreeSet<String> = target
        .lines
        .keys()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(names, BTreeSet::from(["lib.rs", "a.rs", "b.rs", "inner.rs"].map(str::to_owned)));
    Ok(())
}

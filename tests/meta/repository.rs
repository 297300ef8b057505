//! The repository that is looked at: this one, or the one whose directory `QUORATE_TREE` names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Its top directory.
pub(crate) fn top() -> PathBuf {
    let own =
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned();
    std::env::var_os("QUORATE_TREE").map_or_else(own, PathBuf::from)
}

/// A file, by its path from the top.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(top().join(path)).with_context(|| path.to_owned())
}

/// Every file below `place` with this ending, in order; what is built is not looked at.
pub(crate) fn files(place: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![top().join(place)]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A path as it is written from the top.
pub(crate) fn from_top(path: &Path) -> String {
    path.strip_prefix(top()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Every Rust source below `place`, by its path from the top.
pub(crate) fn sources(place: &str) -> Result<BTreeMap<String, String>> {
    let source = |path: PathBuf| Ok((from_top(&path), fs::read_to_string(&path)?));
    files(place, "rs")?.into_iter().map(source).collect()
}

/// Runs a command at the top and gives what it prints.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.current_dir(top()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// `cargo metadata`, with these arguments.
pub(crate) fn metadata(more: &[&str]) -> Result<Value> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--offline"]).args(more);
    Ok(serde_json::from_str(&run(&mut cargo)?)?)
}

/// A text of a JSON object; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A list of a JSON object; empty where there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

//! Every patch of `tests/mutants` still applies to the product's code, and names the test that must catch it. `.ci/mutants`
//! applies, builds and runs them; this test only shows at once that a change of the code has made a patch stale.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::repository::{files, top};

/// The old text of each hunk, by file. What stands before the first `---` is the header.
fn hunks(patch: &str) -> Result<BTreeMap<&str, Vec<String>>> {
    let mut hunks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut file, mut in_hunk) = ("", false);
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("--- a/") {
            (file, in_hunk) = (path, false);
        } else if line.starts_with("+++ ") && !in_hunk {
            ensure!(line.strip_prefix("+++ b/") == Some(file), "{file} is renamed");
        } else if line.starts_with("@@ ") {
            in_hunk = true;
            hunks.entry(file).or_default().push(String::new());
        } else if in_hunk && !line.starts_with('+') {
            let old =
                line.strip_prefix([' ', '-']).with_context(|| format!("not a line of a diff: {line}"))?;
            let hunk = hunks.get_mut(file).and_then(|hunks| hunks.last_mut()).context("a hunk")?;
            hunk.push_str(old);
            hunk.push('\n');
        }
    }
    Ok(hunks)
}

/// Why a patch is stale, if it is.
fn check(patch: &str) -> Result<()> {
    let commands: Vec<&str> = patch.lines().filter_map(|line| line.strip_prefix("Caught-by: ")).collect();
    let [command] = commands[..] else { bail!("one line says 'Caught-by: '") };
    ensure!(command.contains("cargo test -p quorate"), "no command of one package: {command}");
    ensure!(!patch.starts_with("Caught-by"), "it says which rule it breaks");
    let hunks = hunks(patch)?;
    ensure!(!hunks.is_empty(), "it changes nothing");
    for (file, hunks) in hunks {
        ensure!(file.starts_with("crates/") && file.contains("/src/"), "{file} is not the product's");
        let text = fs::read_to_string(top().join(file)).with_context(|| file.to_owned())?;
        let mut after = 0;
        for hunk in hunks {
            let found = text[after..].find(&hunk).with_context(|| format!("{file} no longer has\n{hunk}"))?;
            after += found + hunk.len();
        }
    }
    Ok(())
}

/// A test that was renamed or moved catches nothing. The last part of its name may be the beginning of a function's, or a module;
/// the part before that is a module that has it.
fn check_test(patch: &str, sources: &[(PathBuf, String)]) -> Result<()> {
    let command = patch.lines().find_map(|line| line.strip_prefix("Caught-by: ")).context("a command")?;
    let name = command.split_whitespace().last().context("the name of a test")?;
    let mut parts = name.rsplit("::");
    let (last, module) = (parts.next().unwrap_or_default(), parts.next());
    let has_it = |(path, text): &(PathBuf, String)| {
        let has_last = ["mod ", "fn "].iter().any(|kind| text.contains(&format!("{kind}{last}")));
        let is_in = |module: &str| {
            text.contains(&format!("mod {module}"))
                || path.with_extension("").iter().any(|part| part.to_str() == Some(module))
        };
        has_last && module.is_none_or(is_in)
    };
    ensure!(sources.iter().any(has_it), "there is no such test: {command}");
    Ok(())
}

#[test]
fn every_mutant_still_applies() -> Result<()> {
    let (mut count, mut stale) = (0, Vec::new());
    let all = files("crates", "rs")?.into_iter().chain(files("tests", "rs")?);
    let source = |path: PathBuf| fs::read_to_string(&path).map(|text| (path, text));
    let sources: Vec<_> = all.map(source).collect::<Result<_, _>>()?;
    for entry in fs::read_dir(top().join("tests/mutants"))? {
        let path = entry?.path();
        count += 1;
        let text = fs::read_to_string(&path)?;
        if let Err(error) = check(&text).and_then(|()| check_test(&text, &sources)) {
            stale.push(format!("{}: {error:#}", path.display()));
        }
    }
    assert!(stale.is_empty(), "renew these patches, they break a rule no longer:\n{}", stale.join("\n"));
    assert!(count >= 50, "only {count} patches are left");
    Ok(())
}

/// The faults that were found under load, slow machines and slow links: each is put back by one of the patches at least.
#[test]
fn every_fault_of_the_second_look_has_a_mutant() -> Result<()> {
    let headers = fs::read_dir(top().join("tests/mutants"))?.map(|entry| {
        let patch = fs::read_to_string(entry?.path())?;
        Ok(patch.lines().next().unwrap_or_default().to_owned())
    });
    let headers: Vec<String> = headers.collect::<Result<_>>()?;
    let is_named = |id: &String| {
        headers.iter().any(|header| {
            header.split(|at: char| !at.is_ascii_alphanumeric()).any(|word| word == id.as_str())
        })
    };
    let missing: Vec<String> =
        (1..=12).map(|number| format!("S{number}")).filter(|id| !is_named(id)).collect();
    assert!(missing.is_empty(), "no patch says that it is of {missing:?}");
    Ok(())
}

//! Sentences are plain, and no error is told from another by its words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::circles::packages;
use crate::repository::{files, from_top, read, sources};

/// What is not written in comments, pages and messages, and what is written instead.
const TICS: &[(&str, &str)] = &[
    ("nobody", "no one, no peer"),
    ("anew", "again"),
    ("whoever", "any node that"),
    ("for ever", "permanently"),
    ("became of", "name the event"),
    ("said again", "sent again"),
    ("in vain", "without an answer"),
    ("of now", "current"),
    ("of the moment", "current"),
    ("who dies", "that failed"),
    ("one's own", "your own"),
    ("is no help", "failed"),
    ("the way of a command", "name the path"),
];

/// Lines that choose by a text, each with its reason: the text is input to be parsed, and no error.
const PARSED: &[(&str, &str, &str)] = &[
    (
        "crates/log-lines/src/lib.rs",
        "metadata().target().starts_with(\"quorate\")",
        "the module that logs, not its words",
    ),
    ("crates/server/src/http.rs", "text.starts_with(\"https://\")", "an endpoint as the user gives it"),
    (
        "crates/testkit/src/sim/trace.rs",
        "metadata.target().starts_with(\"quorate\")",
        "the module that logs, not its words",
    ),
];

/// A text in small letters with one space between words: a phrase may be broken over two lines of a comment.
fn plain(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let text = text.trim_start().trim_start_matches(['/', '!', '#', '>', '-', '*', '|']);
        let each = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '\''));
        words.extend(each.filter(|word| !word.is_empty()).map(|word| (line + 1, word.to_lowercase())));
    }
    words
}

/// Phrases of the list in a text, each with its line.
fn tics(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = plain(text);
    let mut found = Vec::new();
    for (tic, instead) in TICS {
        let phrase: Vec<&str> = tic.split(' ').collect();
        let is_here = |at: &[(usize, String)]| at.iter().zip(&phrase).all(|((_, word), tic)| word == tic);
        let places = words.windows(phrase.len()).filter(|at| is_here(at));
        found.extend(places.map(|at| (at[0].0, *tic, *instead)));
    }
    found.sort_unstable();
    found
}

/// Every source and page; reports of runs, recorded inputs and this file's list are as they are.
fn texts() -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for place in ["crates", "tests", "examples", "docs"] {
        for ending in ["rs", "md"] {
            for path in files(place, ending)? {
                let name = from_top(&path);
                let is_recorded =
                    ["docs/evidence/", "/corpus/", "/crashes/"].iter().any(|part| name.contains(part));
                if !is_recorded && name != "tests/meta/words.rs" {
                    let text = read(&name)?;
                    texts.insert(name, text);
                }
            }
        }
    }
    for name in ["README.md", ".ci/run", ".ci/soak", ".ci/disk", ".ci/fuzz", ".ci/mutants"] {
        texts.insert(name.to_owned(), read(name)?);
    }
    Ok(texts)
}

#[test]
fn sentences_are_plain() -> Result<()> {
    let mut wrong = Vec::new();
    for (name, text) in texts()? {
        let of_file = tics(&text).into_iter();
        wrong.extend(of_file.map(|(line, tic, instead)| format!("{name}:{line}: \"{tic}\": {instead}")));
    }
    assert!(wrong.is_empty(), "{} phrases to write plainly:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Whether a line chooses by the words of a text: errors carry a typed reason, their words are for people.
fn chooses_by_words(line: &str) -> bool {
    let is_compared =
        ["contains", "starts_with", "ends_with"].iter().any(|call| line.contains(&format!(".{call}(\"")));
    is_compared || line.contains("to_string() ==") || line.contains(".matches(\"")
}

#[test]
fn nothing_is_decided_by_the_words_of_an_error() -> Result<()> {
    let mut wrong = BTreeSet::new();
    for target in packages()?.values().flat_map(|package| &package.targets) {
        for file in target.lines.keys().filter(|file| from_top(file).starts_with("crates/")) {
            let (name, tests) = (from_top(file), target.test_lines.get(file));
            for (line, text) in read(&name)?.lines().enumerate().map(|(line, text)| (line + 1, text.trim())) {
                let is_allowed = PARSED.iter().any(|(file, part, _)| *file == name && text.contains(part));
                let is_test = tests.is_some_and(|tests| tests.contains(&line));
                if chooses_by_words(text) && !text.starts_with("//") && !is_test && !is_allowed {
                    wrong.insert(format!("{name}:{line}: {text}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} choices by the words of a text: {wrong:#?}", wrong.len());
    Ok(())
}

#[test]
fn every_exception_is_in_use() -> Result<()> {
    let sources = sources("crates")?;
    let unused: Vec<_> = PARSED
        .iter()
        .filter(|(file, part, _)| !sources.get(*file).is_some_and(|text| text.contains(part)))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
    Ok(())
}

#[test]
fn phrases_are_seen_over_two_lines_and_not_inside_names() {
    let text = "/// Waits for\n/// ever; Nobody's.\nfn nobody_waits() {} // as of now, whoever";
    let found: Vec<_> = tics(text).into_iter().map(|(line, tic, _)| (line, tic)).collect();
    assert_eq!(found, [(1, "for ever"), (3, "of now"), (3, "whoever")]);
    assert!(tics("answered again, renewed, one owner").is_empty());
}

#[test]
fn choices_by_words_are_seen() {
    for line in ["if text.contains(\"in use\") {", "x.starts_with(\"cannot\")", "error.to_string() == other"]
    {
        assert!(chooses_by_words(line), "{line}");
    }
    assert!(!chooses_by_words("set.contains(&name) && text.starts_with('a')"));
}

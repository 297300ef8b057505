//! What the pages claim is looked up: the README's example is an example, the tables are those of the code, and every
//! function, file, test and link that a page names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use quorate::RESTART_RULES;

use crate::bodies::bodies;
use crate::repository::{files, from_top, read, top};
use crate::source::lexer::{Lexeme, Token, tokens};

/// All Rust of the crates and of this directory, file by file.
fn sources() -> Result<Vec<String>> {
    let all = files("crates", "rs")?.into_iter().chain(files("tests", "rs")?);
    all.map(|path| Ok(fs::read_to_string(path)?)).collect()
}

/// What stands between single backticks, outside of code blocks.
fn quoted(page: &str) -> Vec<&str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
}

/// `NotReady` as it is called on the wire.
fn snake(variant: &str) -> String {
    let mut text = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// The names that a file defines: items, modules, fields, variants with their names on the wire, and what is a text by itself.
fn defined(text: &str) -> BTreeSet<String> {
    const ITEMS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod"];
    let (tokens, mut found) = (tokens(text), BTreeSet::new());
    let mut enums: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut enum_follows = false;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        match &token.lexeme {
            Lexeme::Other('{' | '(' | '[') => {
                depth += 1;
                if std::mem::take(&mut enum_follows) {
                    enums.push(depth);
                }
            }
            Lexeme::Other('}' | ')' | ']') => {
                enums.pop_if(|open| *open == depth);
                depth -= 1;
            }
            Lexeme::Word(word) => {
                enum_follows |= word == "enum";
                let is_item = before.and_then(Token::word).is_some_and(|word| ITEMS.contains(&word));
                let is_field = tokens.get(at + 1).is_some_and(|token| token.is(':'));
                let is_variant = enums.last() == Some(&depth);
                if is_item || is_field || is_variant {
                    found.insert(word.clone());
                }
                if is_variant {
                    found.insert(snake(word));
                }
            }
            Lexeme::Literal(text) => {
                found.insert(text.trim_matches('"').to_owned());
            }
            Lexeme::Other(_) | Lexeme::Join => {}
        }
    }
    found
}

fn functions(text: &str) -> BTreeSet<&str> {
    let after = text.split("fn ").skip(1);
    after.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()).collect()
}

#[test]
fn the_readmes_example_is_an_example() -> Result<()> {
    let (readme, example) = (read("README.md")?, read("examples/readme.rs")?);
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    let without_header = example.split_once("\n\n").context("a header, then the code")?.1;
    assert_eq!(code, Some(without_header), "README.md and examples/readme.rs differ");
    Ok(())
}

/// Each block of the tutorial stands in an example that CI runs.
#[test]
fn the_tutorials_code_is_an_examples() -> Result<()> {
    let page = read("docs/tutorial/own-machine.md")?;
    let code = [read("examples/job_queue.rs")?, read("examples/lib.rs")?];
    let blocks: Vec<_> =
        page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 3, "the page has code");
    for block in blocks {
        assert!(code.iter().any(|file| file.contains(block)), "no example has this block:\n{block}");
    }
    let lines = format!("{} lines", code[0].lines().count());
    assert!(page.contains(&lines), "examples/job_queue.rs has {lines}");
    Ok(())
}

#[test]
fn the_readme_prints_the_commands_that_ci_runs() -> Result<()> {
    let (readme, ci) = (read("README.md")?, read(".ci/run")?);
    assert!(readme.lines().any(|line| line == "cargo test --workspace"));
    assert!(ci.contains("local command=\"cargo test --workspace\""));
    assert!(readme.lines().any(|line| line == "cargo run --release -- dev"));
    for example in files("examples", "rs")? {
        let name = example.file_stem().and_then(|stem| stem.to_str()).context("a name")?;
        let listed = readme.contains(&format!("| `{name}` |")) || matches!(name, "lib" | "readme");
        assert!(listed, "README.md does not list the example {name}");
        let lines = fs::read_to_string(&example)?.lines().count();
        assert!(lines < 150, "{name} has {lines} lines: one idea each");
    }
    Ok(())
}

#[test]
fn the_restart_rules_are_printed_as_they_are() -> Result<()> {
    let page = read("docs/actors.md")?;
    let rows: Vec<&str> = page
        .split("## Restart rules")
        .nth(1)
        .context("there is the table")?
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| actor "))
        .collect();
    let expected: Vec<String> = RESTART_RULES
        .iter()
        .map(|rule| {
            let (first, longest) = (rule.backoff_min.as_millis(), rule.backoff_max.as_millis());
            let (actor, supervisor, with, why) = (rule.actor, rule.supervisor, rule.with, rule.why);
            format!("| {actor} | {supervisor} | {with} | {first} ms | {longest} ms | {why} |")
        })
        .collect();
    assert_eq!(rows, expected);
    let window = RESTART_RULES[0].window.as_secs();
    assert!(RESTART_RULES.iter().all(|rule| rule.window.as_secs() == window));
    assert!(page.contains(&format!("the window of {window} s")));
    Ok(())
}

/// The names behind `Self::` in `ProposeError::outcome`, by the outcome behind them.
fn outcomes() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let source = read("crates/quorate/src/error/propose.rs")?;
    let body = *bodies(&source, "ProposeError::outcome").first().context("it is there")?;
    let (mut outcomes, mut errors) = (BTreeMap::new(), BTreeSet::new());
    for path in body.split_whitespace() {
        if let Some(error) = path.strip_prefix("Self::") {
            errors.insert(error.to_owned());
        } else if let Some(outcome) = path.strip_prefix("Outcome::") {
            let outcome = outcome.trim_end_matches(',').to_lowercase();
            outcomes.insert(outcome, std::mem::take(&mut errors));
        }
    }
    Ok(outcomes)
}

#[test]
fn the_outcomes_of_a_proposal_are_printed_as_they_are() -> Result<()> {
    let page = read("docs/ARCHITECTURE.md")?;
    let outcomes = outcomes()?;
    assert_eq!(outcomes.len(), 3);
    for (outcome, errors) in outcomes {
        let row = page.lines().find(|line| line.starts_with(&format!("| {outcome} |")));
        let listed = row.and_then(|row| row.split(" | ").last()).context("it has a row")?;
        assert_eq!(
            quoted(listed).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(),
            errors,
            "{outcome}"
        );
    }
    Ok(())
}

/// Names of other projects.
const FOREIGN: [&str; 8] = [
    "ArgMatches::value_source",
    "clap_complete",
    "clock_gettime",
    "parking_lot",
    "ractor_cluster",
    "serde_bytes",
    "spawn_blocking",
    "tokio_runtime",
];

/// Whether the file defines a struct with this field.
fn has_field(file: &str, of: &str, field: &str) -> bool {
    let head = file.find(&format!("struct {of}")).and_then(|at| file[at..].split("\n}").next());
    head.is_some_and(|body| body.contains(&format!(" {field}:")))
}

/// A decision is not changed: names that it has and the code no longer has stand in a line "Since then: `old` is `new`".
fn renamed(page: &str) -> BTreeSet<&str> {
    let lines = page.lines().filter(|line| line.starts_with("Since then: "));
    lines.flat_map(|line| quoted(line).into_iter().step_by(2)).collect()
}

/// What the sources define, read once for all pages.
struct Names<'a> {
    sources: &'a [String],
    defined: BTreeSet<String>,
    /// Of each file: the words of its `impl` lines, and its functions.
    methods: Vec<(BTreeSet<&'a str>, BTreeSet<&'a str>)>,
}

impl<'a> Names<'a> {
    fn new(sources: &'a [String]) -> Self {
        let impls = |file: &'a str| -> BTreeSet<&'a str> {
            file.lines().filter(|line| line.trim_start().starts_with("impl")).flat_map(words).collect()
        };
        let methods = sources.iter().map(|file| (impls(file), functions(file))).collect();
        Self { sources, defined: sources.iter().flat_map(|file| defined(file)).collect(), methods }
    }
}

/// Names with the file in which the page says that they are: "`name` in `crates/../file.rs`".
fn placed(page: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = page.split("```").step_by(2).flat_map(|text| text.split('`')).collect();
    let pairs = parts.windows(3).filter(|part| {
        part[1].trim() == "in" && Path::new(part[2]).extension().is_some_and(|ending| ending == "rs")
    });
    pairs.map(|part| (part[0], part[2])).collect()
}

/// What a file does not define although the page says so.
fn misplaced(page: &str) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, file) in placed(page) {
        let name = name.rsplit("::").next().unwrap_or(name);
        if !defined(&read(file)?).contains(name) {
            wrong.push(format!("{name} in {file}"));
        }
    }
    Ok(wrong)
}

/// A path is there, a type has the function or field that is named with it, and other names are in the sources.
fn missing(page: &str, Names { sources, defined, methods }: &Names<'_>) -> Vec<String> {
    let renamed = renamed(page);
    let mut missing = Vec::new();
    for name in quoted(page).into_iter().filter(|name| !renamed.contains(name) && !FOREIGN.contains(name)) {
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
        if name.contains('/') && !name.contains("://") && !name.contains(['*', ' ', '<']) {
            let there =
                [name.to_owned(), format!("crates/quorate/src/{name}"), format!("crates/server/src/{name}")];
            if !there.iter().any(|path| top().join(path.trim_end_matches('/')).exists()) {
                missing.push(name.to_owned());
            }
        } else if let Some((of, function)) = name.rsplit_once("::") {
            let is_method = of.starts_with(char::is_uppercase) && function.starts_with(char::is_lowercase);
            let defined = if is_method {
                methods.iter().any(|(impls, functions)| impls.contains(of) && functions.contains(function))
                    || sources.iter().any(|file| has_field(file, of, function))
            } else {
                defined.contains(of) && defined.contains(function)
            };
            if is_word(of) && is_word(function) && !defined {
                missing.push(name.to_owned());
            }
        } else {
            let snake = is_word(name) && name.contains('_') && name.chars().all(|c| !c.is_uppercase());
            let targets = [
                format!("examples/{name}.rs"),
                format!("tests/{name}"),
                format!("crates/bench/src/bin/{name}.rs"),
            ];
            if snake && !defined.contains(name) && !targets.iter().any(|path| top().join(path).exists()) {
                missing.push(name.to_owned());
            }
        }
    }
    missing
}

#[test]
fn what_the_pages_name_is_there() -> Result<()> {
    let sources = sources()?;
    let names = Names::new(&sources);
    let mut pages = files("docs/decisions", "md")?;
    let by_hand =
        ["ARCHITECTURE", "CONTRIBUTING", "actors", "data-path", "formats", "proof", "safety", "testkit"];
    pages.extend(by_hand.map(|page| top().join(format!("docs/{page}.md"))));
    pages.push(top().join("README.md"));
    let mut wrong = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page)?;
        let missing = missing(&text, &names).into_iter().chain(misplaced(&text)?);
        wrong.extend(missing.map(|name| format!("{} names {name}", from_top(&page))));
    }
    assert!(wrong.is_empty(), "what is not there: {wrong:#?}");
    Ok(())
}

#[test]
fn the_check_for_names_sees_what_is_missing() {
    let sources = ["impl Leader { fn propose_it() {} }", "impl Follower { fn tick() {} }"].map(str::to_owned);
    let page = "`Leader::propose_it`, `propose_it`, `no_such_thing`, `Leader::no_such`, `crates/nowhere.rs`, `.ci/run`, \
        `Leader::tick`";
    let expected = ["no_such_thing", "Leader::no_such", "crates/nowhere.rs", "Leader::tick"];
    assert_eq!(missing(page, &Names::new(&sources)), expected);
    let page = "# A decision\n\nSince then: `Leader::old` is `Leader::gone`; `old_one` is `propose_it`.\n\n`Leader::old`, `old_one`";
    assert_eq!(missing(page, &Names::new(&sources)), ["Leader::gone"]);
    let page = "`cluster_id` in\n`crates/quorate/src/node/founding.rs`; `cluster_id` in `crates/quorate/src/clock.rs`";
    assert_eq!(misplaced(page).expect("both files are there"), ["cluster_id in crates/quorate/src/clock.rs"]);
    let text = "enum E { One, Two(u8) } struct S { field: u8 } fn f() { let x = called(); } // fn told";
    assert_eq!(defined(text), ["E", "One", "S", "Two", "f", "field", "one", "two"].map(str::to_owned).into());
}

/// The numbers behind `word` in a test's name: `bug_28_55_no_x` has 28 and 55, `rule_07_bug_61_x` has rule 7 and bug 61.
fn numbers_in(name: &str, word: &str) -> Vec<u8> {
    let (mut numbers, mut behind) = (Vec::new(), false);
    for part in name.split('_') {
        let number = part.parse::<u8>().ok().filter(|_| behind);
        behind = part == word || number.is_some();
        numbers.extend(number);
    }
    numbers
}

/// The tests that carry numbers behind `word`, in order, as rows of a table.
fn tests_by_number(word: &str) -> Result<BTreeSet<(u8, String, String)>> {
    let mut found = BTreeSet::new();
    for path in files("crates", "rs")?.into_iter().chain(files("tests", "rs")?) {
        let text = fs::read_to_string(&path)?;
        let file = from_top(&path);
        for name in functions(&text) {
            let numbers = numbers_in(name, word).into_iter();
            found.extend(numbers.map(|number| (number, file.clone(), name.to_owned())));
        }
    }
    Ok(found)
}

/// Compares the table at the end of a page with the tests there are, or writes it.
fn check_table(page: &str, head: &str, tests: &BTreeSet<(u8, String, String)>) -> Result<()> {
    let text = read(page)?;
    let head = format!("| {head} | test | in |\n|---|---|---|\n");
    let (before, listed) = text.split_once(&head).with_context(|| format!("{page} ends with the table"))?;
    let row = |(number, file, name): &(u8, String, String)| format!("| {number} | `{name}` | `{file}` |\n");
    let now: String = tests.iter().map(row).collect();
    if std::env::var("REWRITE").is_ok() {
        fs::write(top().join(page), [before, &head, &now].concat())?;
    } else {
        assert!(listed == now, "the table in {page} is not up to date: REWRITE=1 writes it");
    }
    Ok(())
}

#[test]
fn every_rule_is_there_and_every_rules_test_is_listed() -> Result<()> {
    let (page, tests) = (read("docs/safety.md")?, tests_by_number("rule")?);
    for rule in 1..=16 {
        assert!(page.contains(&format!("\n**{rule}. ")), "rule {rule} is missing");
        assert!(tests.iter().any(|(number, ..)| *number == rule), "rule {rule} has no test");
    }
    check_table("docs/safety.md", "rule", &tests)
}

/// Each of the bugs that others shipped has a test, or a word why not.
#[test]
fn every_known_bug_has_a_test_or_a_reason() -> Result<()> {
    const BUGS: u8 = 78;
    let (page, tests) = (read("docs/known-bugs.md")?, tests_by_number("bug")?);
    let rows: Vec<(u8, &str)> = page
        .lines()
        .take_while(|line| *line != "## Tests by number")
        .filter_map(|line| {
            let (number, rest) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
            Some((number.parse().ok()?, rest.rsplit_once(" | ")?.1))
        })
        .collect();
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=BUGS).collect::<Vec<_>>());
    for (number, here) in rows {
        let tested = tests.iter().any(|(of, ..)| *of == number);
        let reasoned =
            ["waits for ", "cannot exist: ", "scenario: "].iter().any(|word| here.starts_with(word));
        let is_tested = here == "test" || here.starts_with("test; waits for ");
        assert!(if is_tested { tested } else { reasoned }, "bug {number}: {here}");
    }
    check_table("docs/known-bugs.md", "no.", &tests)
}

#[test]
fn numbers_are_found_in_names() {
    assert_eq!(numbers_in("bug_28_55_an_answer", "bug"), [28, 55]);
    assert_eq!(numbers_in("rule_07_bug_61_an_install", "bug"), [61]);
    assert_eq!(numbers_in("rule_07_bug_61_an_install", "rule"), [7]);
    assert_eq!(numbers_in("rule_06_bug_70_bug_71_any_9", "bug"), [70, 71]);
    assert!(numbers_in("debug_12", "bug").is_empty() && numbers_in("bug_report", "bug").is_empty());
}

#[test]
fn links_between_pages_lead_somewhere() -> Result<()> {
    let mut pages = files("docs", "md")?;
    pages.push(top().join("README.md"));
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or(link);
            let there = target.is_empty() || page.parent().is_some_and(|at| at.join(target).exists());
            if !there && !link.starts_with("http") {
                broken.push(format!("{} -> {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

/// Pages and scripts are for every machine.
#[test]
fn no_page_names_a_machine() -> Result<()> {
    let mut pages = files("docs", "md")?;
    pages.extend(["README.md", ".ci/run", ".ci/soak"].map(|path| top().join(path)));
    for page in pages {
        let text = fs::read_to_string(&page)?;
        for place in ["home", "root", "work", "Users"].map(|top| format!("/{top}/")) {
            assert!(!text.contains(&place), "{} names {place}", page.display());
        }
    }
    Ok(())
}

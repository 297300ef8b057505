//! `docs/data-path.md` follows a proposal through the code, function by function. Here it is held to the code: every function
//! is in the file that the page names, and its body calls the next one, or names the message that the page says it sends.

use std::fs;

use anyhow::{Context, Result, ensure};
use quorate_core::Stage;

use crate::bodies::{bodies, is_word};
use crate::repository::top;

/// A step of a numbered list: `` 1. `file` `Type::function` text, sends `Message` ``.
#[derive(Debug)]
struct Step {
    file: String,
    function: String,
    sends: Option<String>,
}

/// What stands between the backticks of `text`, in order.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The numbered lists of the page. Text stands between two: with a blank line alone, they are one list in Markdown.
fn chains(page: &str) -> Result<Vec<Vec<Step>>> {
    let mut chains: Vec<Vec<Step>> = Vec::new();
    let mut lines = page.lines().filter(|line| !line.is_empty()).peekable();
    let mut after_text = true;
    while let Some(line) = lines.next() {
        let step =
            line.split_once(". `").and_then(|(number, text)| Some((number.parse::<usize>().ok()?, text)));
        let Some((number, text)) = step else {
            after_text = true;
            continue;
        };
        let mut text = format!("`{text}");
        while let Some(more) = lines.next_if(|line| line.starts_with("   ")) {
            text.push(' ');
            text.push_str(more.trim());
        }
        let names = quoted(&text);
        let [file, function, ..] = names[..] else { anyhow::bail!("no file and function: {line}") };
        let sends = text.split_once("sends `").and_then(|(_, rest)| rest.split('`').next());
        let step = Step {
            file: file.to_owned(),
            function: function.to_owned(),
            sends: sends.map(ToOwned::to_owned),
        };
        if number == 1 {
            ensure!(after_text, "no text stands before this list: {line}");
            chains.push(Vec::new());
        }
        let chain = chains.last_mut().context("a list begins with 1")?;
        ensure!(chain.len() + 1 == number, "a number is missing before: {line}");
        chain.push(step);
        after_text = false;
    }
    Ok(chains)
}

fn name(function: &str) -> &str {
    function.rsplit("::").next().unwrap_or(function)
}

/// Comments may name a function; they do not call it.
fn code(file: &str) -> Result<String> {
    let text = fs::read_to_string(top().join(file)).with_context(|| file.to_owned())?;
    Ok(text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n"))
}

/// Whether a body calls a function of this name.
fn calls(body: &str, name: &str) -> bool {
    body.match_indices(name).any(|(at, _)| {
        let behind = &body[at + name.len()..];
        !body[..at].ends_with(is_word) && (behind.starts_with('(') || behind.starts_with("::<"))
    })
}

/// What is wrong with a step and its way to the next one.
fn wrong(step: &Step, next: Option<&Step>) -> Result<Vec<String>> {
    let Step { file, function, sends } = step;
    let text = code(file)?;
    let bodies = bodies(&text, function);
    if bodies.is_empty() {
        return Ok(vec![format!("{file} has no function {function}")]);
    }
    let missing = match (sends, next) {
        (Some(message), _) if !bodies.iter().any(|body| body.contains(message.as_str())) => {
            format!("{function} in {file} does not send {message}")
        }
        (None, Some(next)) if !bodies.iter().any(|body| calls(body, name(&next.function))) => {
            format!("{function} in {file} does not call {}", next.function)
        }
        (Some(_) | None, _) => return Ok(Vec::new()),
    };
    Ok(vec![missing])
}

#[test]
fn the_headings_are_the_stages() -> Result<()> {
    let page = fs::read_to_string(top().join("docs/data-path.md"))?;
    let numbered = page.lines().filter_map(|line| line.strip_prefix("## ")?.split_once(' '));
    let found: Vec<_> = numbered.filter(|(number, _)| number.parse::<usize>().is_ok()).collect();
    let stages: Vec<_> = Stage::ALL.iter().map(|stage| format!("{stage:?}")).collect();
    let expected: Vec<_> =
        (1..).zip(&stages).map(|(number, stage)| (number.to_string(), stage.as_str())).collect();
    assert_eq!(found, expected.iter().map(|(number, stage)| (number.as_str(), *stage)).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn each_function_of_the_data_path_calls_the_next() -> Result<()> {
    let chains = chains(&fs::read_to_string(top().join("docs/data-path.md"))?)?;
    assert!(chains.iter().map(Vec::len).sum::<usize>() > 60, "the lists are read");
    let mut all = Vec::new();
    for chain in &chains {
        for (at, step) in chain.iter().enumerate() {
            all.extend(wrong(step, chain.get(at + 1))?);
        }
    }
    assert!(all.is_empty(), "docs/data-path.md differs from the code: {all:#?}");
    Ok(())
}

#[test]
fn the_check_sees_two_lists_that_are_one() -> Result<()> {
    let page = "1. `a.rs` `a` begins.\n2. `b.rs` `b`.\n\nThen:\n\n1. `c.rs` `c`.\n";
    assert_eq!(chains(page)?.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert!(chains(&page.replace("Then:\n\n", "")).is_err());
    Ok(())
}

#[test]
fn the_check_sees_a_step_that_is_not_taken() -> Result<()> {
    let step = |file: &str, function: &str, sends: Option<&str>| Step {
        file: format!("crates/quorate/src/{file}"),
        function: function.to_owned(),
        sends: sends.map(ToOwned::to_owned),
    };
    let (door, sender) =
        (step("group/door.rs", "receive_batch", None), step("route.rs", "Route::send_proposals", None));
    assert!(wrong(&door, Some(&step("route.rs", "Route::send_queries", None)))?.is_empty());
    assert_eq!(wrong(&door, Some(&step("clock.rs", "Clock::wall_ms", None)))?.len(), 1);
    assert_eq!(wrong(&step("route.rs", "Route::no_such", None), None)?.len(), 1);
    assert_eq!(wrong(&step("route.rs", "Elsewhere::send_proposals", None), None)?.len(), 1);
    assert_eq!(wrong(&step("route.rs", "Route::send_proposals", Some("StoreRequest::Load")), None)?.len(), 1);
    assert!(wrong(&sender, None)?.is_empty());
    // `LogStore::handle` calls both; `queue_request`, its neighbour in the file, does not call the other.
    let (handle, submit) = (
        step("log_store/actor.rs", "LogStore::handle", None),
        step("log_store/actor.rs", "LogStoreState::submit_waiting", None),
    );
    assert!(wrong(&handle, Some(&submit))?.is_empty());
    assert_eq!(
        wrong(&step("log_store/actor.rs", "LogStoreState::queue_request", None), Some(&submit))?.len(),
        1
    );
    Ok(())
}

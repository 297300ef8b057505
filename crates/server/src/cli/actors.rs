//! `quorate actors`.

use std::fmt::Write;

use quorate_server::http::{Request, escape};
use serde_json::{Value, json};

use super::arguments::Actors;
use super::client::Effect;
use super::confirm::{Unattended, confirm};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::output::{Format, Output, Rows, took_effect};

pub(crate) async fn run(context: &Context, verb: Actors) -> Result<(), Failure> {
    match verb {
        Actors::Tree => tree(context).await,
        Actors::Stop { name, yes } => {
            confirm(&format!("stop actor {name:?}"), yes, Unattended::Refuse)?;
            let request = Request::post(format!("/v1/actors/{}:stop", escape(&name)), &json!({}));
            let answer = context.api()?.json(&request, Effect::Write).await.map_err(|failure| {
                let remedy = "`quorate actors tree -o plain` lists them";
                match failure.exit {
                    Exit::NotFound => Failure { message: format!("{failure}; {remedy}"), ..failure },
                    _ => failure,
                }
            })?;
            took_effect("the stop", context.output.record(vec!["node", "actor", "stopped"], &answer))
        }
    }
}

async fn tree(context: &Context) -> Result<(), Failure> {
    let answer = context.api()?.json(&Request::get("/v1/actors"), Effect::Read).await?;
    let actors = answer["actors"].as_array().cloned().unwrap_or_default();
    if context.output.format == Format::Table {
        let node = answer["node"].as_str().unwrap_or_default();
        return Output::bytes(format!("{node}\n{}", drawn(&actors)).as_bytes());
    }
    context.output.rows(&Rows { columns: vec!["name", "kind", "status"], rows: actors }, Some(&answer))
}

/// Each actor below the one whose name is the longest prefix of its own.
fn drawn(actors: &[Value]) -> String {
    let name = |actor: &Value| actor["name"].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<(String, String)> = actors
        .iter()
        .map(|actor| (name(actor), actor["status"].as_str().unwrap_or_default().to_owned()))
        .collect();
    names.sort();
    let mut text = String::new();
    for (name, status) in &names {
        let above = |other: &&(String, String)| {
            name.strip_prefix(other.0.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        let ancestors = names.iter().filter(above);
        let depth = ancestors.clone().count();
        let parent = ancestors.map(|(name, _)| name.len() + 1).max().unwrap_or(0);
        let status = if status == "running" { String::new() } else { format!("  ({status})") };
        let indent = "  ".repeat(depth + 1);
        writeln!(text, "{indent}{}{status}", &name[parent..]).expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_hangs_each_actor_below_its_parent() {
        let actors: Vec<_> =
            ["group/main", "group/main/leader/3", "bridge", "bridge/link/node1", "log-store"]
                .map(|name| json!({"name": name, "status": "running"}))
                .into();
        let expected = "  bridge\n    link/node1\n  group/main\n    leader/3\n  log-store\n";
        assert_eq!(drawn(&actors), expected);
    }
}

//! `quorate counter`.

use quorate_server::http::{Method, Request, escape};
use serde_json::{Value, json};

use super::arguments::Counter;
use super::client::Effect;
use super::confirm::{Unattended, confirm};
use super::context::Context;
use super::exit::Failure;
use super::output::{Rows, goes_on, took_effect};

pub(crate) async fn run(context: &Context, verb: Counter) -> Result<(), Failure> {
    match &verb {
        Counter::Get { name, reading } => {
            let request = Request::get(format!("{}?{}", path_of(name)?, reading.query()));
            print(context, &context.api()?.json(&request, Effect::Read).await?)
        }
        Counter::Add { name, amount } => {
            let request = Request::post(format!("{}:add", path_of(name)?), &json!({"amount": amount}));
            let answer = context.api()?.json(&request, Effect::Write).await?;
            took_effect("the write", print(context, &answer))
        }
        Counter::Set { name, value } => {
            let request = Request::new(Method::PUT, path_of(name)?).json(json!({"value": value}).to_string());
            let answer = context.api()?.json(&request, Effect::Write).await?;
            took_effect("the write", print(context, &answer))
        }
        Counter::List { listing } => {
            let path = format!("/v1/counters?{}", listing.query());
            let answer = context.api()?.json(&Request::get(path), Effect::Read).await?;
            let rows = answer["items"].as_array().cloned().unwrap_or_default();
            context.output.rows(&Rows { columns: vec!["name", "value", "index"], rows }, Some(&answer))?;
            if let Some(cursor) = answer["cursor"].as_str() {
                context.output.note(&goes_on(cursor));
            }
            Ok(())
        }
        Counter::Delete { name, yes } => {
            confirm(&format!("delete counter {name:?}"), *yes, Unattended::Proceed)?;
            let request = Request::new(Method::DELETE, path_of(name)?);
            let answer = context.api()?.json(&request, Effect::Write).await?;
            took_effect("the write", context.output.record(vec!["deleted", "index", "term"], &answer))
        }
    }
}

fn print(context: &Context, answer: &Value) -> Result<(), Failure> {
    context.output.value(answer["value"].to_string().as_bytes(), answer)
}

fn path_of(name: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(Failure::usage("the name is empty; give at least one character"));
    }
    Ok(format!("/v1/counters/{}", escape(name)))
}

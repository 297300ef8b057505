//! `quorate counter`.

use quorate_server::http::{Request, escape};
use serde_json::{Value, json};

use super::arguments::Counter;
use super::client::Effect;
use super::context::Context;
use super::exit::Failure;
use super::output::took_effect;

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

//! `quorate kv`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use quorate_server::http::{Request, escape};
use serde_json::{Value, json};

use super::arguments::{Kv, Reading};
use super::client::Effect;
use super::confirm::{Unattended, confirm};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::output::{Rows, after_printing, took_effect};
use super::value::{Source, in_json};

pub(crate) async fn run(context: &Context, verb: Kv) -> Result<(), Failure> {
    match verb {
        Kv::Get { key, reading } => get(context, &key, &reading).await,
        Kv::Put { key, value, file } => {
            let source = match (&value, &file) {
                (_, Some(file)) => Source::File(file),
                (value, None) => Source::Word(value.as_deref().unwrap_or_default()),
            };
            put(context, &key, source).await
        }
        Kv::Delete { key, yes } => {
            confirm(&format!("delete key {key:?}"), yes, Unattended::Proceed)?;
            let body = json!({"operation": "delete", "key": key});
            let answer = context.api()?.json(&Request::post("/command", &body), Effect::Write).await?;
            took_effect("the write", context.output.record(vec!["deleted", "index", "term"], &answer))
        }
        Kv::Cas { key, values, expected, absent, expected_file, file } => {
            let words = values.iter().map(String::as_str).collect();
            let given = match (&expected, &expected_file) {
                (Some(expected), _) => Some(Source::Word(expected)),
                (None, file) => file.as_deref().map(Source::File),
            };
            let (expected, value) = cas_sources(words, given, file.as_deref().map(Source::File), absent)?;
            cas(context, &key, expected, value).await
        }
        Kv::List { prefix, limit, cursor, reading } => {
            list(context, &prefix, limit, cursor.as_deref(), &reading).await
        }
    }
}

fn path_of(key: &str) -> Result<String, Failure> {
    if key.is_empty() {
        return Err(Failure::usage("the key is empty; give at least one character"));
    }
    Ok(format!("/v1/kv/{}", escape(key)))
}

async fn get(context: &Context, key: &str, reading: &Reading) -> Result<(), Failure> {
    let request = Request::get(format!("{}?{}", path_of(key)?, reading.query()));
    let response =
        context.api()?.send(&request, Effect::Read).await.map_err(|failure| match failure.exit {
            Exit::NotFound => Failure::new(Exit::NotFound, format!("key {key:?} has no value")),
            _ => failure,
        })?;
    let index: Option<u64> = response.header("quorate-index").and_then(|index| index.parse().ok());
    let mut record = json!({"key": key, "index": index});
    put_value(&mut record, &response.body);
    context.output.raw(&response.body, &record)
}

/// Text as it is; other bytes in base64, as in the API's JSON.
fn put_value(record: &mut Value, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        record["value"] = text.into();
    } else {
        record["value"] = BASE64_STANDARD.encode(bytes).into();
        record["encoding"] = "base64".into();
    }
}

async fn put(context: &Context, key: &str, value: Source<'_>) -> Result<(), Failure> {
    let path = path_of(key)?;
    let answer = context.api()?.json(&Request::put(path, value.read()?), Effect::Write).await?;
    took_effect("the write", context.output.record(vec!["index", "term"], &answer))
}

/// Where the expected value (`None`: absent) and the new one come from: flags, and the words for what no flag names.
fn cas_sources<'a>(
    words: Vec<&'a str>,
    expected: Option<Source<'a>>,
    value: Option<Source<'a>>,
    absent: bool,
) -> Result<(Option<Source<'a>>, Source<'a>), Failure> {
    let mut words = words.into_iter().map(Source::Word);
    let expected = if absent { None } else { expected.or_else(|| words.next()) };
    let value = value.or_else(|| words.next());
    match (expected, value, words.next()) {
        (Some(Source::Word("-")), Some(Source::Word("-")), _) => {
            Err(Failure::usage("standard input is one value; give the other one as text or by --file"))
        }
        (expected, Some(value), None) if absent == expected.is_none() => Ok((expected, value)),
        _ => Err(Failure::usage(
            "give the expected value once: kv cas KEY EXPECTED VALUE, or kv cas --absent KEY VALUE",
        )),
    }
}

async fn cas(
    context: &Context,
    key: &str,
    expected: Option<Source<'_>>,
    value: Source<'_>,
) -> Result<(), Failure> {
    let (expected, value) = (expected.map(Source::read).transpose()?, value.read()?);
    let ([expected, value], encoding) = in_json([expected.as_ref(), Some(&value)]);
    let mut body = json!({"operation": "cas", "key": key, "expected": expected, "value": value});
    if let Some(encoding) = encoding {
        body["encoding"] = encoding.into();
    }
    let answer = context.api()?.json(&Request::post("/command", &body), Effect::Write).await?;
    let printed = context.output.record(vec!["swapped", "value", "index", "term"], &answer);
    let own = match answer["swapped"].as_bool() {
        Some(true) => return took_effect("the write", printed),
        Some(false) => Failure::new(Exit::Precondition, format!("key {key:?} is not as expected")),
        None => Failure::new(Exit::Unknown, "outcome unknown: the answer does not say whether it swapped"),
    };
    after_printing(printed, Err(own))
}

async fn list(
    context: &Context,
    prefix: &str,
    limit: u32,
    cursor: Option<&str>,
    reading: &Reading,
) -> Result<(), Failure> {
    let cursor = cursor.map(|cursor| format!("&cursor={}", escape(cursor))).unwrap_or_default();
    let path = format!("/v1/kv?prefix={}&limit={limit}{cursor}&{}", escape(prefix), reading.query());
    let answer = context.api()?.json(&Request::get(path), Effect::Read).await?;
    let rows = answer["items"].as_array().cloned().unwrap_or_default();
    context.output.rows(&Rows { columns: vec!["key", "value", "index"], rows }, Some(&answer))?;
    if let Some(cursor) = answer["cursor"].as_str() {
        context.output.note(&format!("there is more: --cursor {cursor:?}"));
    }
    Ok(())
}

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
use super::output::{Format, Rows, after_printing, beginning, goes_on, took_effect};
use super::value::{Source, in_json};

/// How much of a value a table shows, in columns.
const VALUE_COLUMNS_MAX: usize = 60;

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
        Kv::List { listing, keys_only } => list(context, &listing.query(), keys_only).await,
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
    let mut answer = context.api()?.json(&Request::post("/command", &body), Effect::Write).await?;
    if context.output.format == Format::Table {
        shorten_value(&mut answer);
    }
    let printed = context.output.record(vec!["swapped", "value", "index", "term"], &answer);
    let own = match answer["swapped"].as_bool() {
        Some(true) => return took_effect("the write", printed),
        Some(false) => Failure::new(Exit::Precondition, format!("key {key:?} is not as expected")),
        None => Failure::new(Exit::Unknown, "outcome unknown: the answer does not say whether it swapped"),
    };
    after_printing(printed, Err(own))
}

async fn list(context: &Context, query: &str, keys_only: bool) -> Result<(), Failure> {
    let mut answer = context.api()?.json(&Request::get(format!("/v1/kv?{query}")), Effect::Read).await?;
    if keys_only {
        for item in answer["items"].as_array_mut().into_iter().flatten() {
            leave_value_out(item);
        }
    }
    let columns = if keys_only { vec!["key"] } else { vec!["key", "value", "index"] };
    let mut rows = answer["items"].as_array().cloned().unwrap_or_default();
    if context.output.format == Format::Table {
        for row in &mut rows {
            shorten_value(row);
        }
    }
    context.output.rows(&Rows { columns, rows }, Some(&answer))?;
    if let Some(cursor) = answer["cursor"].as_str() {
        context.output.note(&goes_on(cursor));
    }
    Ok(())
}

fn leave_value_out(item: &mut Value) {
    if let Some(fields) = item.as_object_mut() {
        fields.retain(|name, _| !["value", "encoding"].contains(&name.as_str()));
    }
}

/// The begin of a long value, with its size.
fn shorten_value(item: &mut Value) {
    let Some(text) = item["value"].as_str() else { return };
    let Some(begin) = beginning(text, VALUE_COLUMNS_MAX) else { return };
    let shortened = if item["encoding"] == "base64" {
        let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
        format!("{begin}... ({} bytes, here in base64)", text.len() / 4 * 3 - padding)
    } else {
        format!("{begin}... ({} bytes)", text.len())
    };
    item["value"] = shortened.into();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("encoding");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_shown_by_its_begin_and_size() {
        let shown = |mut item: Value| {
            shorten_value(&mut item);
            item["value"].as_str().expect("text").to_owned()
        };
        assert_eq!(shown(json!({"value": "short"})), "short");
        let long = "v".repeat(70_000);
        assert_eq!(
            shown(json!({"value": long})),
            format!("{}... (70000 bytes)", "v".repeat(VALUE_COLUMNS_MAX))
        );
        let base64 = BASE64_STANDARD.encode([255; 1_000]);
        let shown = shown(json!({"value": base64, "encoding": "base64"}));
        assert!(shown.ends_with("... (1000 bytes, here in base64)"), "{shown}");
    }

    #[test]
    fn keys_alone_have_no_values() {
        let mut item = json!({"key": "k", "value": "v", "encoding": "base64", "index": 7});
        leave_value_out(&mut item);
        assert_eq!(item, json!({"key": "k", "index": 7}));
    }
}

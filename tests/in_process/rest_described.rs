//! The description of the API against its standard, and the API against its description: every call is sent as it is described,
//! with each parameter and each field at its limits and beyond them, and what comes back must be described too.
//!
//! The schema of OpenAPI 3.1 is that of <https://spec.openapis.org/oas/3.1/schema/2022-10-07>, as published.

use anyhow::{Context, Result};
use jsonschema::{Draft, Validator};
use quorate_server::ApiOptions;
use quorate_server::http::{Method, escape};
use quorate_tests::servers::{Answer, Servers};
use serde_json::{Map, Value, json};

const STANDARD: &str = include_str!("../schemas/openapi-3.1-2022-10-07.json");

/// A checker of values by a schema of the description.
fn by(api: &Value, schema: &Value) -> Result<Validator> {
    let mut schema = schema.clone();
    schema["components"] = api["components"].clone();
    jsonschema::options().with_draft(Draft::Draft202012).build(&schema).context("a schema")
}

fn errors(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_description_is_one_of_openapi_3_1() -> Result<()> {
    let api = quorate_server::api::openapi();
    let standard: Value = serde_json::from_str(STANDARD)?;
    let standard = jsonschema::options().with_draft(Draft::Draft202012).build(&standard)?;
    assert_eq!(errors(&standard, &api), Vec::<String>::new());
    // The standard leaves the schemas inside to the dialect.
    for (name, schema) in api["components"]["schemas"].as_object().context("schemas")? {
        jsonschema::draft202012::meta::validate(schema)
            .map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        by(&api, schema).with_context(|| name.clone())?;
    }
    let mut broken = api.clone();
    broken["paths"]["/command"]["post"]["responses"]["200"]["description"].take();
    assert!(!errors(&standard, &broken).is_empty(), "a response without a description passes");
    Ok(())
}

/// One call as it is to be sent.
#[derive(Debug, Clone, Default)]
struct Case {
    path: Map<String, Value>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    /// Its media type, and its bytes.
    body: Option<(String, String)>,
    /// Described: not refused as malformed. Otherwise it must be.
    valid: bool,
}

impl Case {
    fn set(&mut self, place: &str, name: &str, value: &str) {
        let pair = (name.to_owned(), value.to_owned());
        match place {
            "path" => drop(self.path.insert(pair.0, pair.1.into())),
            "query" => {
                self.query.retain(|(other, _)| other != name);
                self.query.push(pair);
            }
            "header" => self.headers.push(pair),
            other => panic!("a parameter in {other}"),
        }
    }

    fn url(&self, template: &str) -> String {
        let mut path = template.to_owned();
        for (name, value) in &self.path {
            path = path.replace(&format!("{{{name}}}"), &escape(value.as_str().expect("text")));
        }
        let query: Vec<_> =
            self.query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

/// What a schema refers to.
fn resolved<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(pointer) => api.pointer(pointer.trim_start_matches('#')).expect("a schema"),
        None => schema,
    }
}

fn words(values: &Value) -> impl Iterator<Item = String> {
    values.as_array().into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned))
}

/// Texts of a parameter that its schema allows, and texts that it does not.
fn texts(api: &Value, schema: &Value) -> (Vec<String>, Vec<String>) {
    let schema = resolved(api, schema);
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    if schema.get("enum").is_some() {
        return (words(&schema["enum"]).collect(), owned(&["no such word", ""]));
    }
    match schema["type"].as_str() {
        Some("boolean") => (owned(&["true", "false"]), owned(&["maybe", "1", ""])),
        Some("integer") => {
            let (min, max) = (schema["minimum"].as_i64().unwrap_or(0), schema["maximum"].as_i64());
            let mut wrong = owned(&["x", "1.5", "", "+"]);
            wrong.push((min - 1).to_string());
            wrong.extend(max.map(|max| (max + 1).to_string()));
            (vec![min.to_string(), max.unwrap_or(min + 700).to_string()], wrong)
        }
        Some("string") => {
            let mut right: Vec<_> = words(&schema["examples"]).collect();
            let (min, max) = (schema["minLength"].as_u64(), schema["maxLength"].as_u64());
            if right.is_empty() {
                right = owned(&["dGV4dA==", "a/b", "\u{fc} ?&#%"]);
                right.extend(max.map(|max| "k".repeat(max as usize)));
            }
            let wrong = max.map(|max| "k".repeat(max as usize + 1)).into_iter();
            (right, wrong.chain(min.map(|_| String::new())).collect())
        }
        other => panic!("a parameter of type {other:?}"),
    }
}

/// Values that a schema allows: one for each of its forms.
fn samples(api: &Value, schema: &Value) -> Vec<Value> {
    let schema = resolved(api, schema);
    let forms = ["oneOf", "anyOf"].iter().find_map(|name| schema[*name].as_array());
    if let Some(forms) = forms {
        return forms.iter().flat_map(|form| samples(api, form)).collect();
    }
    if let Some(example) = schema.get("example") {
        return vec![example.clone()];
    }
    if let Some(all) = schema["enum"].as_array() {
        return all.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("string") => vec!["dGV4dA==".into()],
        Some("integer") => vec![7.into()],
        Some("boolean") => vec![true.into()],
        Some("null") => vec![Value::Null],
        Some("object") => {
            let fields = schema["properties"].as_object().cloned().unwrap_or_default();
            let whole: Map<_, _> = fields
                .iter()
                .map(|(name, field)| (name.clone(), samples(api, field).swap_remove(0)))
                .collect();
            let required: Vec<_> = words(&schema["required"]).collect();
            let least = whole.clone().into_iter().filter(|(name, _)| required.contains(name)).collect();
            vec![Value::Object(whole), Value::Object(least)]
        }
        other => panic!("a body of type {other:?}: {schema}"),
    }
}

/// Bodies that a schema does not allow.
fn spoilt(valid: &Value, allowed: &Validator) -> Vec<String> {
    let mut all: Vec<Value> = vec![json!([]), json!("text"), json!(7)];
    let fields = valid.as_object().cloned().unwrap_or_default();
    for name in fields.keys() {
        let mut without = fields.clone();
        without.remove(name);
        all.push(Value::Object(without));
        for wrong in [json!({}), json!(1.5), json!([1]), json!("")] {
            let mut other = fields.clone();
            other.insert(name.clone(), wrong);
            all.push(Value::Object(other));
        }
    }
    let mut more = fields;
    more.insert("surplus".to_owned(), 1.into());
    all.push(Value::Object(more));
    let wrong = all.into_iter().filter(|body| !allowed.is_valid(body)).map(|body| body.to_string());
    wrong.chain(["{".to_owned(), "\u{0}".to_owned()]).collect()
}

/// The calls by which an operation is tried.
fn cases(api: &Value, operation: &Value) -> Result<Vec<Case>> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let part = |parameter: &Value, field: &str| parameter[field].as_str().expect("text").to_owned();
    let mut base = Case { valid: true, ..Case::default() };
    for parameter in &parameters {
        let name = part(parameter, "name");
        if parameter["required"] == true {
            base.set(&part(parameter, "in"), &name, "dGV4dA==");
        } else if name == "timeout_ms" {
            // A call that no one answers is not waited for.
            base.set("query", &name, "2000");
        }
    }
    let (mut all, mut reads) = (Vec::new(), None);
    let content = operation["requestBody"]["content"].as_object();
    for (kind, media) in content.into_iter().flatten() {
        if kind != "application/json" {
            base.body = Some((kind.clone(), "any bytes".to_owned()));
            continue;
        }
        let allowed = by(api, &media["schema"])?;
        for body in samples(api, &media["schema"]) {
            assert!(allowed.is_valid(&body), "{body}");
            base.body = Some((kind.clone(), body.to_string()));
            all.push(base.clone());
            if body["operation"] == "get" {
                // A write of the same call takes fewer parameters.
                reads.clone_from(&base.body);
            }
            let wrong = |body| Case { body: Some((kind.clone(), body)), valid: false, ..base.clone() };
            all.extend(spoilt(&body, &allowed).into_iter().map(wrong));
            all.push(Case {
                body: Some(("text/plain".to_owned(), body.to_string())),
                valid: false,
                ..base.clone()
            });
        }
    }
    base.body = reads.or(base.body);
    all.push(base.clone());
    for parameter in &parameters {
        let (name, place) = (part(parameter, "name"), part(parameter, "in"));
        let (right, wrong) = texts(api, &parameter["schema"]);
        for (texts, valid) in [(right, true), (wrong, false)] {
            for text in texts {
                if place == "path" && text.is_empty() {
                    // Another path.
                    continue;
                }
                let mut case = Case { valid, ..base.clone() };
                case.set(&place, &name, &text);
                all.push(case);
            }
        }
    }
    let mut surplus = Case { valid: false, ..base };
    surplus.set("query", "surplus", "1");
    all.push(surplus);
    Ok(all)
}

/// Whether the answer is one of those that the operation describes.
fn check(api: &Value, operation: &Value, answer: &Answer) -> Result<()> {
    let responses = &operation["responses"];
    let status = answer.status.as_str();
    let described = responses.get(status).or_else(|| responses.get("default")).context("a status")?;
    let is_error = answer.status.is_client_error() || answer.status.is_server_error();
    anyhow::ensure!(responses.get(status).is_some() || is_error, "status {status} is not described");
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let text = answer.header(&name.to_ascii_lowercase());
        anyhow::ensure!(!text.is_empty() || header["required"] == false, "header {name} is missing");
        let value = text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from);
        let wrong = errors(&by(api, &header["schema"])?, &value);
        anyhow::ensure!(text.is_empty() || wrong.is_empty(), "header {name}: {wrong:?}");
    }
    let Some(content) = described.get("content") else {
        anyhow::ensure!(answer.body.is_empty() || is_error, "a body that is not described");
        return Ok(());
    };
    let kind = answer.header("content-type").split(';').next().unwrap_or_default();
    let media = content.get(kind).with_context(|| format!("content type {kind:?} is not described"))?;
    if kind.ends_with("json") {
        let wrong = errors(&by(api, &media["schema"])?, &answer.json());
        anyhow::ensure!(wrong.is_empty(), "the body is not as described: {wrong:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_answers_as_it_is_described() -> Result<()> {
    let servers = Servers::start_with(1, ApiOptions { actions: true, ..ApiOptions::default() }).await?;
    let api = servers.get(0, "/openapi.json").await?.ok();
    // What is found under the names that are used: a text in base64 is text, too.
    servers.put(0, "/v1/kv/dGV4dA%3D%3D", "text").await?.ok();
    let (mut sent, mut answered_well) = (0, 0);
    for (template, item) in api["paths"].as_object().context("paths")? {
        for (method, operation) in item.as_object().context("operations")? {
            let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
            // A probe takes any parameter, so that no prober is turned away.
            let is_probe = ["/livez", "/readyz"].contains(&template.as_str());
            for case in cases(&api, operation)? {
                let url = case.url(template);
                let call = servers.request(0, method.clone(), &url);
                let call = case.headers.iter().fold(call, |call, (name, value)| call.header(name, value));
                let call = match &case.body {
                    Some((kind, body)) => call.header("content-type", kind).body(body.clone()),
                    None => call,
                };
                let shown = format!("{method} {url} {case:?}");
                let answer = Answer::of(call).await.with_context(|| shown.clone())?;
                check(&api, operation, &answer).with_context(|| format!("{shown}: {answer:?}"))?;
                let status = answer.status.as_u16();
                let is_wrong = [400, 405, 413, 414, 415].contains(&status);
                assert!(
                    is_probe || is_wrong != case.valid,
                    "{shown}: {status} {}",
                    String::from_utf8_lossy(&answer.body)
                );
                assert_ne!(status, 500, "{shown}");
                (sent, answered_well) = (sent + 1, answered_well + usize::from(answer.status.is_success()));
            }
        }
    }
    assert!(sent > 300 && answered_well > 80, "{answered_well} of {sent} calls were answered well");
    servers.stop_all().await
}

//! What the description says of many calls alike, added to what the handlers say of each: headers, redirects, limits, and words
//! of which there are only some. Pure: from a description to a description.
//!
//! A test sends what is described here to a node, and what is not (`tests/in_process/rest_described.rs`).

use serde_json::{Map, Value, json};

use super::code::Code;

/// Fields that hold one of some words: schema, field, words.
const WORDS: [(&str, &str, &[&str]); 7] = [
    ("ClusterView", "role", &["leader", "follower", "candidate", "restarting", "silent"]),
    ("NodeView", "role", &["leader", "follower", "candidate", "restarting", "silent"]),
    ("NodeView", "standing", &["voter", "learner", "outside", "founding", "recovering", "awaiting"]),
    ("LogLine", "kind", &["command", "membership", "noop"]),
    ("LoggedCommand", "operation", &["set", "delete", "cas", "add", "set_counter", "delete_counter"]),
    ("MemberState", "kind", &["voter", "learner", "outgoing"]),
    ("ActorView", "status", &["starting", "running", "ending"]),
];

/// Adds it to a description.
pub(super) fn complete(api: &mut Value) {
    let paths = api["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for (method, operation) in paths.filter_map(Value::as_object_mut).flatten() {
        complete_operation(method, operation);
    }
    if let Some(schemas) = api["components"]["schemas"].as_object_mut() {
        complete_schemas(schemas);
    }
}

/// What a call has in common with others.
#[derive(Clone, Copy)]
struct Traits {
    reads: bool,
    /// `POST /command` reads or writes.
    writes: bool,
    of_key: bool,
}

fn complete_operation(method: &str, operation: &mut Value) {
    let has = |name: &str| names(operation).any(|named| named == name);
    let is_of_machine = ["command", "counters", "keys"].iter().any(|tag| operation["tags"][0] == *tag);
    let (timed, redirects) = (has("timeout_ms"), has("redirect"));
    let traits =
        Traits { reads: has("consistency"), writes: is_of_machine && method != "get", of_key: has("key") };
    complete_parameters(operation, timed, traits);
    let responses = operation["responses"].as_object_mut().expect("every call has answers");
    complete_responses(responses, redirects, traits);
    if let Some(body) = operation.get_mut("requestBody") {
        complete_content(body);
    }
}

fn complete_parameters(operation: &mut Value, timed: bool, Traits { reads, writes, .. }: Traits) {
    for parameter in parameters(operation) {
        complete_parameter(parameter, timed);
        if writes && !reads && parameter["name"] == "If-None-Match" {
            parameter["schema"] = json!({"type": "string", "enum": ["*"]});
        }
    }
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "`<client>/<sequence>`, or any other text of up to 255 characters",
        "schema": {
            "type": "string", "minLength": 1, "maxLength": 276,
            "examples": ["8e03978e-40d5-43dd-bc93-6894a57f9324", "till-4/17"]
        }
    });
    let timeout = json!({
        "name": "Quorate-Timeout-Ms", "in": "header", "required": false,
        "description": "The deadline, where no parameter gives it",
        "schema": {"type": "integer", "format": "int64", "minimum": 1}
    });
    let added = writes.then_some(key).into_iter().chain(timed.then_some(timeout));
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        parameters.extend(added);
    }
}

fn complete_responses(responses: &mut Map<String, Value>, redirects: bool, traits: Traits) {
    for response in responses.values_mut() {
        complete_content(response);
    }
    if redirects {
        let headers =
            json!({"Location": header("The same call at the leader", &json!({"type": "string"}), true)});
        let described = json!({"description": "Another node leads: `redirect=true`", "headers": headers});
        responses.insert("307".to_owned(), described);
    }
    for (status, response) in responses {
        let headers = headers_of(status, traits);
        if !headers.is_empty() {
            response["headers"] = Value::Object(headers);
        }
    }
}

/// The headers of an answer.
fn headers_of(status: &str, Traits { reads, writes, of_key, .. }: Traits) -> Map<String, Value> {
    let index = json!({"type": "integer", "format": "int64", "minimum": 0});
    let mut headers = Map::new();
    let mut add = |name: &str, text: &str, schema: &Value, required: bool| {
        headers.insert(name.to_owned(), header(text, schema, required));
    };
    if reads && ["200", "304", "404", "412"].contains(&status) {
        add("Quorate-Applied-Index", "The last index of the log that the answer shows", &index, !writes);
    }
    if writes && status == "200" {
        let text = "The index of the command's entry, or of the one that set the value";
        add("Quorate-Index", text, &index, false);
        add("Quorate-Term", "The term of the command's entry", &index, !reads);
    } else if reads && of_key && ["200", "304"].contains(&status) {
        add("Quorate-Index", "The version: the index of the entry that set it", &index, true);
        let tag = json!({"type": "string", "pattern": "^\"[0-9]+\"$"});
        add("ETag", "The version in quotes", &tag, true);
    }
    if status == "default" {
        add("Retry-After", "Seconds after which it is worth trying again", &index, false);
    }
    headers
}

/// The index operator would put a null where there are none.
fn parameters(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
}

fn names(operation: &Value) -> impl Iterator<Item = &str> {
    operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|parameter| parameter["name"].as_str())
}

fn header(description: &str, schema: &Value, required: bool) -> Value {
    json!({"description": description, "schema": schema, "required": required})
}

/// `of_data`: the call is one to the state machine.
fn complete_parameter(parameter: &mut Value, of_data: bool) {
    let add = match (parameter["in"].as_str(), parameter["name"].as_str().unwrap_or_default()) {
        (Some("query"), "timeout_ms") => json!({"minimum": 1}),
        (Some("query"), "from" | "expect") => json!({"minimum": 0}),
        (Some("query"), "scope") => json!({"enum": ["cluster", "node"]}),
        (Some("path"), "id") => json!({"minLength": 1}),
        (Some("path"), _) if of_data => json!({"minLength": 1, "maxLength": 1024}),
        (Some("header"), "If-Match" | "If-None-Match") => json!({"minLength": 1, "examples": ["\"12\""]}),
        _ => return,
    };
    let is_header = parameter["in"] == "header";
    let schema = parameter["schema"].as_object_mut().expect("a parameter has a schema");
    if is_header {
        // A header that is there has a text.
        schema.insert("type".to_owned(), "string".into());
    }
    schema.extend(add.as_object().cloned().into_iter().flatten());
}

/// Bytes are no array of numbers, and a body that may be left out is not null.
fn complete_content(of: &mut Value) {
    let Some(content) = of.get_mut("content").and_then(Value::as_object_mut) else { return };
    for (kind, media) in content {
        if kind == "application/octet-stream" {
            media["schema"] = json!({"contentMediaType": "application/octet-stream"});
        } else if let Some(one) = media["schema"]["oneOf"].as_array() {
            media["schema"] = one.iter().find(|schema| schema["type"] != "null").cloned().unwrap_or_default();
        }
    }
}

fn complete_schemas(schemas: &mut Map<String, Value>) {
    for (schema, field, words) in WORDS {
        let field = &mut schemas[schema]["properties"][field];
        let mut words: Vec<Value> = words.iter().map(|word| (*word).into()).collect();
        if field["type"].is_array() {
            words.push(Value::Null);
        }
        field["enum"] = words.into();
    }
    for schema in schemas.values_mut() {
        if let Some(ok) = schema.pointer_mut("/properties/ok") {
            ok["const"] = true.into();
        }
    }
    let problem = &mut schemas["ProblemBody"]["properties"];
    problem["code"]["enum"] = Code::ALL.iter().map(|code| code.about().name).collect();
    problem["type"]["pattern"] = "^urn:quorate:error:[a-z_]+$".into();
    problem["status"]["maximum"] = 599.into();
    problem["status"]["minimum"] = 400.into();
    // An answer to `cas` has all the fields of one to `get`.
    let done = schemas["CommandDone"].as_object_mut().expect("an object");
    let forms = done.remove("oneOf").expect("its forms");
    done.insert("anyOf".to_owned(), forms);
    for form in schemas["Operation"]["oneOf"].as_array_mut().into_iter().flatten() {
        form["additionalProperties"] = false.into();
        form["properties"]["key"]["minLength"] = 1.into();
        form["properties"]["key"]["maxLength"] = 1024.into();
        if let Some(value) = form["properties"].get_mut("value") {
            value["maxLength"] = (1 << 20).into();
        }
    }
}

//! The settings file: TOML with top-level keys, and `[tuning.*]` sections for what `quorate::Config` holds.
//!
//! The list of nodes is the top-level key `cluster`, so the tuning section of that name is written
//! `[tuning.cluster]`, and its sisters `[tuning.node]` and `[tuning.live]`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value as Toml;

use super::kind::Kind;
use super::nearest;
use super::table::{SETTINGS, Setting, Side};
use super::{Source, Value};
use crate::cli::exit::Failure;

/// A settings file is a page or two; more is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file into values.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<&'static str, Value>, Failure> {
    let failed = |detail: String| Failure::usage(format!("settings file {}: {detail}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!("it has {length} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error| failed(format!("is not TOML: {error}")))?;
    let source = Source::File(path.to_owned());
    let mut found = BTreeMap::new();
    for (key, value) in flatten(table).map_err(failed)? {
        let setting = find(&key).map_err(failed)?;
        let text = text_of(setting, &value).map_err(failed)?;
        found.insert(setting.key, Value { text, source: source.clone() });
    }
    Ok(found)
}

/// Keys with their section before them.
fn flatten(table: toml::Table) -> Result<Vec<(String, Toml)>, String> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Toml::Table(sections) if key == "tuning" => {
                for (section, settings) in sections {
                    let Toml::Table(settings) = settings else {
                        return Err(format!(
                            "tuning.{section} is not a section: write [tuning.node] above it"
                        ));
                    };
                    found.extend(
                        settings.into_iter().map(|(key, value)| (format!("tuning.{section}.{key}"), value)),
                    );
                }
            }
            Toml::Table(_) if ["cluster", "node", "live"].contains(&key.as_str()) => {
                return Err(format!("unknown section [{key}]: did you mean [tuning.{key}]?"));
            }
            Toml::Table(_) => {
                return Err(format!(
                    "unknown section [{key}]: known are tuning.cluster, tuning.node, tuning.live"
                ));
            }
            value => found.push((key, value)),
        }
    }
    Ok(found)
}

/// The key as it is written in a file.
pub(crate) fn path_of(setting: &Setting) -> String {
    match setting.side {
        Side::Tuning(section) => format!("tuning.{section}.{}", setting.key),
        Side::Any | Side::Client | Side::Server => setting.key.to_owned(),
    }
}

fn find(path: &str) -> Result<&'static Setting, String> {
    let in_file = || SETTINGS.iter().filter(|setting| setting.key != "config");
    if let Some(setting) = in_file().find(|setting| path_of(setting) == path) {
        return Ok(setting);
    }
    let name = path.rsplit('.').next().unwrap_or(path);
    if let Some(setting) = in_file().find(|setting| setting.key == name) {
        return Err(format!("{path} is in the wrong section: its place is {}", path_of(setting)));
    }
    Err(nearest::unknown("key", name, in_file().map(|setting| setting.key)))
}

fn text_of(setting: &Setting, value: &Toml) -> Result<String, String> {
    let key = path_of(setting);
    match (setting.kind, value) {
        (Kind::List, Toml::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(Toml::as_str).collect();
            items.map(|items| items.join(",")).ok_or_else(|| format!("{key} is a list of strings"))
        }
        (Kind::List | Kind::Text | Kind::OneOf(_) | Kind::Span, Toml::String(text)) => Ok(text.clone()),
        (Kind::Port | Kind::Number, Toml::Integer(number)) => Ok(number.to_string()),
        (Kind::Switch, Toml::Boolean(on)) => Ok(on.to_string()),
        (kind, other) => Err(format!("{key} is of type {}, it must be: {}", other.type_str(), kind.name())),
    }
}

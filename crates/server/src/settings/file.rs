//! The settings file: TOML with top-level keys, and `[tuning.*]` sections for what `quorate::Config` holds.
//!
//! The list of nodes is the top-level key `cluster`, so the tuning section of that name is written
//! `[tuning.cluster]`, and its sisters `[tuning.node]` and `[tuning.live]`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value as Toml;

use super::error::SettingError;
use super::nearest;
use super::table::{SETTINGS, Setting};
use super::types::SettingType;

/// A settings file is a page or two; a longer one is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a file into values by key.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<&'static str, String>, SettingError> {
    let read = || -> Result<_, String> {
        let unreadable = |error| format!("cannot be read: {error}");
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(format!("it has {length} bytes, at most {FILE_BYTES_MAX} are read"));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let table: toml::Table = text.parse().map_err(|error| format!("is not TOML: {error}"))?;
        let mut values = Vec::new();
        flatten("", table, &mut values);
        let text = |(path, value): &(String, Toml)| {
            let setting = find(path)?;
            Ok((setting.key, text_of(setting, value)?))
        };
        values.iter().map(text).collect()
    };
    read().map_err(|detail| SettingError::new(format!("settings file {}: {detail}", path.display())))
}

/// Values by their path, as `tuning.node.window_bytes_max`. A section without keys stays a value, so that an unknown one is
/// refused.
fn flatten(prefix: &str, table: toml::Table, values: &mut Vec<(String, Toml)>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            Toml::Table(section) if path.split('.').next() == Some("tuning") || !section.is_empty() => {
                flatten(&format!("{path}."), section, values);
            }
            value => values.push((path, value)),
        }
    }
}

fn find(path: &str) -> Result<&'static Setting, String> {
    let in_file = || SETTINGS.iter().filter(|setting| setting.key != "config");
    if let Some(setting) = in_file().find(|setting| setting.path() == path) {
        return Ok(setting);
    }
    let name = path.rsplit('.').next().unwrap_or(path);
    if let Some(setting) = in_file().find(|setting| setting.key == name) {
        return Err(format!("{path} is in the wrong section: its place is {}", setting.path()));
    }
    Err(nearest::unknown("key", name, in_file().map(|setting| setting.key)))
}

fn text_of(setting: &Setting, value: &Toml) -> Result<String, String> {
    use SettingType::{List, Number, OneOf, Port, Span, Switch, Text, Word};
    let key = setting.path();
    match (setting.form, value) {
        (List, Toml::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(Toml::as_str).collect();
            items.map(|items| items.join(",")).ok_or_else(|| format!("{key} is a list of strings"))
        }
        (List | Text | Word | OneOf(_) | Span { .. }, Toml::String(text)) => Ok(text.clone()),
        (Port | Number { .. }, Toml::Integer(number)) => Ok(number.to_string()),
        (Switch, Toml::Boolean(on)) => Ok(on.to_string()),
        (form, other) => Err(format!("{key} is of type {}, it must be: {}", other.type_str(), form.name())),
    }
}

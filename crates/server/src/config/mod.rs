//! Where settings come from: flag, `QUORATE_*` variable, TOML file, default, in this order.
//!
//! Theory of operation. [`SETTINGS`] is the one table of what can be set; the page docs/reference/config.md is made from
//! it. Every value is text with a source until a typed getter reads it, so that a mistake is told with the place it was
//! made. A key of the file or a variable that is not in the table is an error that names the nearest one.
//!
//! It never: reads a file that was not named, or lets a later source win silently (`config print` shows the source).

pub(crate) mod cluster;
pub(crate) mod file;
pub(crate) mod kind;
pub(crate) mod nearest;
pub(crate) mod reference;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::exit::Failure;
pub(crate) use table::{SETTINGS, Setting, Side};

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line.
    Flag(String),
    /// The environment.
    Variable(String),
    /// The settings file.
    File(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value before it is read, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// As it was written.
    pub(crate) text: String,
    /// Where.
    pub(crate) source: Source,
}

/// What was given on the command line, by key.
pub(crate) type Flags = Vec<(&'static str, Option<String>)>;

/// All settings with their sources.
#[derive(Debug, Clone)]
pub(crate) struct Settings(BTreeMap<&'static str, Value>);

impl Settings {
    /// Gathers the sources. `assignments` are the `--set KEY=VALUE` of the command line.
    pub(crate) fn gather(
        flags: Flags,
        assignments: &[String],
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let environment = variables(environment)?;
        let named = flags.iter().find(|(key, _)| *key == "config").and_then(|(_, path)| path.clone());
        let path = named.or_else(|| environment.get("config").map(|value| value.text.clone()));
        let mut found: BTreeMap<&'static str, Value> = SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.key, setting.default.clone()?)))
            .map(|(key, text)| (key, Value { text, source: Source::Default }))
            .collect();
        if let Some(path) = path {
            found.extend(file::read(Path::new(&path))?);
        }
        found.extend(environment);
        for assignment in assignments {
            let (key, text) = assigned(assignment)?;
            found.insert(key, Value { text, source: Source::Flag("--set".to_owned()) });
        }
        for (key, text) in flags {
            if let Some(text) = text {
                let source = Source::Flag(format!("--{}", key.replace('_', "-")));
                found.insert(key, Value { text, source });
            }
        }
        let settings = Self(found);
        settings.check_kinds()?;
        Ok(settings)
    }

    fn check_kinds(&self) -> Result<(), Failure> {
        for setting in SETTINGS.iter() {
            if let Some(value) = self.0.get(setting.key) {
                setting.kind.check(&value.text).map_err(|detail| wrong(setting.key, value, &detail))?;
            }
        }
        Ok(())
    }

    /// A value, if anybody or the table gave one.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        debug_assert!(SETTINGS.iter().any(|setting| setting.key == key), "{key} is not in the table");
        self.0.get(key)
    }

    /// A text, if there is one.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).map(|value| value.text.as_str())
    }

    /// Whether a person chose it.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.source != Source::Default)
    }

    /// A number that the table says is one.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.text.parse().map(Some).map_err(|_| wrong(key, value, "it is too large"))
    }

    /// A switch.
    pub(crate) fn switch(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    /// The items of a list.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A span of time.
    pub(crate) fn span(&self, key: &str) -> Option<Duration> {
        self.text(key).and_then(|text| kind::parse_span(text).ok())
    }

    /// That a value is wrong, with its source.
    pub(crate) fn wrong(&self, key: &str, detail: &str) -> Failure {
        match self.value(key) {
            Some(value) => wrong(key, value, detail),
            None => Failure::usage(format!("{key}: {detail}")),
        }
    }

    /// The settings of `quorate::Config`.
    pub(crate) fn tuning(&self) -> Result<quorate::Config, Failure> {
        let mut document = serde_json::Map::new();
        for setting in SETTINGS.iter() {
            let Side::Tuning(section) = setting.side else { continue };
            let number: u64 = self.number(setting.key)?.unwrap_or_default();
            let section = document.entry(section).or_insert_with(|| serde_json::json!({}));
            section[setting.key] = number.into();
        }
        let config: quorate::Config = serde_json::from_value(document.into())
            .map_err(|error| Failure::usage(format!("settings out of range: {error}")))?;
        config.validate().map_err(|error| Failure::usage(format!("settings do not go together: {error}")))?;
        Ok(config)
    }
}

fn wrong(key: &str, value: &Value, detail: &str) -> Failure {
    let shown: String = value.text.chars().take(120).collect();
    Failure::usage(format!("{key} is {shown:?} (from {}): {detail}", value.source))
}

fn assigned(assignment: &str) -> Result<(&'static str, String), Failure> {
    let Some((key, text)) = assignment.split_once('=') else {
        return Err(Failure::usage(format!("--set {assignment:?} is not KEY=VALUE")));
    };
    let tunable = |setting: &&Setting| matches!(setting.side, Side::Tuning(_));
    let found = SETTINGS.iter().filter(tunable).find(|setting| setting.key == key.trim());
    found.map(|setting| (setting.key, text.trim().to_owned())).ok_or_else(|| {
        let known = SETTINGS.iter().filter(tunable).map(|setting| setting.key);
        Failure::usage(format!("--set: {}", nearest::unknown("key", key.trim(), known)))
    })
}

/// The `QUORATE_*` variables. What Kubernetes sets for a service called `quorate`, and what tests set, are not settings.
fn variables(
    environment: impl Iterator<Item = (String, String)>,
) -> Result<BTreeMap<&'static str, Value>, Failure> {
    let mut found = BTreeMap::new();
    for (name, text) in environment {
        let foreign = ["QUORATE_SERVICE_", "QUORATE_PORT_", "QUORATE_TEST_"];
        let Some(key) = name.strip_prefix("QUORATE_") else { continue };
        if foreign.iter().any(|prefix| name.starts_with(prefix)) || text.starts_with("tcp://") {
            continue;
        }
        let key = key.to_ascii_lowercase();
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            let known: Vec<String> = SETTINGS.iter().map(|setting| variable_of(setting.key)).collect();
            let known = known.iter().map(String::as_str);
            return Err(Failure::usage(nearest::unknown("variable", &name, known)));
        };
        if !text.is_empty() {
            found.insert(setting.key, Value { text, source: Source::Variable(name) });
        }
    }
    Ok(found)
}

/// The variable of a key.
pub(crate) fn variable_of(key: &str) -> String {
    format!("QUORATE_{}", key.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        pairs.into_iter()
    }

    fn said(result: Result<Settings, Failure>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn flag_then_variable_then_file_then_default() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"port = 1\napi_port = 2\nid = \"f\"\n").expect("written");
        let path = file.path().display().to_string();
        let flags = vec![("config", Some(path)), ("port", Some("3".into())), ("id", None)];
        let settings =
            Settings::gather(flags, &[], environment(&[("QUORATE_PORT", "4"), ("QUORATE_API_PORT", "5")]));
        let settings = settings.expect("gathered");
        let of = |key| {
            let value = settings.value(key).expect("it has a value");
            (value.text.as_str(), value.source.to_string())
        };
        assert_eq!(of("port"), ("3", "flag --port".to_owned()));
        assert_eq!(of("api_port"), ("5", "variable QUORATE_API_PORT".to_owned()));
        assert_eq!(of("id").0, "f");
        assert_eq!(of("host"), ("localhost", "default".to_owned()));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"[tuning.node]\nheartbeat_intervall_ms = 100\n").expect("written");
        let flags = vec![("config", Some(file.path().display().to_string()))];
        let message = said(Settings::gather(flags, &[], environment(&[])));
        assert!(message.contains("did you mean heartbeat_interval_ms?"), "{message}");
        let message = said(Settings::gather(vec![], &[], environment(&[("QUORATE_API_PROT", "1")])));
        assert!(message.contains("did you mean QUORATE_API_PORT?"), "{message}");
        let message = said(Settings::gather(vec![], &["proposal_max=1".into()], environment(&[])));
        assert!(message.contains("did you mean proposals_max?"), "{message}");
    }

    #[test]
    fn what_kubernetes_sets_is_not_a_setting() {
        let set = [("QUORATE_PORT", "tcp://10.0.0.1:7000"), ("QUORATE_SERVICE_HOST", "10.0.0.1")];
        assert!(Settings::gather(vec![], &[], environment(&set)).is_ok());
    }

    #[test]
    fn a_wrong_value_is_told_with_its_source() {
        let message = said(Settings::gather(vec![], &[], environment(&[("QUORATE_PORT", "70000")])));
        assert!(message.contains("port is \"70000\" (from variable QUORATE_PORT)"), "{message}");
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let settings = Settings::gather(vec![], &[], environment(&[])).expect("gathered");
        assert_eq!(settings.tuning().expect("valid"), quorate::Config::default());
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let set = ["heartbeat_interval_ms=900".to_owned()];
        let settings = Settings::gather(vec![], &set, environment(&[])).expect("gathered");
        let message = settings.tuning().expect_err("refused").to_string();
        assert!(message.contains("heartbeat_interval"), "{message}");
    }
}

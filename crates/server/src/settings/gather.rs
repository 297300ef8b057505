//! Gives every setting its value and its source.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use quorate::ConfigError;

use super::error::SettingError;
use super::flags::{Given, given};
use super::table::{SETTINGS, Scope, Setting};
use super::variables::{set_variable, unreadable_variable};
use super::{file, types};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(String),
    Variable(String),
    File(PathBuf),
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
    pub(crate) source: Source,
}

/// All settings with their sources.
#[derive(Debug, Clone)]
pub(crate) struct Settings(BTreeMap<&'static str, Value>);

impl Settings {
    /// Gathers flags, variables, file and defaults; `matches` are those of the whole command line. Variables that are no
    /// setting are not looked at: see [`unknown_variables`](super::unknown_variables).
    pub(crate) fn gather(matches: &ArgMatches) -> Result<Self, SettingError> {
        let given = given(matches)?;
        if let Some(unreadable) = unreadable_variable() {
            return Err(unreadable);
        }
        let sources = sources(&given);
        // An empty one is refused below, by its name.
        let path = sources.get_one::<String>("config").filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut file = path.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let mut values = BTreeMap::new();
        for setting in SETTINGS.iter() {
            let (key, from_file) = (setting.key, file.remove(setting.key));
            let source = match sources.value_source(key) {
                Some(ValueSource::CommandLine) => {
                    let flag = given.iter().rev().find(|given| given.key == key);
                    Source::Flag(flag.map(|given| given.flag.clone()).unwrap_or_default())
                }
                Some(ValueSource::EnvVariable) => Source::Variable(set_variable(setting).unwrap_or_default()),
                _ if from_file.is_some() => Source::File(path.clone().unwrap_or_default()),
                _ => Source::Default,
            };
            let text = sources.get_one::<String>(key).cloned().or(from_file).or(setting.default.clone());
            let Some(text) = text else { continue };
            let value = Value { text, source };
            setting.form.check(&value.text).map_err(|detail| wrong(key, &value, &detail))?;
            values.insert(key, value);
        }
        Ok(Self(values))
    }

    /// A value, if there is one.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        debug_assert!(SETTINGS.iter().any(|setting| setting.key == key), "{key} is not in the table");
        self.0.get(key)
    }

    /// A text, if there is one.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).map(|value| value.text.as_str())
    }

    /// Whether it is more than the default.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.source != Source::Default)
    }

    /// A number that the table says is one.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, SettingError> {
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
        self.text(key).and_then(|text| types::parse_span(text).ok())
    }

    /// That a value is wrong, with its source.
    pub(crate) fn wrong(&self, key: &str, detail: &str) -> SettingError {
        match self.value(key) {
            Some(value) => wrong(key, value, detail),
            None => SettingError::new(format!("{key}: {detail}")),
        }
    }

    /// The settings of `quorate::Config`.
    pub(crate) fn tuning(&self) -> Result<quorate::Config, SettingError> {
        let mut document = serde_json::Map::new();
        for setting in SETTINGS.iter() {
            let Scope::Tuning(section) = setting.scope else { continue };
            let number: u64 = self.number(setting.key)?.unwrap_or_default();
            let section = document.entry(section).or_insert_with(|| serde_json::json!({}));
            section[setting.key] = number.into();
        }
        let config: quorate::Config = serde_json::from_value(document.into())
            .map_err(|error| SettingError::new(format!("settings out of range: {error}")))?;
        match config.validate() {
            Ok(()) => Ok(config),
            Err(ConfigError::Heartbeat { .. }) => {
                let election = self.value("election_timeout_ms").map(|value| (&value.text, &value.source));
                let (text, source) = election.expect("it has a default");
                let detail =
                    format!("give at most a third of election_timeout_ms, which is {text} (from {source})");
                Err(self.wrong("heartbeat_interval_ms", &detail))
            }
            Err(error) => Err(SettingError::new(format!("settings do not go together: {error}"))),
        }
    }
}

fn wrong(key: &str, value: &Value, detail: &str) -> SettingError {
    let shown: String = value.text.chars().take(120).collect();
    SettingError::new(format!("{key} is {shown:?} (from {}): {detail}", value.source))
}

/// Every setting as an argument of one command whose variables clap reads: a setting that the given command has no flag
/// for can be set by variable and file all the same.
fn sources(given: &[Given]) -> ArgMatches {
    let arg = |setting: &Setting| {
        let arg = Arg::new(setting.key).long(setting.key);
        match set_variable(setting) {
            Some(variable) => arg.env(variable),
            None => arg,
        }
    };
    let command = Command::new("settings").no_binary_name(true).disable_help_flag(true);
    let command = command.args_override_self(true).args(SETTINGS.iter().map(arg));
    command.get_matches_from(given.iter().map(|given| format!("--{}={}", given.key, given.text)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::settings::{Place, flags};

    fn gather(arguments: &[&str]) -> Result<Settings, SettingError> {
        let command = Command::new("serve").no_binary_name(true);
        let config = Arg::new("config").long("config");
        let matches = command.arg(config).args(flags(Place::Serve)).try_get_matches_from(arguments);
        Settings::gather(&matches.expect("arguments"))
    }

    fn refused(arguments: &[&str]) -> String {
        gather(arguments).expect_err("refused").to_string()
    }

    #[test]
    fn flag_then_file_then_default() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"port = 1\napi_port = 2\nid = \"f\"\n").expect("written");
        let path = file.path().display().to_string();
        let settings = gather(&["--config", &path, "--port", "3", "--set", "proposals_max=7"]);
        let settings = settings.expect("gathered");
        let of = |key| {
            let value = settings.value(key).expect("it has a value");
            (value.text.as_str(), value.source.to_string())
        };
        assert_eq!(of("port"), ("3", "flag --port".to_owned()));
        assert_eq!(of("proposals_max"), ("7", "flag --set".to_owned()));
        assert_eq!(of("api_port"), ("2", format!("file {path}")));
        assert_eq!(of("id").0, "f");
        assert_eq!(of("host"), ("localhost", "default".to_owned()));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"[tuning.node]\nheartbeat_intervall_ms = 100\n").expect("written");
        let message = refused(&["--config", &file.path().display().to_string()]);
        assert!(message.contains("did you mean heartbeat_interval_ms?"), "{message}");
        let message = refused(&["--set", "proposal_max=1"]);
        assert!(message.contains("did you mean proposals_max?"), "{message}");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_source() {
        let message = refused(&["--port", "70000"]);
        assert!(message.contains("port is \"70000\" (from flag --port)"), "{message}");
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let settings = gather(&[]).expect("gathered");
        assert_eq!(settings.tuning().expect("valid"), quorate::Config::default());
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let settings = gather(&["--set", "heartbeat_interval_ms=900"]).expect("gathered");
        let message = settings.tuning().expect_err("refused").to_string();
        assert_eq!(
            message,
            "heartbeat_interval_ms is \"900\" (from flag --set): give at most a third of election_timeout_ms, which is 1000 (from \
             default)"
        );
    }

    /// 2^64-1 passed `config check` and ended the node at its start.
    #[test]
    fn every_number_is_held_to_its_range_and_told_with_its_source() {
        for range in quorate::SettingRange::ALL {
            for wrong in [u64::MAX, range.max + 1] {
                let message = refused(&["--set", &format!("{}={wrong}", range.name)]);
                let (name, min, max) = (range.name, range.min, range.max);
                let said = format!(
                    "{name} is \"{wrong}\" (from flag --set): give a whole number from {min} to {max}"
                );
                assert_eq!(message, said);
            }
        }
    }
}

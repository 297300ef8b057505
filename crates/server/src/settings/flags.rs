//! The flags that are settings. To clap their values are texts, so that a wrong value is reported in the same words
//! whether it came from a flag, a variable or the file.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::error::SettingError;
use super::nearest;
use super::table::{Flag, Place, SETTINGS, Setting};
use super::types::SettingType;

/// `--set`, which is in no place of the table: it takes any setting that has no flag.
const ASSIGNMENTS: &str = "assignments";

/// The flags of a command, in the order of its help.
pub(crate) fn flags(place: Place) -> Vec<Arg> {
    let mut args = Vec::new();
    for setting in SETTINGS.iter() {
        let of_place = setting.flags.iter().find(|flag| flag.places.contains(&place));
        args.extend(of_place.map(|flag| arg(setting, flag, place)));
        if setting.key == "data_dir" && matches!(place, Place::Serve | Place::Dev) {
            let set = Arg::new(ASSIGNMENTS).long("set").value_name("KEY=VALUE").action(ArgAction::Append);
            args.push(set.help("A tuning setting; `quorate config print` lists them"));
        }
    }
    match place {
        // The number of nodes, or the directory, is looked for first; the file last.
        Place::Dev | Place::Log => args.rotate_right(1),
        Place::Global => args.rotate_left(1),
        Place::Serve => {}
    }
    args
}

fn arg(setting: &Setting, flag: &Flag, place: Place) -> Arg {
    let help = flag.help.split_once("\n\n").map_or(flag.help, |(first, _)| first);
    let mut arg = Arg::new(setting.key).long(setting.key.replace('_', "-")).help(help);
    if help != flag.help {
        arg = arg.long_help(flag.help);
    }
    arg = match setting.form {
        SettingType::Switch => arg.action(ArgAction::SetTrue),
        _ => arg.value_name(flag.value_name),
    };
    if place == Place::Global {
        let short = ["output", "quiet"].contains(&setting.key).then(|| setting.key.chars().next()).flatten();
        arg = arg.short(short).global(true).help_heading("Global options");
    }
    arg
}

/// A setting that was given on the command line.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) key: &'static str,
    pub(crate) text: String,
    /// `--api-port`, or `--set`.
    pub(crate) flag: String,
}

/// The settings among the arguments of the command that was given.
pub(crate) fn given(matches: &ArgMatches) -> Result<Vec<Given>, SettingError> {
    let mut matches = matches;
    while let Some((_, command)) = matches.subcommand() {
        matches = command;
    }
    let mut given = Vec::new();
    for id in matches.ids().filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)) {
        if id == ASSIGNMENTS {
            for assignment in matches.get_many::<String>(ASSIGNMENTS).into_iter().flatten() {
                let (key, text) = assigned(assignment)?;
                given.push(Given { key, text, flag: "--set".to_owned() });
            }
        } else if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == id.as_str()) {
            let text = matches.get_raw(setting.key).into_iter().flatten().last().unwrap_or_default();
            let (key, flag) = (setting.key, format!("--{}", setting.key.replace('_', "-")));
            given.push(Given { key, text: text.to_string_lossy().into_owned(), flag });
        }
    }
    Ok(given)
}

fn assigned(assignment: &str) -> Result<(&'static str, String), SettingError> {
    let Some((key, text)) = assignment.split_once('=') else {
        return Err(SettingError::new(format!("--set {assignment:?} is not KEY=VALUE")));
    };
    let mut tunable = SETTINGS.iter().filter(|setting| setting.is_tuning()).map(|setting| setting.key);
    match tunable.clone().find(|known| *known == key.trim()) {
        Some(key) => Ok((key, text.trim().to_owned())),
        None => {
            Err(SettingError::new(format!("--set: {}", nearest::unknown("key", key.trim(), &mut tunable))))
        }
    }
}

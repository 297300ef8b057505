//! Where settings come from: flag, `QUORATE_*` variable, TOML file, default, in this order.
//!
//! Theory of operation. The table ([`SETTINGS`]) has one row for each setting; the flags of the commands, the variables, the
//! keys of the file and docs/reference/config.md are made from it. clap reads flags and variables and tells them apart
//! (`ArgMatches::value_source`); the file stands between variable and default. Every value is text with a source until a
//! typed getter reads it, so that a mistake is reported with the place where it was made. A key of the file that is not in the
//! table is an error that names the nearest one; so is a variable, for what starts a node (for a client it is a warning: the
//! variable may be meant for the node beside it).
//!
//! It never: reads a file that was not named, or lets a later source win silently (`config print` shows the source).

mod error;
mod file;
mod flags;
mod gather;
mod nearest;
mod nodes;
mod reference;
mod table;
mod types;
mod variables;

pub(crate) use self::error::SettingError;
pub(crate) use self::flags::flags;
pub(crate) use self::gather::{Settings, Source};
pub(crate) use self::nodes::resolve;
pub(crate) use self::reference::config_page;
pub(crate) use self::table::{Place, SETTINGS, Setting};
pub(crate) use self::types::parse_span;
pub(crate) use self::variables::unknown_variables;

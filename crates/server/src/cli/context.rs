//! What every command is given.

use super::client::Api;
use super::exit::Failure;
use super::output::Output;
use crate::settings::Settings;

/// Settings, and where to print.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) output: Output,
}

impl Context {
    /// The cluster that the settings name.
    pub(crate) fn api(&self) -> Result<Api, Failure> {
        Api::of(&self.settings)
    }
}

//! The `QUORATE_*` variables of the environment: which are settings, which are a container runtime's, which are mistakes.
//!
//! Kubernetes (and Docker's links) set variables named after every service in reach. A service called `quorate` or `quorate-api`
//! sets `QUORATE_SERVICE_HOST`, `QUORATE_API_PORT_8000_TCP_ADDR` and the like in every container: no one typed them, so they are
//! passed over. Where such a name is that of a setting (`QUORATE_PORT`, `QUORATE_API_PORT`), the value tells them apart: the
//! runtime's is a URL.

use std::ffi::OsString;

use super::error::SettingError;
use super::nearest;
use super::table::{SETTINGS, Setting};

/// The variables that are looked at begin with this.
const PREFIX: &str = "QUORATE_";
/// Set for tests, and read by nothing in the binary.
const TEST_PREFIX: &str = "QUORATE_TEST_";
/// How the address of a service begins.
const SERVICE_SCHEMES: [&str; 3] = ["tcp://", "udp://", "sctp://"];
/// How the name of a protocol ends the number of a port in `_PORT_8000_TCP`.
const SERVICE_PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// The variable of a setting as the environment spells it, if it is set. One that is empty is set, as a flag would be: a script whose
/// own variable was missing would otherwise found a cluster of one by an empty list, for good.
pub(super) fn set_variable(setting: &Setting) -> Option<String> {
    let variable = setting.variable();
    let mut set = environment().map(|(name, _)| name);
    set.find(|name| name.eq_ignore_ascii_case(&variable))
}

/// The variables that are no setting, each with the nearest one that is, in order of their names.
pub(crate) fn unknown_variables() -> Vec<SettingError> {
    unknown(environment().map(|(name, _)| name))
}

/// A setting's variable whose value is not UTF-8: a flag with such a value is refused, too.
pub(super) fn unreadable_variable() -> Option<SettingError> {
    unreadable(environment())
}

fn unreadable(mut variables: impl Iterator<Item = (String, OsString)>) -> Option<SettingError> {
    let is_setting =
        |name: &str| SETTINGS.iter().any(|setting| setting.variable().eq_ignore_ascii_case(name));
    let (name, _) = variables.find(|(name, text)| is_setting(name) && text.to_str().is_none())?;
    Some(SettingError::new(format!("variable {name}: its value is not UTF-8; give text, or do not set it")))
}

fn unknown(names: impl Iterator<Item = String>) -> Vec<SettingError> {
    let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let is_known = |name: &String| known.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut names: Vec<String> = names.filter(|name| !is_known(name)).collect();
    names.sort_unstable();
    let mistake = |name: &String| nearest::unknown("variable", name, known.iter().map(String::as_str));
    names.iter().map(|name| SettingError::new(mistake(name))).collect()
}

/// The `QUORATE_*` variables that are meant as settings; their values may be no UTF-8.
fn environment() -> impl Iterator<Item = (String, OsString)> {
    let variables = std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text)));
    variables.filter(|(name, text)| is_meant(name, &text.to_string_lossy()))
}

fn is_meant(name: &str, text: &str) -> bool {
    name.starts_with(PREFIX) && !name.starts_with(TEST_PREFIX) && !is_of_service(name, text)
}

/// Whether a variable is one that is set for a service: `_SERVICE_HOST`, `_SERVICE_PORT`, `_SERVICE_PORT_HTTP`,
/// `_PORT=tcp://10.0.0.1:80`, `_PORT_80_TCP`, `_PORT_80_TCP_ADDR`. A number in `QUORATE_AIP_PORT` is a slip of the pen and not
/// a service.
fn is_of_service(name: &str, text: &str) -> bool {
    // The underscore of the prefix may be that of the pattern: the service is then called `quorate`.
    let name = &name[PREFIX.len() - 1..];
    let is_address = SERVICE_SCHEMES.iter().any(|scheme| text.starts_with(scheme));
    let [host, service_port, port] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    name.ends_with(host)
        || name.ends_with(service_port)
        || name.contains(&format!("{service_port}_"))
        || (is_address && name.ends_with(port))
        || name.match_indices(&format!("{port}_")).any(|(at, part)| is_port(&name[at + part.len()..]))
}

/// `8000_TCP`, and what may follow it: `_ADDR`, `_PORT`, `_PROTO`.
fn is_port(text: &str) -> bool {
    let mut parts = text.split('_');
    let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    number && parts.next().is_some_and(|part| SERVICE_PROTOCOLS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_for_a_service_is_not_a_setting() {
        for (name, text) in [
            ("QUORATE_SERVICE_HOST", "10.0.0.1"),
            ("QUORATE_SERVICE_PORT", "8000"),
            ("QUORATE_SERVICE_PORT_HTTP", "8000"),
            ("QUORATE_PORT", "tcp://10.0.0.1:7000"),
            ("QUORATE_PORT_7000_TCP", "tcp://10.0.0.1:7000"),
            ("QUORATE_PORT_7000_TCP_PROTO", "tcp"),
            ("QUORATE_PORT_7000_TCP_PORT", "7000"),
            ("QUORATE_API_SERVICE_HOST", "10.0.0.1"),
            ("QUORATE_API_SERVICE_PORT_REST", "8000"),
            ("QUORATE_API_PORT", "udp://10.0.0.1:8000"),
            ("QUORATE_API_PORT_8000_UDP_ADDR", "10.0.0.1"),
            ("QUORATE_A_B_PORT_8000_SCTP", "sctp://10.0.0.1:8000"),
            ("QUORATE_TEST_BINARY", "/bin/quorate"),
            ("PORT", "7000"),
        ] {
            assert!(!is_meant(name, text), "{name}={text}");
        }
    }

    #[test]
    fn settings_and_slips_are_no_service() {
        for (name, text) in [
            ("QUORATE_PORT", "7000"),
            ("QUORATE_API_PORT", "8000"),
            ("QUORATE_AIP_PORT", "8000"),
            ("QUORATE_PORT_NUMBER", "8000"),
            ("QUORATE_ID", "tcp://node"),
        ] {
            assert!(is_meant(name, text), "{name}={text}");
        }
    }

    #[test]
    fn every_unknown_variable_is_named_with_the_nearest_known_one() {
        let variables = ["QUORATE_PORT", "QUORATE_TIMEOUTT", "quorate_api_port", "QUORATE_API_PROT"];
        let said: Vec<_> =
            unknown(variables.map(str::to_owned).into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("did you mean QUORATE_API_PORT?"), "{said:?}");
        assert!(said[1].contains("did you mean QUORATE_TIMEOUT?"), "{said:?}");
    }
}

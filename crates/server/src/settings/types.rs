//! The types of settings: what a value may be.

use std::time::Duration;

use super::nearest;

/// The types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingType {
    /// Any text.
    Text,
    /// Any text but an empty one: a variable of a script that is not set is a mistake.
    Word,
    /// A TCP port.
    Port,
    /// A whole number, both ends included.
    Number { min: u64, max: u64 },
    /// Texts between commas; an array of strings in the file.
    List,
    /// true or false.
    Switch,
    /// `5s`, `300ms`, `2m`; at most a day.
    Span { min_ms: u64 },
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl SettingType {
    /// What is wrong with a text, and what it may be.
    pub(crate) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Word if text.is_empty() => Err("it is empty; give one, or leave it out".to_owned()),
            Self::Text | Self::Word | Self::List => Ok(()),
            Self::Port => match text.parse::<u16>() {
                Ok(_) => Ok(()),
                Err(_) => Err("a port is a number from 0 to 65535 (0: any free one)".to_owned()),
            },
            Self::Number { min, max } => match text.parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                Ok(_) | Err(_) => Err(format!("give a whole number from {min} to {max}")),
            },
            Self::Switch if ["true", "false"].contains(&text) => Ok(()),
            Self::Switch => Err("give true or false".to_owned()),
            Self::Span { min_ms } => match parse_span(text)? {
                span if span.as_millis() >= u128::from(min_ms) => Ok(()),
                _ => Err(format!("at least {min_ms}ms")),
            },
            Self::OneOf(words) if words.contains(&text) => Ok(()),
            Self::OneOf(words) => Err(nearest::unknown("word", text, words.iter().copied())),
        }
    }

    /// As docs/reference/config.md has it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text | Self::Word => "text".to_owned(),
            Self::Port => "port".to_owned(),
            Self::Number { min, max } => format!("{min} to {max}"),
            Self::List => "list".to_owned(),
            Self::Switch => "true, false".to_owned(),
            Self::Span { min_ms: 0 } => "time up to 24h, as 5s or 300ms".to_owned(),
            Self::Span { min_ms } => format!("time from {min_ms}ms to 24h, as 5s or 300ms"),
            Self::OneOf(words) => words.join(", "),
        }
    }
}

/// A number with a unit.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let remedy = || "give a number with a unit: 300ms, 5s, 2m or 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(remedy)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| remedy())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(remedy()),
    };
    let span_ms = number.checked_mul(unit_ms).filter(|ms| *ms <= 86_400_000);
    span_ms.map(Duration::from_millis).ok_or_else(|| "at most 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(parse_span("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_span("300ms"), Ok(Duration::from_millis(300)));
        for wrong in ["5", "s", "", "-1s", "5 s", "1d", "99999999999999999999s", "25h"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}

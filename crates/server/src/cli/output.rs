//! Data on standard output, messages on standard error, in the format that was asked for.
//!
//! - `table`: for people, aligned, with a heading. A key's value has a newline behind it on a terminal only.
//! - `json`: one document, indented; field names are those of the REST API.
//! - `jsonl`: one line of JSON per row.
//! - `plain`: for scripts: values between tabs, no heading, with `\\`, `\n`, `\t` and `\u{..}` for what would not be one line of
//!   seen characters; a single value as its bytes, without a newline. A value that is no text is `\base64:` and its base64, as no text
//!   begins: its backslash would be doubled.
//!
//! What was not printed is not what was not done: a command that did its work and cannot print ends with
//! [`Exit::NotPrinted`], and one that failed ends with its own code. A reader that closes the pipe (`| head`) has what it
//! wanted: the command ends as if it had read everything.

use std::io::{IsTerminal, Write};

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::exit::{Exit, Failure};

/// A longer cell of a table is whole, and moves no other line.
const PADDED_MAX: usize = 60;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One line per row.
    Jsonl,
    /// For scripts.
    Plain,
}

impl Format {
    /// By its word, which the settings have checked.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "json" => Self::Json,
            "jsonl" => Self::Jsonl,
            "plain" => Self::Plain,
            // `table`: the settings accept no fifth word.
            _ => Self::Table,
        }
    }
}

/// How a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// How data is written.
    pub(crate) format: Format,
    /// No messages but errors.
    pub(crate) quiet: bool,
}

/// Rows with named columns; a column is the name of a field.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Fields shown by `table` and `plain`, in order.
    pub(crate) columns: Vec<&'static str>,
    /// The rows, objects. `json` and `jsonl` show all their fields.
    pub(crate) rows: Vec<Value>,
}

impl Output {
    /// Rows. As `json` they are one document: `document` if given, else an array of the rows.
    pub(crate) fn rows(self, rows: &Rows, document: Option<&Value>) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => {
                let array = Value::Array(rows.rows.clone());
                pretty(document.unwrap_or(&array))
            }
            Format::Jsonl => lines(rows.rows.iter().map(Value::to_string)),
            Format::Table => table(rows),
            Format::Plain => lines(rows.rows.iter().map(|row| plain_cells(rows, row).join("\t"))),
        };
        Self::bytes(text.as_bytes())
    }

    /// One object: as `table` a line per field, as `plain` the values between tabs.
    pub(crate) fn record(self, columns: Vec<&'static str>, record: &Value) -> Result<(), Failure> {
        if self.format == Format::Table {
            let shown = columns.iter().map(|column| (*column, table_cell(record, column)));
            let shown: Vec<_> = shown.filter(|(_, text)| !text.is_empty()).collect();
            let width = shown.iter().map(|(column, _)| column.len()).max().unwrap_or(0);
            let line = |(column, text): &(&str, String)| format!("{column:width$}  {text}");
            return Self::bytes(lines(shown.iter().map(line)).as_bytes());
        }
        self.rows(&Rows { columns, rows: vec![record.clone()] }, Some(record))
    }

    /// One value as it is, byte for byte, unless it is for a person's eyes; `record` is what it is part of.
    pub(crate) fn raw(self, bytes: &[u8], record: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Table if !std::io::stdout().is_terminal() => Self::bytes(bytes),
            Format::Table | Format::Json | Format::Jsonl | Format::Plain => self.value(bytes, record),
        }
    }

    /// One word; `record` is what it is part of.
    pub(crate) fn value(self, bytes: &[u8], record: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => Self::bytes(pretty(record).as_bytes()),
            Format::Jsonl => Self::bytes(format!("{record}\n").as_bytes()),
            Format::Table => Self::bytes(&[bytes, b"\n"].concat()),
            Format::Plain => Self::bytes(bytes),
        }
    }

    /// Bytes as they are.
    pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::new(Exit::Ok, ""),
            _ => Failure::new(Exit::NotPrinted, format!("cannot write to standard output: {error}")),
        })
    }

    /// A message for people.
    pub(crate) fn note(self, message: &str) {
        if !self.quiet {
            complain(message);
        }
    }
}

/// How a command ends that has changed something and then printed: `what` names the change.
pub(crate) fn took_effect(what: &str, printed: Result<(), Failure>) -> Result<(), Failure> {
    printed.map_err(|failure| match failure.exit {
        Exit::NotPrinted => {
            let message = format!("{what} took effect, but its answer could not be printed: {failure}");
            Failure { message, ..failure }
        }
        _ => failure,
    })
}

/// How a command ends that has printed and then failed, or not: its own failure goes first.
pub(crate) fn after_printing(printed: Result<(), Failure>, own: Result<(), Failure>) -> Result<(), Failure> {
    match (own, printed) {
        (Err(own), Err(printed)) if !printed.message.is_empty() => {
            Err(Failure { message: format!("{own}; {printed}"), ..own })
        }
        (Err(own), _) => Err(own),
        (Ok(()), printed) => printed,
    }
}

/// Writes to standard error; there is nowhere to report that this fails.
pub(crate) fn complain(message: &str) {
    drop(writeln!(std::io::stderr().lock(), "{message}"));
}

/// Whether a person can be asked.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn lines(each: impl Iterator<Item = String>) -> String {
    each.fold(String::new(), |text, line| text + &line + "\n")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn table(rows: &Rows) -> String {
    let heading: Vec<String> =
        rows.columns.iter().map(|column| column.replace('_', " ").to_uppercase()).collect();
    let lines: Vec<Vec<String>> =
        std::iter::once(heading).chain(rows.rows.iter().map(|row| cells(rows, row))).collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].width().min(PADDED_MAX)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.columns.len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        // Not by a width in `format!`: that counts characters, and panics above 65,535.
        let pad =
            |(cell, width): (&String, &usize)| cell.clone() + &" ".repeat(width.saturating_sub(cell.width()));
        let padded: Vec<String> = line.iter().zip(&widths).map(pad).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// As [`cells`], with `\\` for a backslash: what is escaped can be told from what was written so.
fn plain_cells(rows: &Rows, row: &Value) -> Vec<String> {
    let whole = |column: &&'static str| match (in_base64(row, column), &row[*column]) {
        (Some(base64), _) => format!("\\base64:{base64}"),
        (None, Value::String(text)) => cell(&text.replace('\\', "\\\\").into()),
        (None, other) => cell(other),
    };
    rows.columns.iter().map(whole).collect()
}

fn cells(rows: &Rows, row: &Value) -> Vec<String> {
    rows.columns.iter().map(|column| table_cell(row, column)).collect()
}

fn table_cell(row: &Value, column: &str) -> String {
    match in_base64(row, column) {
        Some(base64) => format!("{base64} (base64)"),
        None => cell(&row[column]),
    }
}

/// A value that is no text, as the API's JSON has it.
fn in_base64<'a>(row: &'a Value, column: &str) -> Option<&'a str> {
    row[column].as_str().filter(|_| column == "value" && row["encoding"] == "base64")
}

/// A value on one line. Any client may have written it, so control characters are escaped.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().flat_map(printable).collect(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A word as every shell takes it: what a command tells its user to type next must not run what a client wrote into a key. `None` for
/// one with characters that are not seen: no form of it is the same to all shells.
pub(crate) fn shell_quoted(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Some(text.to_owned());
    }
    let is_seen = text.chars().all(|c| printable(c).len() == 1);
    is_seen.then(|| format!("'{}'", text.replace('\'', "'\\''")))
}

/// That a list goes on, and how. Nodes of this build give cursors that need no quotes; an earlier one gives the last name.
pub(crate) fn goes_on(cursor: &str) -> String {
    match shell_quoted(cursor) {
        Some(cursor) => format!("there is more: --cursor={cursor}"),
        None => "there is more: give the cursor that -o json shows by --cursor".to_owned(),
    }
}

fn printable(c: char) -> Vec<char> {
    // The others end a line, or turn the direction in which the rest of it is shown.
    // Others are not seen at all, so that two keys would look alike.
    let moves =
        matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_unseen = matches!(
        c,
        '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    if c.is_control() || moves || is_unseen { c.escape_default().collect() } else { vec![c] }
}

/// The begin of a text that takes more columns than `columns_max` on a line.
pub(crate) fn beginning(text: &str, columns_max: usize) -> Option<String> {
    let (mut begin, mut columns) = (String::new(), 0);
    for c in text.chars() {
        let shown: String = printable(c).into_iter().collect();
        columns += shown.width();
        if columns > columns_max {
            return Some(begin);
        }
        begin.push(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failure_of_the_command_goes_before_one_of_its_output() {
        let (own, silent) = (Failure::new(Exit::Precondition, "not so"), Failure::new(Exit::Ok, ""));
        let full = Failure::new(Exit::NotPrinted, "full");
        assert_eq!(after_printing(Err(silent.clone()), Err(own.clone())), Err(own.clone()));
        assert_eq!(after_printing(Ok(()), Err(own.clone())), Err(own.clone()));
        let both = Failure::new(Exit::Precondition, "not so; full");
        assert_eq!(after_printing(Err(full.clone()), Err(own)), Err(both));
        assert_eq!(after_printing(Err(full.clone()), Ok(())), Err(full));
        assert_eq!(took_effect("the write", Err(silent.clone())), Err(silent));
    }

    #[test]
    fn a_table_is_aligned_and_a_cell_stays_on_its_line() {
        let rows = Rows {
            columns: vec!["key", "index"],
            rows: vec![json!({"key": "a\nb\u{1b}[2J", "index": 7}), json!({"key": "c", "index": null})],
        };
        assert_eq!(table(&rows), "KEY            INDEX\na\\nb\\u{1b}[2J  7\nc\n");
    }

    #[test]
    fn a_table_is_measured_in_columns_and_takes_any_length() {
        let rows = Rows {
            columns: vec!["key", "index"],
            rows: vec![
                json!({"key": "\u{5b57}\u{5b57}", "index": 7}),
                json!({"key": "e\u{301}a", "index": 8}),
            ],
        };
        assert_eq!(table(&rows), "KEY   INDEX\n\u{5b57}\u{5b57}  7\ne\u{301}a    8\n");
        let long = "k".repeat(70_000);
        let rows = Rows { columns: vec!["key", "index"], rows: vec![json!({"key": long, "index": 7})] };
        assert_eq!(
            table(&rows),
            format!("KEY{}  INDEX\n{}  7\n", " ".repeat(PADDED_MAX - 3), "k".repeat(70_000))
        );
    }

    #[test]
    fn a_beginning_is_counted_as_it_is_shown() {
        assert_eq!(beginning("four", 4), None);
        assert_eq!(beginning("fives", 4).as_deref(), Some("five"));
        assert_eq!(beginning("\u{5b57}\u{5b57}\u{5b57}", 5).as_deref(), Some("\u{5b57}\u{5b57}"));
        assert_eq!(beginning("a\nbcd", 4).as_deref(), Some("a\nb"));
        for c in ['\u{202e}', '\u{61c}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{e0041}'] {
            let shown: String = printable(c).into_iter().collect();
            assert_eq!(shown, format!("\\u{{{:x}}}", u32::from(c)), "it is not seen, or moves others");
        }
    }

    #[test]
    fn plain_cells_can_be_read_back() {
        let rows = |key: &str| Rows { columns: vec!["key"], rows: vec![json!({"key": key})] };
        let plain = |key: &str| plain_cells(&rows(key), &rows(key).rows[0])[0].clone();
        assert_eq!(plain("a\nb"), "a\\nb");
        assert_eq!(plain("a\\nb"), "a\\\\nb", "as it was written");
        assert_eq!(plain("a\tb"), "a\\tb");
        let value = |value: Value| {
            let rows = Rows { columns: vec!["value"], rows: vec![value] };
            (plain_cells(&rows, &rows.rows[0])[0].clone(), table(&rows))
        };
        let (bytes, shown) = value(json!({"value": "//4=", "encoding": "base64"}));
        assert_eq!((&*bytes, &*shown), ("\\base64://4=", "VALUE\n//4= (base64)\n"));
        assert_eq!(value(json!({"value": "//4="})).0, "//4=", "the text of these letters");
        assert_eq!(value(json!({"value": "\\base64://4="})).0, "\\\\base64://4=", "so is this");
    }

    #[test]
    fn a_list_that_goes_on_says_how() {
        assert_eq!(goes_on("c1.YQ-_"), "there is more: --cursor=c1.YQ-_");
        assert_eq!(goes_on("a\nb"), "there is more: give the cursor that -o json shows by --cursor");
    }

    #[test]
    fn what_is_to_be_typed_again_is_quoted_for_the_shell() {
        for (text, quoted) in [
            ("plain-1.2/3", Some("plain-1.2/3")),
            ("", Some("''")),
            ("$(reboot)`x`!", Some("'$(reboot)`x`!'")),
            ("it's", Some("'it'\\''s'")),
            ("a b", Some("'a b'")),
            ("a\\b\u{fc}", Some("'a\\b\u{fc}'")),
            // `$'..'` is not known to every shell, `\u` not in every locale, and no word has a NUL.
            ("a\nb'\u{202e}", None),
            ("\u{1b}[2J\\", None),
            ("\0", None),
        ] {
            assert_eq!(shell_quoted(text).as_deref(), quoted, "{text:?}");
        }
    }
}

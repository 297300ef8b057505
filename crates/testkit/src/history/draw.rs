//! Draws the contradiction as an SVG file that needs no network, script or font.
//!
//! One row for each operation, the rows of a client together; a bar from call to reply, open to the right where
//! the end is unknown. Only the order of moments counts, so each that is shown gets a column of the same width. Bound:
//! [`ROWS_MAX`] rows, those that matter most.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::check::NotLinearizable;
use super::print::{Said, shown};
use super::record::{Ended, Operation};
use super::window::Window;

const ROWS_MAX: usize = 80;
const ROW: usize = 22;
const TOP: usize = 96;
const LEFT: usize = 330;
const COLUMN: usize = 26;
const STYLE: &str = "text{font:12px monospace;fill:#222}.title{font-weight:bold;font-size:14px}.client{font-weight:bold}\
.bar{fill:#9db4c8;stroke:#567}.fewest{fill:#e0604c;stroke:#822}.waiting{stroke:#c00;stroke-width:3}\
.unknown{stroke-dasharray:4 3;fill-opacity:.5}.refused{fill:#ddd;stroke:#999}.stuck{stroke:#c00;stroke-width:2}\
.place{font-size:10px}.even{fill:#f4f4f4}";

impl NotLinearizable {
    /// A picture of what is to blame, as the text of an SVG file: the operations of the offending window as bars over
    /// time, per client, with call, reply and outcome; the fewest that contradict each other in red; and where the
    /// search for an order got stuck.
    ///
    /// ```
    /// use quorate_testkit::history::{Budget, Call, Recorder, Reply, check};
    /// let recorder = Recorder::new();
    /// recorder.begin(0, "k", Call::Write(1)).replied(Reply::Written);
    /// recorder.begin(1, "k", Call::Read).replied(Reply::Value(None));
    /// let why = check(&recorder.history(), Budget::default()).expect_err("the write is lost");
    /// assert!(why.draw().starts_with("<svg"));
    /// ```
    pub fn draw(&self) -> String {
        match self {
            Self::NoOrder { key, window } => drawn(key, window),
            Self::OutOfSteps { .. } | Self::Backwards { .. } => {
                let mut svg = opened(LEFT + 600, TOP);
                text(&mut svg, (8, 22), "title", &self.to_string());
                svg + "</svg>\n"
            }
        }
    }

    /// Writes the picture to a file, and makes its directory where there is none.
    pub fn draw_to(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, self.draw())
    }
}

/// What is drawn, and where.
struct Sheet<'a> {
    window: &'a Window,
    /// By client, then by start: a row each.
    rows: BTreeMap<u32, Vec<&'a Operation>>,
    /// The column of a moment.
    columns: BTreeMap<u64, usize>,
}

impl<'a> Sheet<'a> {
    fn new(window: &'a Window) -> Self {
        let mut seen = BTreeSet::new();
        let all = [&window.waiting, &window.fewest, &window.related];
        // Of the order found, the last matter most.
        let all = all.into_iter().flatten().chain(window.order.iter().rev());
        let chosen = all.filter(|operation| seen.insert(operation.start)).take(ROWS_MAX);
        let mut rows: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
        let mut moments = BTreeSet::from([window.held_up_by]);
        for operation in chosen {
            rows.entry(operation.client).or_default().push(operation);
            moments.insert(operation.start);
            if let Ended::Replied { at, .. } = operation.ended {
                moments.insert(at);
            }
        }
        for rows in rows.values_mut() {
            rows.sort_by_key(|operation| operation.start);
        }
        let columns = moments.into_iter().zip(0..).collect();
        Self { window, rows, columns }
    }

    fn x(&self, moment: u64) -> usize {
        LEFT + COLUMN / 2 + COLUMN * self.columns[&moment]
    }

    fn right(&self) -> usize {
        LEFT + COLUMN * (self.columns.len() + 1)
    }

    fn height(&self) -> usize {
        TOP + ROW * (self.rows.values().map(|rows| rows.len() + 1).sum::<usize>() + 2)
    }

    fn operation(&self, svg: &mut String, operation: &Operation, y: usize) {
        let window = self.window;
        let (end, kind) = match operation.ended {
            Ended::Replied { at, .. } => (self.x(at), ""),
            Ended::Unknown => (self.right(), " unknown"),
            Ended::Refused => (self.x(operation.start) + COLUMN, " refused"),
        };
        let is_in = |some: &[Operation]| some.iter().any(|other| other.start == operation.start);
        let fewest = if is_in(&window.fewest) { " fewest" } else { "" };
        let waiting = if is_in(&window.waiting) { " waiting" } else { "" };
        let (start, said) = (self.x(operation.start), escaped(&operation.to_string()));
        let _ = writeln!(
            svg,
            r#"<rect class="bar{kind}{fewest}{waiting}" x="{start}" y="{}" width="{}" height="{}" rx="3"><title>{said}</title></rect>"#,
            y + 4,
            (end - start).max(3),
            ROW - 8,
        );
        text(svg, (24, y + 15), "said", &Said(operation).to_string());
        if let Some(at) = window.order.iter().position(|other| other.start == operation.start) {
            let place = window.placed - window.order.len() + at + 1;
            text(svg, (start + 3, y + 15), "place", &format!("#{place}"));
        }
    }
}

fn drawn(key: &str, window: &Window) -> String {
    let sheet = Sheet::new(window);
    let (right, height) = (sheet.right(), sheet.height());
    let mut svg = opened((right + 20).max(LEFT + 600), height);
    text(&mut svg, (8, 22), "title", &format!("key {key:?} is not linearizable"));
    let stuck = format!(
        "{} operations found their place (#: which, in that order); then it holds {}, and none of those with a thick border can come next",
        window.placed,
        shown(window.state)
    );
    text(&mut svg, (8, 42), "said", &stuck);
    let legend = "red: the fewest that contradict each other; dashed and open: outcome unknown; grey and short: refused; \
                  line: the end by which one more had to find its place";
    text(&mut svg, (8, 60), "said", legend);
    let mut y = TOP;
    for (client, rows) in &sheet.rows {
        let _ = writeln!(svg, r#"<rect class="even" x="0" y="{y}" width="{right}" height="{ROW}"/>"#);
        text(&mut svg, (8, y + 15), "client", &format!("client {client}"));
        y += ROW;
        for operation in rows {
            sheet.operation(&mut svg, operation, y);
            y += ROW;
        }
    }
    let x = sheet.x(window.held_up_by);
    let _ = writeln!(svg, r#"<line class="stuck" x1="{x}" y1="{}" x2="{x}" y2="{y}"/>"#, TOP - 12);
    text(&mut svg, (x.saturating_sub(40), TOP - 16), "said", &format!("stuck at {}", window.held_up_by));
    svg + "</svg>\n"
}

fn opened(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    )
}

fn text(svg: &mut String, (x, y): (usize, usize), class: &str, said: &str) {
    let _ = writeln!(svg, r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#, escaped(said));
}

/// As text or attribute of XML 1.0, which allows no control characters.
fn escaped(said: &str) -> String {
    let mut out = String::with_capacity(said.len());
    for character in said.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

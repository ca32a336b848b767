//! Draws the problems of a workflow file, each with the line that it is about.
//!
//! ```text
//! error[O8303]: `report` reads `fetch` without depending on it
//!   --> review.yaml:14:16
//!    |
//! 14 |       message: ${steps.fetch.output.body}
//!    |                ^^^^^^^^^^^^^^^^^^^^^^^^^^ `fetch` may not have finished yet
//!    = help: add `fetch` to `dependencies` of `report`, or give a default with `??`
//! error: review.yaml has 1 error
//! ```
//!
//! Tabs are drawn as spaces up to the next of every 4 columns, wide characters count twice, and of a line over 160 columns only
//! the surroundings of the place are drawn.

use std::{collections::BTreeMap, fmt::Write as _};

use anstyle::{AnsiColor, Style};
use orchestr8_schema::{Diagnostic, Severity, Span};
use unicode_width::UnicodeWidthChar;

use crate::wording::{count, sign, visible};

const MAX_WIDTH: usize = 160;
const TAB: usize = 4;
/// How much of a line too long is drawn in front of the place.
const CONTEXT: usize = 40;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const FRAME: Style = AnsiColor::Blue.on_default().bold();
const BOLD: Style = Style::new().bold();

/// The problems of one file, with its text to point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    file: String,
    text: String,
    diagnostics: Vec<Diagnostic>,
    /// The texts of further files, by name.
    others: BTreeMap<String, String>,
    max: usize,
}

impl Report {
    /// Puts a report together; the text may be empty where there is none to show.
    #[must_use]
    pub fn new(file: impl Into<String>, text: impl Into<String>, diagnostics: Vec<Diagnostic>) -> Self {
        Self { file: file.into(), text: text.into(), diagnostics, others: BTreeMap::new(), max: 50 }
    }

    /// Adds the texts of further files that problems are about, by name.
    #[must_use]
    pub fn with(mut self, others: BTreeMap<String, String>) -> Self {
        self.others = others;
        self
    }

    /// Sets how many problems are drawn at most; default 50.
    #[must_use]
    pub fn max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Returns the file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the problems.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Says how many problems there are: `review.yaml has 1 error`.
    #[must_use]
    pub fn summary(&self) -> String {
        let errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        let warnings = self.diagnostics.len() - errors;
        let counts = match (errors, warnings) {
            (errors, 0) => count(errors, "error"),
            (0, warnings) => count(warnings, "warning"),
            (errors, warnings) => format!("{} and {}", count(errors, "error"), count(warnings, "warning")),
        };
        format!("{} has {counts}", visible(&self.file))
    }

    /// Draws all problems and the summary, with ANSI styles; every line ends in a line break.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut out = String::new();
        for (index, diagnostic) in self.diagnostics.iter().take(self.max).enumerate() {
            if index > 0 {
                out.push('\n');
            }
            self.draw_one(&mut out, diagnostic);
        }
        if let Some(hidden) = self.diagnostics.len().checked_sub(self.max).filter(|hidden| *hidden > 0) {
            let _ = writeln!(out, "{FRAME}…{FRAME:#} and {hidden} more");
        }
        let is_error = self.diagnostics.iter().any(Diagnostic::is_error);
        let (style, word) = severity(if is_error { Severity::Error } else { Severity::Warning });
        let _ = writeln!(out, "{style}{word}{style:#}: {}", self.summary());
        out
    }

    fn draw_one(&self, out: &mut String, diagnostic: &Diagnostic) {
        let (style, word) = severity(diagnostic.severity);
        let message = visible(&diagnostic.message);
        let _ = writeln!(out, "{style}{word}[{}]{style:#}{BOLD}: {message}{BOLD:#}", diagnostic.code);
        let (file, text) = match &diagnostic.file {
            None => (&self.file, Some(&self.text)),
            Some(other) => (other, self.others.get(other)),
        };
        let file = visible(file);
        let excerpt = diagnostic.span.and_then(|span| Some((span, line(text?, span)?)));
        let digits = diagnostic.span.map_or(1, |span| span.line.to_string().len());
        let margin = " ".repeat(digits);
        let place = match (diagnostic.span, diagnostic.path.as_str()) {
            (Some(span), _) => format!("{file}:{}:{}", span.line, span.column),
            (None, "") => file.into_owned(),
            (None, path) => format!("{file} at {}", visible(path)),
        };
        let _ = writeln!(out, "{margin}{FRAME}-->{FRAME:#} {place}");
        if let Some((span, line)) = excerpt {
            let excerpt = Excerpt::new(line, span);
            let label = diagnostic.label.as_deref().map(visible).unwrap_or_default();
            let _ = writeln!(out, "{margin} {FRAME}|{FRAME:#}");
            let _ = writeln!(out, "{FRAME}{} |{FRAME:#} {}", span.line, excerpt.line);
            let underline = format!("{}{style}{} {label}", " ".repeat(excerpt.start), "^".repeat(excerpt.width));
            let _ = writeln!(out, "{margin} {FRAME}|{FRAME:#} {}{style:#}", underline.trim_end());
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "{margin} {FRAME}={FRAME:#} help: {}", visible(help));
        }
    }
}

fn line(text: &str, span: Span) -> Option<&str> {
    let index = usize::try_from(span.line).ok()?.checked_sub(1)?;
    text.lines().nth(index)
}

fn severity(severity: Severity) -> (Style, &'static str) {
    match severity {
        Severity::Error => (ERROR, "error"),
        Severity::Warning => (WARNING, "warning"),
    }
}

/// A line as drawn, and where the place is in it, in columns of the terminal.
struct Excerpt {
    line: String,
    start: usize,
    width: usize,
}

impl Excerpt {
    fn new(line: &str, span: Span) -> Self {
        // A byte order mark is no column.
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let mut cells = Vec::with_capacity(line.len());
        let mut column = 0;
        for character in line.chars() {
            let (drawn, width) = match character {
                '\t' => (' ', TAB - column % TAB),
                other => {
                    let drawn = sign(other);
                    (drawn, drawn.width().unwrap_or(0))
                }
            };
            cells.push(Cell { drawn, column, width });
            column += width;
        }
        let total = column;
        let column_of = |character: u32| {
            let index = usize::try_from(character).unwrap_or(usize::MAX).saturating_sub(1);
            cells.get(index).map_or(total, |cell| cell.column)
        };
        let start = column_of(span.column);
        let end = if span.end_line > span.line { total } else { column_of(span.end_column) };
        let end = end.max(start + 1);
        Self::cut(&cells, total, start, end)
    }

    /// Draws what fits of a line.
    fn cut(cells: &[Cell], total: usize, start: usize, end: usize) -> Self {
        if total <= MAX_WIDTH {
            return Self { line: cells.iter().flat_map(Cell::draw).collect(), start, width: end - start };
        }
        let from =
            if end < MAX_WIDTH { 0 } else { start.saturating_sub(CONTEXT).min(total.saturating_sub(MAX_WIDTH - 1)) };
        let lead = usize::from(from > 0);
        let to = from + MAX_WIDTH - 1 - lead;
        let mut line = String::from(if lead > 0 { "…" } else { "" });
        let inside = |cell: &&Cell| cell.column >= from && cell.column + cell.width <= to;
        let first = cells.iter().find(inside).map_or(from, |cell| cell.column);
        line.extend(cells.iter().filter(inside).flat_map(Cell::draw));
        if total > to {
            line.push('…');
        }
        let start = start.clamp(first, to);
        Self { line, start: start - first + lead, width: end.min(to).saturating_sub(start).max(1) }
    }
}

struct Cell {
    drawn: char,
    column: usize,
    width: usize,
}

impl Cell {
    fn draw(&self) -> impl Iterator<Item = char> {
        // A tab is as many spaces as it is wide.
        std::iter::repeat_n(self.drawn, if self.drawn == ' ' { self.width } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use orchestr8_schema::{Code, Diagnostic, Span};

    use super::Report;

    fn draw(text: &str, line: u32, column: u32, end_column: u32) -> String {
        let mut diagnostic =
            Diagnostic::new(Code::UnknownName, "/x", "no such name").with_label("here").with_help("rename it");
        diagnostic.span = Some(Span { line, column, end_line: line, end_column });
        anstream::adapter::strip_str(&Report::new("w.yaml", text, vec![diagnostic]).draw()).to_string()
    }

    fn caret_line(drawing: &str) -> (&str, &str) {
        let mut lines = drawing.lines().skip(3);
        (lines.next().unwrap_or_default(), lines.next().unwrap_or_default())
    }

    #[test]
    fn a_problem_is_drawn_with_its_line() {
        let expected = "\
error[O8304]: no such name
  --> w.yaml:10:3
   |
10 | x: yes
   |   ^ here
   = help: rename it
error: w.yaml has 1 error
";
        assert_eq!(draw(&format!("{}x: yes", "\n".repeat(9)), 10, 3, 4), expected);
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_caret_right() {
        let drawing = draw("\tkey: 日本 wrong", 1, 10, 15);
        assert_eq!(caret_line(&drawing), ("1 |     key: 日本 wrong", "  |               ^^^^^ here"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}wrong{}", "a".repeat(1000), "b".repeat(1000));
        let drawing = draw(&line, 1, 1001, 1006);
        let (excerpt, carets) = caret_line(&drawing);
        assert!(excerpt.chars().count() <= 164, "{}", excerpt.chars().count());
        let at = carets.find('^').unwrap_or_default();
        let drawn: String = excerpt.chars().skip(at).take(5).collect();
        assert_eq!(drawn, "wrong");
        assert!(excerpt.contains("…a") && excerpt.ends_with("b…"));
    }

    #[test]
    fn a_place_behind_the_end_of_a_line_is_still_drawn() {
        let drawing = draw("short", 1, 6, 6);
        assert_eq!(caret_line(&drawing).1, "  |      ^ here");
    }

    #[test]
    fn escape_sequences_in_a_file_are_drawn_not_obeyed() {
        assert!(draw("a: \u{1b}[31mred", 1, 1, 2).contains("a: ␛[31mred"));
    }
}

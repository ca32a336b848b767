//! The one place that prints: data to standard output, talk to standard error.
//!
//! Colours appear where a person reads them: the streams strip them from files, pipes and dumb terminals, and `NO_COLOR` is
//! honoured. When nobody reads standard output any more, the program ends quietly; when nobody reads standard error, it goes on.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use crate::{Error, ErrorKind, render::Report, wording::visible};

/// The style of things that went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// The style of things that went wrong.
pub const BAD: Style = AnsiColor::Red.on_default();
/// The style of things of less interest.
pub const DIM: Style = Style::new().dimmed();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    #[value(alias = "table")]
    Human,
    /// For programs: one JSON document, or one per line where a stream is named.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Makes the choice that of all output.
    pub fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// What a command prints with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ui {
    /// The form of data.
    pub format: Format,
    /// Whether only errors are talked about.
    pub quiet: bool,
    /// How much more than usual is told.
    pub verbose: u8,
    /// Whether a terminal may be redrawn.
    pub live: bool,
}

impl Ui {
    /// Whether data is for programs.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether steps and summaries are talked about.
    #[must_use]
    pub fn is_talkative(&self) -> bool {
        !self.quiet && !self.is_json()
    }

    /// Whether standard error is a terminal that may be redrawn.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        self.live && self.is_talkative() && !in_ci && !is_dumb && io::stderr().is_terminal()
    }

    /// Prints a line of data.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written; [`ErrorKind::BrokenPipe`] if nobody reads it.
    pub fn print(&self, line: &str) -> Result<(), Error> {
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::BrokenPipe => ErrorKind::BrokenPipe,
                _ => ErrorKind::Internal,
            };
            Error::new(kind, "writing to standard output").with_source(error)
        })
    }

    /// Prints a value as one line of JSON.
    ///
    /// # Errors
    ///
    /// As [`print`](Self::print).
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(value).map_err(|error| Error::internal("writing JSON").with_source(error))?;
        self.print(&line)
    }

    /// Talks, unless asked to be quiet or to speak JSON.
    pub fn say(&self, line: &str) {
        if self.is_talkative() {
            talk(line);
        }
    }

    /// Warns, unless asked to be quiet or to speak JSON.
    pub fn warn(&self, message: &str) {
        self.say(&format!("{WARNING}warning{WARNING:#}: {message}"));
    }

    /// Draws the problems of a file that can be used all the same.
    pub fn show(&self, report: &Report) {
        if self.is_talkative() {
            talk(report.draw().trim_end());
        }
    }

    /// Says why a command did not do what it was asked; also when quiet.
    pub fn error(&self, error: &Error) {
        if error.kind() == ErrorKind::BrokenPipe {
            return;
        }
        if self.is_json() {
            if let Ok(problem) = serde_json::to_string(&error.to_problem()) {
                talk(&problem);
            }
            return;
        }
        match error.report() {
            Some(report) => talk(report.draw().trim_end()),
            None => talk(&format!("{ERROR}error{ERROR:#}: {}", visible(&error.chain()))),
        }
        if let Some(id) = error.correlation_id() {
            talk(&format!("{DIM}correlation id: {id}{DIM:#}"));
        }
        if let Some(hint) = error.hint() {
            self.hint(hint);
        }
    }

    /// Says what to do next; also when quiet, but not in JSON, where it is part of the problem.
    pub fn hint(&self, hint: &str) {
        if !self.is_json() {
            talk(&format!("{HINT}hint{HINT:#}: {}", visible(hint)));
        }
    }

    /// Says that something failed; also when quiet, but not in JSON, where it is part of the answer.
    pub fn complain(&self, line: &str) {
        if !self.is_json() {
            talk(line);
        }
    }
}

fn talk(line: &str) {
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

//! What is found while prompts are looked up.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use orchestr8_schema::{Diagnostic, Span};

/// What is found while [`PromptFiles`](super::PromptFiles) looks prompts up.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PromptSearch {
    /// The files that were looked for, also where there are none.
    pub wanted: Vec<PathBuf>,
    /// What is wrong with files that are there; then the prompt cannot be used.
    pub problems: Vec<PromptProblem>,
    /// What is probably not meant so.
    pub warnings: Vec<PromptProblem>,
}

/// Something about the file of a prompt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PromptProblem {
    /// The file.
    pub file: PathBuf,
    /// The place in it, if it is known.
    pub span: Option<Span>,
    /// What it is: lowercase, no full stop.
    pub message: String,
}

impl PromptProblem {
    pub(super) fn new(file: &Path, span: Option<Span>, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), span, message: message.into() }
    }

    pub(super) fn of(file: &Path, diagnostic: &Diagnostic) -> Self {
        let message = match diagnostic.path.as_str() {
            "" => diagnostic.message.clone(),
            path => format!("{} ({path})", diagnostic.message),
        };
        Self::new(file, diagnostic.span, message)
    }
}

impl fmt::Display for PromptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(span) = self.span {
            write!(f, ":{}:{}", span.line, span.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Finds a line of a text within the text of the file that it was read from; absent if it is spelt otherwise there.
pub(super) fn place_of(file: &str, text: &str, line: usize) -> Option<Span> {
    let index = line.checked_sub(1)?;
    let wanted = text.lines().nth(index).map(str::trim).filter(|line| !line.is_empty())?;
    let before = text.lines().take(index).filter(|line| line.contains(wanted)).count();
    let (number, found) = file.lines().enumerate().filter(|(_, line)| line.contains(wanted)).nth(before)?;
    let start = found[..found.find(wanted)?].chars().count();
    let line = u32::try_from(number + 1).ok()?;
    let column = |characters: usize| u32::try_from(characters + 1).unwrap_or(u32::MAX);
    Some(Span { line, column: column(start), end_line: line, end_column: column(start + wanted.chars().count()) })
}

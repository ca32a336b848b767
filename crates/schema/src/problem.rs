//! Problems while they are being collected: a place in the tree, not yet in the text.

use std::{borrow::Cow, collections::BTreeSet, fmt, ops::Range};

use crate::{Code, Diagnostic, Severity, source::Options};

/// How many problems of one document are kept; a hostile document has as many as it has values.
const MAX_PROBLEMS: usize = 1000;

/// How many suggestions are searched for in one document, for the same reason.
const MAX_SUGGESTIONS: usize = 50;

/// A place in a document. It lives on the stack of whoever walks the tree, and becomes a JSON pointer when it is displayed.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    token: Token<'a>,
}

#[derive(Clone, Copy)]
enum Token<'a> {
    Root,
    /// A whole JSON pointer.
    Pointer(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(crate) const ROOT: At<'static> = At { parent: None, token: Token::Root };

    /// Begins at a place that is known by its JSON pointer.
    pub(crate) fn pointer(pointer: &'a str) -> Self {
        At { parent: None, token: Token::Pointer(pointer) }
    }

    pub(crate) fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At { parent: Some(self), token: Token::Key(key) }
    }

    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At { parent: Some(self), token: Token::Index(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.token {
            Token::Root => Ok(()),
            Token::Pointer(pointer) => f.write_str(pointer),
            Token::Index(index) => write!(f, "/{index}"),
            Token::Key(key) => write!(f, "/{}", escape(key)),
        }
    }
}

/// Writes a key as a JSON pointer has it (RFC 6901).
pub(crate) fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { Cow::Owned(key.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(key) }
}

/// Which part of the value at a path is meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spot {
    /// All of it.
    Value,
    /// The key that it stands under.
    Key,
    /// These bytes of a string.
    Within(Range<usize>),
}

/// A problem, with the part of the value that is meant.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) diagnostic: Diagnostic,
    pub(crate) spot: Spot,
}

impl Problem {
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.diagnostic.help = Some(help.into());
        self
    }

    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.diagnostic.label = Some(label.into());
        self
    }

    pub(crate) fn on_key(&mut self) -> &mut Self {
        self.spot = Spot::Key;
        self
    }

    pub(crate) fn within(&mut self, range: Range<usize>) -> &mut Self {
        self.spot = Spot::Within(range);
        self
    }
}

/// The problems of one document.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    /// Takes what is over the limit.
    surplus: Option<Problem>,
    errors: usize,
    suggestions: usize,
    strict: bool,
    /// What is read was validated before.
    stored: bool,
}

impl Problems {
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// Makes warnings of what would be errors from here on, if this was validated before: it is used as long as it can be compiled.
    pub(crate) fn judge(&mut self, options: &Options<'_>) {
        self.stored = options.stored;
    }

    /// Whether what is read was validated before.
    pub(crate) fn are_of_stored(&self) -> bool {
        self.stored
    }

    /// Adds a problem; what it returns takes the details.
    pub(crate) fn report(&mut self, code: Code, path: impl fmt::Display, message: impl Into<String>) -> &mut Problem {
        let mut diagnostic = Diagnostic::new(code, path.to_string(), message);
        if self.strict && code == Code::UnknownKey {
            diagnostic.severity = Severity::Error;
        }
        if self.stored {
            diagnostic.severity = Severity::Warning;
        }
        if diagnostic.is_error() {
            self.errors += 1;
        }
        let problem = Problem { diagnostic, spot: Spot::Value };
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(problem);
            let last = self.found.len() - 1;
            &mut self.found[last]
        } else {
            self.surplus.insert(problem)
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Counts an error that is reported where it stands, in another file.
    pub(crate) fn note_error_elsewhere(&mut self) {
        self.errors += 1;
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Returns where there are errors.
    pub(crate) fn error_paths(&self) -> BTreeSet<String> {
        let errors = self.found.iter().filter(|problem| problem.diagnostic.is_error());
        errors.map(|problem| problem.diagnostic.path.clone()).collect()
    }

    /// Returns help of the form "did you mean `fetch`?", if one of the candidates is near enough.
    pub(crate) fn did_you_mean<'a>(
        &mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        if self.suggestions == MAX_SUGGESTIONS {
            return None;
        }
        self.suggestions += 1;
        nearest(word, candidates).map(|nearest| format!("did you mean `{nearest}`?"))
    }

    pub(crate) fn into_found(self) -> Vec<Problem> {
        // An error must not be lost among a thousand warnings.
        let mut found = self.found;
        if let Some(surplus) = self.surplus
            && !found.iter().any(|problem| problem.diagnostic.is_error())
            && surplus.diagnostic.is_error()
        {
            found.push(surplus);
        }
        found
    }
}

/// Returns the candidate that differs least from a word, if it differs in at most a third of its letters.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let most = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST && candidate.len().abs_diff(word.len()) <= most + 2)
        .map(|candidate| (distance(&word, &candidate.to_lowercase().chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, candidate)| *distance <= most && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The edits between two words: insertions, deletions, replacements, and exchanges of neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let mut best =
                (previous[column] + usize::from(a != b)).min(previous[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

/// Shortens a text that a message quotes.
pub(crate) fn quote(text: &str) -> &str {
    match text.char_indices().nth(80) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{At, nearest};

    #[test]
    fn a_place_becomes_a_json_pointer() {
        let steps = At::ROOT.key("st~e/ps");
        assert_eq!(steps.index(3).key("input").to_string(), "/st~0e~1ps/3/input");
        assert_eq!(At::ROOT.to_string(), "");
    }

    #[test]
    fn suggestions_are_near_or_none() {
        let names = ["dependencies", "description", "id"];
        assert_eq!(nearest("dependancies", names), Some("dependencies"));
        assert_eq!(nearest("Decsription", names), Some("description"));
        assert_eq!(nearest("ie", names), Some("id"));
        assert_eq!(nearest("colour", names), None);
    }
}

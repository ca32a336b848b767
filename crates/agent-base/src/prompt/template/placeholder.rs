//! `{{name|filter}}`: where a value goes, and how it is written there.

use orchestr8_schema::canonical;
use serde_json::Value;

use super::wrong;
use crate::{
    AgentError,
    prompt::{
        MAX_VALUE,
        sanitize::{sanitize, sanitize_for_xml},
    },
};

/// A piece of the user message.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Text, as the template has it.
    Text(String),
    /// A value.
    Placeholder(Placeholder),
}

#[derive(Clone, Debug)]
pub(super) struct Placeholder {
    pub(super) name: String,
    pub(super) line: usize,
    filters: Vec<Filter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Upper,
    Lower,
    Capitalize,
    Escape,
    Json,
    Raw,
}

const FILTERS: [(&str, Filter); 6] = [
    ("upper", Filter::Upper),
    ("lower", Filter::Lower),
    ("capitalize", Filter::Capitalize),
    ("escape", Filter::Escape),
    ("json", Filter::Json),
    ("raw", Filter::Raw),
];

/// Splits a text at its placeholders.
pub(super) fn pieces(text: &str, line_of: impl Fn(usize) -> usize) -> Result<Vec<Piece>, AgentError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("{{").map(|found| at + found) {
        let line = line_of(start);
        let inner = &text[start + 2..];
        let Some(end) = inner.find("}}") else { return Err(wrong(line, "a placeholder is not closed by `}}`")) };
        pieces.push(Piece::Text(text[at..start].to_owned()));
        pieces.push(Piece::Placeholder(Placeholder::read(&inner[..end], line)?));
        at = start + 2 + end + 2;
    }
    pieces.push(Piece::Text(text[at..].to_owned()));
    Ok(pieces)
}

impl Placeholder {
    fn read(text: &str, line: usize) -> Result<Self, AgentError> {
        let mut parts = text.split('|').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let is_name =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(wrong(line, format!("`{text}` names no variable: lower-case letters, digits and `_`")));
        }
        let filters = parts.map(|part| match FILTERS.iter().find(|(known, _)| *known == part) {
            Some((_, filter)) => Ok(*filter),
            None => {
                let known = FILTERS.map(|(known, _)| known).join(", ");
                Err(wrong(line, format!("there is no filter `{part}`, only {known}")))
            }
        });
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name: name.to_owned(), line, filters })
    }

    /// Writes a value in the place. What is not to be escaped is made fit to stand within other text, as in other prompts.
    pub(super) fn render(&self, value: &Value) -> Result<String, AgentError> {
        let mut value = value.clone();
        let mut is_done = self.filters.iter().any(|filter| matches!(filter, Filter::Json | Filter::Raw));
        if is_done {
            sanitize(&mut value, MAX_VALUE)?;
        } else {
            sanitize_for_xml(&mut value, MAX_VALUE)?;
        }
        for filter in &self.filters {
            value = match filter {
                Filter::Upper => text_of(value).to_uppercase().into(),
                Filter::Lower => text_of(value).to_lowercase().into(),
                Filter::Capitalize => capitalized(&text_of(value)).into(),
                Filter::Escape => {
                    is_done = true;
                    escaped(&text_of(value)).into()
                }
                Filter::Json => canonical::to_string(&value).into(),
                Filter::Raw => value,
            };
        }
        let text = text_of(value);
        Ok(if is_done { text } else { escaped(&text) })
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => canonical::to_string(&other),
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    out
}

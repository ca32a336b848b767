//! The grammar of expressions, with byte offsets for every complaint.

use std::{borrow::Cow, ops::Range};

use serde_json::{Number, Value};

use super::Segment;
use crate::{Code, problem::quote};

/// A part of a string.
#[derive(Debug, PartialEq)]
pub(crate) enum Part<'t> {
    Text(String),
    Expression(Parsed<'t>),
}

/// An expression whose names mean nothing yet.
#[derive(Debug, PartialEq)]
pub(crate) struct Parsed<'t> {
    /// From `${` to `}`.
    pub(crate) range: Range<usize>,
    pub(crate) operands: Vec<ParsedOperand<'t>>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct ParsedOperand<'t> {
    pub(crate) range: Range<usize>,
    pub(crate) form: Form<'t>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Form<'t> {
    /// A string, a number, `true`, `false`, `null`, or JSON.
    Literal(Value),
    /// What has the form of a path; a text after all if its first name is no visible root.
    Path(Vec<Piece<'t>>),
    /// A text without quotes.
    Bare,
}

/// A part of a path as it is written: what a [`Segment`] is made of once it is known that it will be walked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece<'t> {
    Name(Cow<'t, str>),
    Index(usize),
}

impl Piece<'_> {
    /// Returns the part as a name; an index is its digits.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Index(index) => index.to_string().into(),
        }
    }
}

impl From<&Piece<'_>> for Segment {
    fn from(piece: &Piece<'_>) -> Self {
        match piece {
            Piece::Name(name) => Self::Name((&**name).into()),
            Piece::Index(index) => Self::Index(*index),
        }
    }
}

/// Why a string is no template.
#[derive(Debug, PartialEq)]
pub(crate) struct SyntaxError {
    pub(crate) code: Code,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
}

/// The most operands of an expression.
const MAX_OPERANDS: usize = 16;
/// The longest literal, in characters.
const MAX_LITERAL: usize = 1024;

/// Splits a string into text and expressions. With an error come the parts before it.
pub(crate) fn parse(text: &str) -> (Vec<Part<'_>>, Option<SyntaxError>) {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find('$') {
        let dollar = rest + found;
        plain.push_str(&text[rest..dollar]);
        if text[dollar..].starts_with("$${") {
            plain.push_str("${");
            rest = dollar + 3;
        } else if text[dollar..].starts_with("${") {
            let parsed = match (Parser { text, at: dollar + 2, start: dollar }).expression() {
                Ok(parsed) => parsed,
                Err(error) => return (parts, Some(error)),
            };
            rest = parsed.range.end;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Expression(parsed));
        } else {
            plain.push('$');
            rest = dollar + 1;
        }
    }
    plain.push_str(&text[rest..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    (parts, None)
}

/// Parses a whole text as a path; `None` if it does not have that form.
pub(crate) fn path(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::with_capacity(4);
    let mut rest = name(text, &mut pieces)?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            rest = name(after, &mut pieces)?;
        } else {
            let inner = rest.strip_prefix('[')?;
            if inner.starts_with(['\'', '"']) {
                let end = string_end(inner)?;
                pieces.push(Piece::Name(unquote(&inner[..end])?.into()));
                rest = inner[end..].strip_prefix(']')?;
            } else {
                let (digits, after) = inner.split_once(']')?;
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                pieces.push(Piece::Index(digits.parse().ok()?));
                rest = after;
            }
        }
    }
    Some(pieces)
}

fn name<'t>(text: &'t str, pieces: &mut Vec<Piece<'t>>) -> Option<&'t str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    pieces.push(Piece::Name(text[..end].into()));
    Some(&text[end..])
}

/// Returns where the quoted string at the beginning of a text ends, the quotes included.
fn string_end(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (_, quote) = characters.next()?;
    while let Some((index, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return Some(index + 1);
        }
    }
    None
}

/// Returns the value of a quoted string: escapes are those of JSON, and `\'`.
fn unquote(text: &str) -> Option<String> {
    let inner = &text[1..text.len() - 1];
    if inner.bytes().all(|byte| byte >= b' ' && byte != b'\\') {
        return Some(inner.to_owned());
    }
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                '\'' => json.push('\''),
                escape => json.extend(['\\', escape]),
            },
            '"' => json.push_str("\\\""),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            other => json.push(other),
        }
    }
    json.push('"');
    serde_json::from_str(&json).ok()
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    start: usize,
}

impl<'t> Parser<'t> {
    fn expression(mut self) -> Result<Parsed<'t>, SyntaxError> {
        let mut operands = Vec::with_capacity(1);
        loop {
            self.white_space();
            if operands.len() == MAX_OPERANDS {
                let message = format!("an expression has at most {MAX_OPERANDS} operands");
                return Err(self.fault(Code::ExpressionLimit, self.at..self.text.len(), message, None));
            }
            operands.push(self.operand()?);
            self.white_space();
            let rest = &self.text[self.at..];
            if rest.starts_with("??") || rest.starts_with("||") {
                self.at += 2;
            } else if rest.starts_with('}') {
                return Ok(Parsed { range: self.start..self.at + 1, operands });
            } else if rest.is_empty() {
                return Err(self.no_end());
            } else {
                let found = rest.chars().next().unwrap_or_default();
                let end = self.at + found.len_utf8();
                return Err(self.syntax(self.at..end, format!("expected `??` or `}}`, found `{found}`"), None));
            }
        }
    }

    fn white_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn operand(&mut self) -> Result<ParsedOperand<'t>, SyntaxError> {
        let start = self.at;
        let text: &'t str = self.text;
        let rest = &text[start..];
        let form = match rest.chars().next() {
            None => return Err(self.no_end()),
            Some('\'' | '"') => {
                let Some(length) = string_end(rest) else {
                    return Err(self.syntax(start..self.text.len(), "a string has no end", None));
                };
                self.at += length;
                let Some(value) = unquote(&rest[..length]) else {
                    let help = Some("escapes are those of JSON, and \\'");
                    return Err(self.syntax(start..self.at, "a string has a bad escape", help));
                };
                Form::Literal(Value::String(value))
            }
            Some('[' | '{') => {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                let Some(Ok(value)) = stream.next() else {
                    return Err(self.syntax(start..self.text.len(), "a literal is not valid JSON", None));
                };
                self.at += stream.byte_offset();
                Form::Literal(value)
            }
            Some(_) => {
                let length = self.raw_end(rest)?;
                let raw = rest[..length].trim_end_matches([' ', '\t', '\n', '\r']);
                self.at += raw.len();
                self.raw(raw)?
            }
        };
        let range = start..self.at;
        self.check_literal(&form, &range)?;
        Ok(ParsedOperand { range, form })
    }

    /// Where text without quotes ends: at `}`, `??` or `||` outside of the strings of a path.
    fn raw_end(&self, rest: &str) -> Result<usize, SyntaxError> {
        let bytes = rest.as_bytes();
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            match byte {
                b'}' => break,
                b'?' | b'|' if bytes.get(index + 1) == Some(byte) => break,
                b'\'' | b'"' => match string_end(&rest[index..]) {
                    Some(length) => index += length,
                    None => {
                        let range = self.at + index..self.text.len();
                        return Err(self.syntax(range, "a string has no end", None));
                    }
                },
                _ => index += 1,
            }
        }
        Ok(index)
    }

    fn raw(&self, raw: &'t str) -> Result<Form<'t>, SyntaxError> {
        let range = self.at - raw.len()..self.at;
        if raw.is_empty() {
            return Err(self.syntax(self.start..(self.at + 1).min(self.text.len()), "an operand is missing", None));
        }
        match raw {
            "true" => return Ok(Form::Literal(Value::Bool(true))),
            "false" => return Ok(Form::Literal(Value::Bool(false))),
            "null" => return Ok(Form::Literal(Value::Null)),
            _ => {}
        }
        if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && let Ok(number) = serde_json::from_str::<Number>(raw)
        {
            return Ok(Form::Literal(Value::Number(number)));
        }
        if let Some(pieces) = path(raw) {
            return Ok(Form::Path(pieces));
        }
        if raw.contains("${") {
            return Err(self.syntax(range, "an expression inside a literal", Some("chain paths with `??`")));
        }
        if raw.contains(['\'', '"', '{']) {
            let message = format!("`{}` is neither a path nor a literal", quote(raw));
            return Err(self.syntax(range, message, Some("put a text in quotes")));
        }
        Ok(Form::Bare)
    }

    fn check_literal(&self, form: &Form<'_>, range: &Range<usize>) -> Result<(), SyntaxError> {
        if matches!(form, Form::Path(_)) {
            return Ok(());
        }
        let literal = &self.text[range.clone()];
        if literal.contains("${") {
            return Err(self.syntax(range.clone(), "an expression inside a literal", Some("chain paths with `??`")));
        }
        if literal.len() > MAX_LITERAL {
            let message = format!("a default has at most {MAX_LITERAL} characters");
            return Err(self.fault(Code::ExpressionLimit, range.clone(), message, Some("declare a variable")));
        }
        if !literal.chars().all(|c| c.is_ascii_graphic() || matches!(c, ' ' | '\t' | '\n' | '\r')) {
            let message = "a default holds printable ASCII characters only";
            return Err(self.fault(Code::ExpressionLimit, range.clone(), message, Some("declare a variable")));
        }
        Ok(())
    }

    fn no_end(&self) -> SyntaxError {
        self.syntax(self.start..self.text.len(), "missing `}`", Some("write `$${` for a literal `${`"))
    }

    fn syntax(&self, range: Range<usize>, message: impl Into<String>, help: Option<&'static str>) -> SyntaxError {
        self.fault(Code::ExpressionSyntax, range, message, help)
    }

    #[expect(clippy::unused_self, reason = "reads as its siblings")]
    fn fault(
        &self,
        code: Code,
        range: Range<usize>,
        message: impl Into<String>,
        help: Option<&'static str>,
    ) -> SyntaxError {
        SyntaxError { code, range, message: message.into(), help }
    }
}

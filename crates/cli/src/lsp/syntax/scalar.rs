//! Scalars: what they say, and where they say it.

use std::{borrow::Cow, ops::Range};

use serde_json::Value;

/// The text of a scalar, with the place of each of its bytes in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The text.
    pub text: String,
    /// For each byte of the text, and for its end, where it is written.
    places: Vec<usize>,
}

impl Decoded {
    pub(super) fn of_scalar(raw: &str, start: usize) -> Self {
        let mut decoded = Self::default();
        match raw.chars().next() {
            Some('"') => decoded.double_quoted(raw, start),
            Some('\'') => decoded.single_quoted(raw, start),
            _ => decoded.lines(raw, start),
        }
        decoded
    }

    /// Decodes a text behind `|` or `>`, its header included. Lines that are folded are joined by a space.
    pub(super) fn of_block(raw: &str, start: usize, folded: bool) -> Self {
        let mut decoded = Self::default();
        let Some(header) = raw.find('\n') else {
            decoded.places.push(start + raw.len());
            return decoded;
        };
        let body = &raw[header + 1..];
        let indent_of = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let indent = body.lines().find(|line| !line.trim().is_empty()).map_or(0, indent_of);
        let mut place = start + header + 1;
        for (number, line) in body.split('\n').enumerate() {
            if number > 0 {
                decoded.push(if folded { ' ' } else { '\n' }, place - 1);
            }
            let skipped = indent.min(indent_of(line));
            let written = line.strip_suffix('\r').unwrap_or(line);
            decoded.push_str(written.get(skipped..).unwrap_or_default(), place + skipped);
            place += line.len() + 1;
        }
        decoded.places.push(start + raw.len());
        decoded
    }

    /// Returns where a part of the text is written.
    #[must_use]
    pub fn written(&self, range: &Range<usize>) -> Range<usize> {
        let place = |index: usize| self.places.get(index).or(self.places.last()).copied().unwrap_or(0);
        let start = place(range.start);
        // Behind the last byte, not before the next one: between them may be a line break.
        let end = match range.end.checked_sub(1).filter(|_| !range.is_empty()) {
            Some(last) if place(range.end) > place(last) + 1 => place(range.end).min(place(last) + self.width(last)),
            _ => place(range.end),
        };
        start..end.max(start)
    }

    /// Returns the part of the text that is written at a place.
    #[must_use]
    pub fn read(&self, place: usize) -> usize {
        let index = self.places.partition_point(|written| *written < place).min(self.text.len());
        (0..=index).rev().find(|index| self.text.is_char_boundary(*index)).unwrap_or(0)
    }

    /// How many bytes of the document stand for a byte of the text at most: an escape has several.
    fn width(&self, index: usize) -> usize {
        let next = self.places[index + 1..].iter().find(|place| **place > self.places[index]);
        next.map_or(1, |next| next - self.places[index])
    }

    fn push(&mut self, character: char, place: usize) {
        self.text.push(character);
        self.places.extend(std::iter::repeat_n(place, character.len_utf8()));
    }

    fn push_str(&mut self, text: &str, place: usize) {
        self.text.push_str(text);
        self.places.extend(place..place + text.len());
    }

    /// Joins lines as YAML does: one break is a space, further ones are kept.
    fn lines(&mut self, raw: &str, start: usize) {
        let mut place = start;
        for (number, line) in raw.split('\n').enumerate() {
            let written = line.trim_end_matches(['\r', ' ', '\t']);
            let skipped = if number == 0 { 0 } else { written.len() - written.trim_start_matches([' ', '\t']).len() };
            if number > 0 {
                self.push(' ', place - 1);
            }
            self.push_str(&written[skipped..], place + skipped);
            place += line.len() + 1;
        }
        self.places.push(start + raw.len());
    }

    fn single_quoted(&mut self, raw: &str, start: usize) {
        let inner = raw[1..].strip_suffix('\'').unwrap_or(&raw[1..]);
        let mut characters = inner.char_indices().peekable();
        while let Some((index, character)) = characters.next() {
            if character == '\'' && characters.peek().is_some_and(|(_, next)| *next == '\'') {
                characters.next();
            }
            self.push(character, start + 1 + index);
        }
        self.places.push(start + 1 + inner.len());
    }

    fn double_quoted(&mut self, raw: &str, start: usize) {
        let ends_open = raw.len() < 2 || !raw.ends_with('"');
        let inner = if ends_open { &raw[1..] } else { &raw[1..raw.len() - 1] };
        let mut characters = inner.char_indices();
        while let Some((index, character)) = characters.next() {
            let place = start + 1 + index;
            if character != '\\' {
                self.push(character, place);
                continue;
            }
            match characters.next() {
                None => self.push('\\', place),
                Some((_, 'n')) => self.push('\n', place),
                Some((_, 't')) => self.push('\t', place),
                Some((_, 'r')) => self.push('\r', place),
                Some((_, '0')) => self.push('\0', place),
                Some((_, 'b')) => self.push('\u{8}', place),
                Some((_, 'f')) => self.push('\u{c}', place),
                Some((at, letter @ ('u' | 'x' | 'U'))) => {
                    let digits = match letter {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let unit = |at: usize| inner.get(at..at + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                    let mut used = digits;
                    let mut code = unit(at + 1);
                    if let Some(high @ 0xd800..0xdc00) = code
                        && inner.get(at + 5..at + 7) == Some("\\u")
                        && let Some(low @ 0xdc00..0xe000) = unit(at + 7)
                    {
                        code = Some(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                        used += 6;
                    }
                    match code {
                        Some(code) => {
                            self.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), place);
                            // All of them are ASCII.
                            let end = at + 1 + used;
                            while characters.as_str().len() > inner.len() - end {
                                characters.next();
                            }
                        }
                        None => self.push(letter, place),
                    }
                }
                // A break that is escaped is none.
                Some((_, '\n')) => {}
                Some((_, other)) => self.push(other, place),
            }
        }
        self.places.push(start + 1 + inner.len());
    }
}

/// Returns what a scalar says.
pub(super) fn text(raw: &str) -> Cow<'_, str> {
    let is_simple = !raw.starts_with(['"', '\'']) && !raw.contains('\n');
    if is_simple { Cow::Borrowed(raw) } else { Cow::Owned(Decoded::of_scalar(raw, 0).text) }
}

/// Returns a scalar as a value.
pub(super) fn value(raw: &str) -> Value {
    if raw.starts_with(['"', '\'']) {
        return Value::String(text(raw).into_owned());
    }
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        raw => match serde_json::from_str(raw) {
            Ok(Value::Number(number)) => Value::Number(number),
            _ => Value::String(text(raw).into_owned()),
        },
    }
}

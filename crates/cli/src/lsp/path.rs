//! The path under the cursor in an expression or condition, however unfinished it is.

use std::ops::Range;

/// A path, and which of its parts the cursor is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathAt {
    /// The parts; the one at the cursor may be empty.
    pub(super) parts: Vec<Part>,
    /// The part at the cursor.
    pub(super) current: usize,
}

/// A part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The name, or the number of an element.
    pub(super) name: String,
    /// Where it stands in the text.
    pub(super) range: Range<usize>,
    /// Whether it stands in brackets.
    pub(super) in_brackets: bool,
}

enum Mark {
    Name,
    Dot,
    Brackets,
    Other,
}

impl PathAt {
    /// Finds the path at a place in a text; `None` where no path can stand.
    pub(super) fn find(text: &str, offset: usize, is_condition: bool) -> Option<Self> {
        let start = if is_condition && !text.contains("${") { 0 } else { expression_start(text, offset)? };
        let marks = marks(text, start, is_condition);
        let at = marks.iter().position(|(mark, range)| match mark {
            Mark::Name | Mark::Brackets => range.start <= offset && offset <= range.end,
            Mark::Dot => range.end == offset,
            Mark::Other => range.start < offset && offset < range.end,
        });
        let Some(mut at) = at else {
            let part = Part { name: String::new(), range: offset..offset, in_brackets: false };
            return Some(Self { parts: vec![part], current: 0 });
        };
        if let (Mark::Dot, Some((Mark::Name, next))) = (&marks[at].0, marks.get(at + 1))
            && next.start == offset
        {
            at += 1;
        }
        if matches!(marks[at].0, Mark::Other) {
            return None;
        }
        let mut first = at;
        while let Some(before) = first.checked_sub(1) {
            let joined = marks[before].1.end == marks[first].1.start && !matches!(marks[before].0, Mark::Other);
            // Two names that touch are no path.
            if !joined || matches!((&marks[before].0, &marks[first].0), (Mark::Name, Mark::Name)) {
                break;
            }
            first = before;
        }
        let mut parts = Vec::new();
        for (mark, range) in &marks[first..=at] {
            match mark {
                Mark::Name => {
                    let name = unquoted(&text[range.clone()]);
                    parts.push(Part { name, range: range.clone(), in_brackets: false });
                }
                Mark::Brackets => {
                    let inner = text[range.clone()].trim_start_matches('[').trim_end_matches(']');
                    parts.push(Part { name: unquoted(inner), range: range.clone(), in_brackets: true });
                }
                Mark::Dot | Mark::Other => {}
            }
        }
        if let (Mark::Dot, range) = &marks[at] {
            parts.push(Part { name: String::new(), range: range.end..range.end, in_brackets: false });
        }
        let current = parts.len().checked_sub(1)?;
        Some(Self { parts, current })
    }

    /// Returns the names before the part at the cursor.
    pub(super) fn before(&self) -> Vec<&str> {
        self.parts[..self.current].iter().map(|part| part.name.as_str()).collect()
    }

    /// Returns the names up to and with the part at the cursor.
    pub(super) fn through(&self) -> Vec<&str> {
        self.parts[..=self.current].iter().map(|part| part.name.as_str()).collect()
    }
}

/// Returns where the inside of the expression around a place begins.
fn expression_start(text: &str, offset: usize) -> Option<usize> {
    let mut from = 0;
    let mut open = None;
    while let Some(found) = text[from..offset].find("${") {
        let dollar = from + found;
        from = dollar + 2;
        if text[..dollar].ends_with('$') {
            continue;
        }
        let mut quote = None;
        let end = text[from..offset].char_indices().find(|(_, character)| match (quote, character) {
            (Some(open), character) if open == *character => {
                quote = None;
                false
            }
            (None, '\'' | '"') => {
                quote = Some(*character);
                false
            }
            (None, '}') => true,
            _ => false,
        });
        match end {
            Some((end, _)) => from += end + 1,
            None => {
                open = Some(from);
                break;
            }
        }
    }
    open
}

/// Splits an expression into what matters for paths.
fn marks(text: &str, start: usize, is_condition: bool) -> Vec<(Mark, Range<usize>)> {
    let mut marks = Vec::new();
    let mut at = start;
    while let Some(character) = text[at..].chars().next() {
        let rest = &text[at..];
        let (mark, length) = match character {
            '}' if !is_condition => break,
            '.' => (Mark::Dot, 1),
            '"' if is_condition => (Mark::Name, quoted(rest)),
            '\'' | '"' | '`' => (Mark::Other, quoted(rest)),
            '[' if rest[1..].starts_with(|c: char| c.is_ascii_digit() || c == '"' || c == '\'') => {
                let inner =
                    if rest[1..].starts_with(|c: char| c.is_ascii_digit()) { 1 } else { 1 + quoted(&rest[1..]) };
                (
                    Mark::Brackets,
                    rest[inner..].find([']', ' ', '}']).map_or(rest.len(), |end| inner + end + 1).min(rest.len()),
                )
            }
            character if is_name(character) => {
                (Mark::Name, rest.find(|character| !is_name(character)).unwrap_or(rest.len()))
            }
            _ => {
                at += character.len_utf8();
                continue;
            }
        };
        marks.push((mark, at..at + length));
        at += length;
    }
    marks
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '-'
}

fn quoted(text: &str) -> usize {
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else { return 0 };
    while let Some((index, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return index + 1;
        }
    }
    text.len()
}

fn unquoted(text: &str) -> String {
    text.trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::PathAt;

    /// The path at `|`, its parts joined by `/`.
    fn at(marked: &str, is_condition: bool) -> Option<String> {
        let offset = marked.find('|').expect("a place is marked");
        let text = marked.replacen('|', "", 1);
        PathAt::find(&text, offset, is_condition).map(|path| path.through().join("/"))
    }

    #[test]
    fn a_path_is_found_however_unfinished_it_is() {
        let table = [
            ("${|}", false, Some("")),
            ("${steps.|", false, Some("steps/")),
            ("${steps.fe|tch.output}", false, Some("steps/fetch")),
            ("${ inputs.a ?? steps.b.output.|}", false, Some("steps/b/output/")),
            ("a ${inputs.x} b ${env.|} c", false, Some("env/")),
            ("a ${inputs.x} b| c", false, None),
            ("$${steps.|}", false, None),
            ("${inputs.x ?? 'steps.|'}", false, None),
            ("${steps.a.output.items[0].na|me}", false, Some("steps/a/output/items/0/name")),
            ("${steps[\"a b\"].out|put}", false, Some("steps/a b/output")),
            ("steps.a-b.st|atus == 'x'", true, Some("steps/a-b/status")),
            ("length(steps.|)", true, Some("steps/")),
            ("inputs.n > `1|`", true, None),
            ("|", true, Some("")),
            ("steps.\"a-b\".|", true, Some("steps/a-b/")),
        ];
        for (text, is_condition, path) in table {
            assert_eq!(at(text, is_condition).as_deref(), path, "{text}");
        }
    }
}

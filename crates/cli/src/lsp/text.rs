//! The text of a document, and the way editors count in it: lines, and in them units of UTF-16.

use std::ops::Range;

use super::protocol::{Position, Range as EditorRange};

/// A text with its lines.
#[derive(Clone, Debug)]
pub struct Text {
    content: String,
    /// Where the lines begin, in bytes.
    starts: Vec<usize>,
}

impl Text {
    /// Finds the lines of a text; they end in `\n`, `\r\n` or `\r`.
    #[must_use]
    pub fn new(content: String) -> Self {
        let bytes = content.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(index, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        });
        let starts = std::iter::once(0).chain(ends.map(|(index, _)| index + 1)).collect();
        Self { content, starts }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.content
    }

    /// Converts a place as editors name it. A place behind the end of a line is its end, as the protocol wants it, and one in the
    /// middle of a character is its beginning.
    #[must_use]
    pub fn offset(&self, position: Position) -> usize {
        let Some(line) = self.line(position.line as usize) else { return self.content.len() };
        let mut units = 0;
        let text = &self.content[line.clone()];
        for (index, character) in text.char_indices() {
            units += character.len_utf16();
            if units > position.character as usize {
                return line.start + index;
            }
        }
        line.end
    }

    /// Converts an offset in bytes; one inside a character is its beginning.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.content.len());
        while !self.content.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        // What ends a line is not of it.
        let end = self.line(line).map_or(offset, |line| line.end).min(offset);
        let before = &self.content[self.starts[line]..end];
        Position { line: number(line), character: number(before.encode_utf16().count()) }
    }

    /// Converts a range of bytes.
    #[must_use]
    pub fn range(&self, range: &Range<usize>) -> EditorRange {
        EditorRange { start: self.position(range.start), end: self.position(range.end) }
    }

    /// Converts a line and a column in characters, both counted from 1, as diagnostics have them.
    #[must_use]
    pub fn at_column(&self, line: u32, column: u32) -> Position {
        let Some(range) = (line as usize).checked_sub(1).and_then(|line| self.line(line)) else {
            return self.position(self.content.len());
        };
        let before = self.content[range].chars().take((column as usize).saturating_sub(1));
        Position { line: line - 1, character: number(before.map(char::len_utf16).sum()) }
    }

    /// Replaces a range, as an editor says that it did. A range that ends before it begins is empty.
    pub fn replace(&mut self, range: EditorRange, text: &str) {
        let start = self.offset(range.start);
        let end = self.offset(range.end).max(start);
        let mut content = std::mem::take(&mut self.content);
        content.replace_range(start..end, text);
        *self = Self::new(content);
    }

    /// Returns the bytes of a line, without its end.
    fn line(&self, line: usize) -> Option<Range<usize>> {
        let start = *self.starts.get(line)?;
        let end = self.starts.get(line + 1).copied().unwrap_or(self.content.len());
        let text = self.content[start..end].trim_end_matches(['\r', '\n']);
        Some(start..start + text.len())
    }
}

/// Lines and columns are numbers of 32 bits in the protocol; documents are bounded far below.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

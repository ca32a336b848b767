//! Collections by indentation.

use std::ops::Range;

use super::{
    Entry, Kind, NodeId, Tree,
    cursor::{Cursor, looks_like_key},
};

/// Reads a whole text.
pub(super) fn read(text: &str) -> Tree<'_> {
    let mut cursor = Cursor::new(text);
    let root = cursor.block(None, 0);
    cursor.finish(root)
}

impl Cursor<'_> {
    /// Reads what stands on the following lines, if it is indented at least so far.
    fn block(&mut self, parent: Option<NodeId>, least: usize) -> Option<NodeId> {
        self.skip_blank();
        if self.byte().is_none() || self.column() < least {
            return None;
        }
        self.here(parent, least)
    }

    /// Reads what stands here; `least` is how far its further lines are indented.
    fn here(&mut self, parent: Option<NodeId>, least: usize) -> Option<NodeId> {
        self.skip_properties();
        // A tag or an anchor may stand alone on its line.
        while matches!(self.byte(), Some(b'\n' | b'\r' | b'#')) {
            self.skip_blank();
            if self.column() < least {
                return None;
            }
            self.skip_properties();
        }
        match self.byte()? {
            _ if self.is_too_deep() => {
                let start = self.at;
                self.skip_line();
                Some(self.open(parent, start..self.at))
            }
            b'-' if self.ends_word(1) => Some(self.sequence(parent)),
            b'[' | b'{' => Some(self.flow(parent, Some(least))),
            b'|' | b'>' => Some(self.block_text(parent, least)),
            _ if self.key_end().is_some() => Some(self.mapping(parent)),
            b'"' | b'\'' => {
                let start = self.at;
                self.go_to(self.quoted_end(false));
                Some(self.open(parent, start..self.at))
            }
            _ => Some(self.plain(parent, least)),
        }
    }

    fn sequence(&mut self, parent: Option<NodeId>) -> NodeId {
        let column = self.column();
        let node = self.open(parent, self.at..self.at);
        let mut items = Vec::new();
        let mut end = self.at;
        self.depth += 1;
        loop {
            self.skip_blank();
            if self.column() != column || self.byte() != Some(b'-') || !self.ends_word(1) {
                // A line that is indented too far belongs to nothing.
                if self.byte().is_some() && self.column() > column {
                    self.skip_line();
                    continue;
                }
                break;
            }
            self.at += 1;
            self.skip_spaces();
            let item = match self.byte() {
                None | Some(b'\n' | b'\r' | b'#') => self.block(Some(node), column + 1),
                Some(_) => self.here(Some(node), column + 1),
            };
            end = item.map_or(self.at, |item| self.end_of(item));
            items.extend(item);
        }
        self.depth -= 1;
        self.close(node, Kind::Array(items), end);
        node
    }

    fn mapping(&mut self, parent: Option<NodeId>) -> NodeId {
        let column = self.column();
        let node = self.open(parent, self.at..self.at);
        let mut entries: Vec<Entry> = Vec::new();
        let mut end = self.at;
        self.depth += 1;
        loop {
            self.skip_blank();
            if self.byte().is_none() || self.column() < column {
                break;
            }
            let is_item = self.byte() == Some(b'-') && self.ends_word(1);
            if self.column() > column || is_item {
                if self.column() == column {
                    break;
                }
                self.skip_line();
                continue;
            }
            let Some((key, colon)) = self.key_end() else {
                // A key that is being typed.
                let start = self.at;
                let line = &self.text[start..self.line_end()];
                let key = start..start + line.split(" #").next().unwrap_or(line).trim_end().len();
                self.skip_line();
                end = key.end;
                entries.push(Entry { key, value: None, colon: false });
                continue;
            };
            self.at = colon + 1;
            end = self.at;
            self.skip_spaces();
            let value = match self.byte() {
                None => None,
                Some(b'\n' | b'\r' | b'#') => self.below_key(node, column),
                Some(_) => self.beside_key(node, column),
            };
            end = value.map_or(end, |value| self.end_of(value));
            entries.push(Entry { key, value, colon: true });
        }
        self.depth -= 1;
        self.close(node, Kind::Object(entries), end);
        node
    }

    /// Reads a value on the lines below its key. A sequence may be indented no further than the key is.
    fn below_key(&mut self, node: NodeId, column: usize) -> Option<NodeId> {
        self.skip_blank();
        let is_item = self.byte() == Some(b'-') && self.ends_word(1);
        if is_item && self.column() == column {
            return Some(if self.is_too_deep() {
                self.plain(Some(node), column + 1)
            } else {
                self.sequence(Some(node))
            });
        }
        self.block(Some(node), column + 1)
    }

    /// Reads a value on the line of its key.
    fn beside_key(&mut self, node: NodeId, column: usize) -> Option<NodeId> {
        self.skip_properties();
        let value = match self.byte() {
            None => return None,
            Some(b'\n' | b'\r' | b'#') => return self.below_key(node, column),
            Some(b'[' | b'{') if !self.is_too_deep() => self.flow(Some(node), Some(column + 1)),
            Some(b'|' | b'>') => return Some(self.block_text(Some(node), column + 1)),
            Some(b'"' | b'\'') => {
                let start = self.at;
                self.go_to(self.quoted_end(false));
                self.open(Some(node), start..self.at)
            }
            Some(_) => return Some(self.plain(Some(node), column + 1)),
        };
        // What stands behind the end of a value belongs to nothing.
        self.skip_spaces();
        if !matches!(self.byte(), Some(b'\n' | b'\r')) {
            self.skip_line();
        }
        Some(value)
    }

    /// Skips tags and anchors.
    fn skip_properties(&mut self) {
        while matches!(self.byte(), Some(b'!' | b'&')) {
            let word = self.rest().find([' ', '\t', '\n', '\r']).unwrap_or(self.rest().len());
            self.at += word;
            self.skip_spaces();
        }
    }

    /// Returns the key that begins here and where its colon stands, if the line has one.
    fn key_end(&self) -> Option<(Range<usize>, usize)> {
        let start = self.at;
        let end = match self.byte()? {
            b'"' | b'\'' => self.quoted_end(true),
            b'[' | b']' | b'{' | b'}' | b',' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => return None,
            _ => {
                let line = &self.text[start..self.line_end()];
                let mut colons = line.match_indices(':').map(|(index, _)| index);
                let ends = |index: &usize| line[index + 1..].is_empty() || line[index + 1..].starts_with([' ', '\t']);
                let colon = colons.find(ends)?;
                if line[..colon].contains(" #") {
                    return None;
                }
                start + line[..colon].trim_end().len()
            }
        };
        let gap = &self.text[end..];
        let colon = end + gap.len() - gap.trim_start_matches([' ', '\t']).len();
        (self.text[colon..].starts_with(':') && end > start).then_some((start..end, colon))
    }

    /// Reads text without quotes, over all lines that are indented at least so far.
    fn plain(&mut self, parent: Option<NodeId>, least: usize) -> NodeId {
        let start = self.at;
        let mut end = self.plain_line();
        loop {
            self.go_to(self.line_end());
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let next = self.at + blank;
            let indent = next - self.text[..next].rfind(['\n', '\r']).map_or(0, |at| at + 1);
            let line = &self.text[next..];
            let line = &line[..line.find(['\n', '\r']).unwrap_or(line.len())];
            let begins_other = line.starts_with('#') || looks_like_key(line) || line.starts_with("---");
            if line.is_empty() || indent < least.max(1) || begins_other {
                break;
            }
            self.go_to(next);
            end = self.plain_line();
        }
        self.open(parent, start..end)
    }

    /// Returns where the text on the present line ends, comments and spaces left out.
    fn plain_line(&self) -> usize {
        let line = &self.text[self.at..self.line_end()];
        let line = line.find(" #").map_or(line, |comment| &line[..comment]);
        self.at + line.trim_end().len()
    }

    /// Reads the text behind `|` or `>`.
    fn block_text(&mut self, parent: Option<NodeId>, least: usize) -> NodeId {
        let start = self.at;
        let folded = self.byte() == Some(b'>');
        let mut end = self.line_end();
        self.skip_line();
        loop {
            let rest = self.rest();
            let Some(line_start) = line_break(rest) else { break };
            let line = &rest[line_start..];
            let line = &line[..line.find(['\n', '\r']).unwrap_or(line.len())];
            let indent = line.len() - line.trim_start_matches(' ').len();
            if !line.trim().is_empty() {
                if indent < least.max(1) {
                    break;
                }
                end = self.at + line_start + line.len();
            }
            self.go_to(self.at + line_start + line.len());
        }
        // Blank lines behind the text are not of it.
        let node = self.open(parent, start..end);
        self.close(node, Kind::Block { folded }, end);
        node
    }
}

/// The length of the line break that a text begins with.
fn line_break(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n' | b'\r', ..] => Some(1),
        _ => None,
    }
}

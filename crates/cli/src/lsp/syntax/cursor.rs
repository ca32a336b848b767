//! Where the reader is, and the tree that grows behind it.

use std::ops::Range;

use super::{Kind, MAX_DEPTH, Node, NodeId, Tree};

pub(super) struct Cursor<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
    /// Where the present line begins.
    line: usize,
    pub(super) depth: usize,
    nodes: Vec<Node>,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at, line: at, depth: 0, nodes: Vec::new() }
    }

    pub(super) fn finish(self, root: Option<NodeId>) -> Tree<'t> {
        Tree { text: self.text, nodes: self.nodes, root }
    }

    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn byte_after(&self, count: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + count).copied()
    }

    /// The bytes between the beginning of the line and the present place.
    pub(super) fn column(&self) -> usize {
        self.at - self.line
    }

    /// Where the present line ends, its end not included.
    pub(super) fn line_end(&self) -> usize {
        self.rest().find(['\n', '\r']).map_or(self.text.len(), |length| self.at + length)
    }

    /// Goes on to a place further down.
    pub(super) fn go_to(&mut self, at: usize) {
        if let Some(end) = self.text[self.at..at].rfind(['\n', '\r']) {
            self.line = self.at + end + 1;
        }
        self.at = at;
    }

    pub(super) fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    pub(super) fn skip_line(&mut self) {
        self.go_to(self.line_end());
    }

    /// Skips spaces, line breaks and comments.
    pub(super) fn skip_blank(&mut self) {
        loop {
            self.skip_spaces();
            match self.byte() {
                Some(b'\n' | b'\r') => self.go_to(self.at + 1),
                Some(b'#') => self.skip_line(),
                // Marks between documents, and directives.
                Some(b'-') if self.column() == 0 && self.rest().starts_with("---") && self.ends_word(3) => self.at += 3,
                Some(b'%') if self.column() == 0 && self.nodes.is_empty() => self.skip_line(),
                _ => return,
            }
        }
    }

    /// Whether a space, a line break or the end stands so many bytes further on.
    pub(super) fn ends_word(&self, after: usize) -> bool {
        matches!(self.byte_after(after), None | Some(b' ' | b'\t' | b'\n' | b'\r'))
    }

    /// Makes a part; the kind of a collection is known when it is [closed](Self::close).
    pub(super) fn open(&mut self, parent: Option<NodeId>, range: Range<usize>) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { parent, place: 0, range, kind: Kind::Scalar });
        id
    }

    /// Says what a part is, and where it ends.
    pub(super) fn close(&mut self, node: NodeId, kind: Kind, end: usize) {
        match &kind {
            Kind::Array(items) => {
                for (place, item) in (0..).zip(items) {
                    self.nodes[item.0 as usize].place = place;
                }
            }
            Kind::Object(entries) => {
                for (place, entry) in (0..).zip(entries) {
                    if let Some(value) = entry.value {
                        self.nodes[value.0 as usize].place = place;
                    }
                }
            }
            Kind::Scalar | Kind::Block { .. } => {}
        }
        let node = &mut self.nodes[node.0 as usize];
        node.kind = kind;
        node.range.end = end.max(node.range.start);
    }

    pub(super) fn end_of(&self, node: NodeId) -> usize {
        self.nodes[node.0 as usize].range.end
    }

    pub(super) fn is_too_deep(&self) -> bool {
        self.depth >= MAX_DEPTH
    }

    /// Where the quoted text that begins here ends, its quotes included. One that has no end ends with its line.
    pub(super) fn quoted_end(&self, one_line: bool) -> usize {
        let bytes = self.text.as_bytes();
        let quote = bytes[self.at];
        let mut index = self.at + 1;
        let mut line_start = false;
        while let Some(&byte) = bytes.get(index) {
            match byte {
                b'\\' if quote == b'"' => index += 1,
                byte if byte == quote => {
                    if quote == b'\'' && bytes.get(index + 1) == Some(&quote) {
                        index += 1;
                    } else {
                        return index + 1;
                    }
                }
                b'\n' | b'\r' if one_line => break,
                b'\n' | b'\r' => line_start = true,
                b' ' | b'\t' => {}
                _ if line_start => {
                    line_start = false;
                    // A text that runs over what looks like the next key was left open.
                    let line = &self.text[index..];
                    let line = &line[..line.find(['\n', '\r']).unwrap_or(line.len())];
                    if looks_like_key(line) {
                        break;
                    }
                }
                _ => {}
            }
            index += 1;
        }
        self.line_end()
    }
}

/// Whether a line begins with a plain key, an element, or the end of a collection.
pub(super) fn looks_like_key(line: &str) -> bool {
    let word = line.find(|c: char| !(c.is_alphanumeric() || "_-$.".contains(c))).unwrap_or(line.len());
    let is_key =
        word > 0 && line[word..].strip_prefix(':').is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    is_key || line.starts_with("- ") || line.starts_with('}') || line.starts_with(']')
}

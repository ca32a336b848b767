//! Collections in brackets: all of JSON, and the flow style of YAML.

use super::{Entry, Kind, NodeId, cursor::Cursor};

impl Cursor<'_> {
    /// Reads an array or object in brackets. Inside block style, `least` is how far its lines are indented: one that is indented
    /// less, and looks like a key, means that a bracket is missing.
    pub(super) fn flow(&mut self, parent: Option<NodeId>, least: Option<usize>) -> NodeId {
        let is_object = self.byte() == Some(b'{');
        let node = self.open(parent, self.at..self.at);
        self.at += 1;
        self.depth += 1;
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        loop {
            if self.leaves_flow(least) {
                break;
            }
            match self.byte() {
                None => break,
                Some(b']' | b'}') => {
                    self.at += 1;
                    break;
                }
                Some(b',' | b':') => self.at += 1,
                Some(_) if is_object => entries.push(self.flow_entry(node, least)),
                Some(_) => items.push(self.flow_value(Some(node), least)),
            }
        }
        self.depth -= 1;
        self.close(node, if is_object { Kind::Object(entries) } else { Kind::Array(items) }, self.at);
        node
    }

    fn flow_entry(&mut self, node: NodeId, least: Option<usize>) -> Entry {
        let start = self.at;
        match self.byte() {
            Some(b'"' | b'\'') => self.go_to(self.quoted_end(true)),
            // A collection is no key; it is read so that what is inside has a place.
            Some(b'[' | b'{') => {
                let value = self.flow_value(Some(node), least);
                return Entry { key: start..start, value: Some(value), colon: false };
            }
            _ => self.flow_plain(),
        }
        let key = start..self.at;
        if self.leaves_flow(least) || self.byte() != Some(b':') {
            return Entry { key, value: None, colon: false };
        }
        self.at += 1;
        let value = if self.leaves_flow(least) {
            None
        } else {
            match self.byte() {
                None | Some(b',' | b']' | b'}') => None,
                // In JSON a text and a colon on the next line are the next key: the value is still to be written.
                Some(b'"') if self.starts_next_entry(key.end) => None,
                Some(_) => Some(self.flow_value(Some(node), least)),
            }
        };
        Entry { key, value, colon: true }
    }

    fn flow_value(&mut self, parent: Option<NodeId>, least: Option<usize>) -> NodeId {
        let start = self.at;
        match self.byte() {
            Some(b'[' | b'{') if !self.is_too_deep() => return self.flow(parent, least),
            Some(b'"' | b'\'') => self.go_to(self.quoted_end(least.is_none_or(|least| least == 0))),
            Some(b'[' | b'{') => self.at += 1,
            _ => {
                while matches!(self.byte(), Some(b'!' | b'&')) {
                    let rest = self.rest();
                    let word = rest.find([' ', '\t', '\n', '\r', ',', ']', '}']).unwrap_or(rest.len());
                    self.at += word.max(1);
                    self.skip_spaces();
                }
                if matches!(self.byte(), Some(b'[' | b'{' | b'"' | b'\'')) && self.at > start {
                    return self.flow_value(parent, least);
                }
                self.flow_plain();
            }
        }
        self.open(parent, start..self.at)
    }

    /// Skips text without quotes, up to what ends it in brackets.
    fn flow_plain(&mut self) {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut index = start;
        while let Some(&byte) = bytes.get(index) {
            match byte {
                // An expression that lacks its quotes.
                b'{' if index > start && bytes[index - 1] == b'$' => {
                    let line = &self.text[index..];
                    let line = &line[..line.find(['\n', '\r']).unwrap_or(line.len())];
                    index += line.find('}').map_or(line.len(), |end| end + 1);
                }
                b',' | b'[' | b']' | b'{' | b'}' | b'\n' | b'\r' => break,
                b':' if matches!(
                    bytes.get(index + 1),
                    None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}')
                ) =>
                {
                    break;
                }
                b'#' if index > start && matches!(bytes[index - 1], b' ' | b'\t') => break,
                _ => index += 1,
            }
        }
        let length = self.text[start..index].trim_end().len();
        // Whatever stands here, something is read.
        let first = self.rest().chars().next().map_or(1, char::len_utf8);
        self.at = start + if length == 0 { first } else { length };
    }

    /// Skips to the next part; says whether that is no part of the brackets any more.
    fn leaves_flow(&mut self, least: Option<usize>) -> bool {
        let before = self.at;
        self.skip_blank();
        let is_new_line = self.text[before..self.at].contains(['\n', '\r']);
        let Some(least) = least.filter(|_| is_new_line) else { return false };
        if self.column() >= least || self.byte().is_none() {
            return false;
        }
        let line = self.rest();
        super::cursor::looks_like_key(&line[..line.find(['\n', '\r']).unwrap_or(line.len())])
            && !line.starts_with(['}', ']'])
    }

    fn starts_next_entry(&self, key_end: usize) -> bool {
        let end = self.quoted_end(true);
        self.text[key_end..self.at].contains(['\n', '\r']) && self.text[end..].trim_start().starts_with(':')
    }
}

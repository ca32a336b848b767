//! The fast path of YAML: what people write most, line by line, into a tree without positions.
//!
//! It knows mappings and sequences in block style, scalars and flow collections that end on their line, and text in `|` or `>`
//! blocks. Of everything else, mistakes included, it says nothing at all: whoever asked then reads the text with the parser that
//! knows the whole language and says what is wrong. So there is one rule here: an answer is the answer that the whole language
//! gives, and what is not certain is none. The tests compare the two.

use serde_json::{Map, Value};

use super::scalar::resolve;
use crate::source::Limits;

/// Reads a document, if nothing in it is unusual.
pub(super) fn parse(text: &str, limits: &Limits) -> Option<Value> {
    let is_printable = |byte: u8| matches!(byte, b'\n' | b' '..=b'~');
    if !text.bytes().all(is_printable) && text.chars().any(is_special) {
        return None;
    }
    let mut reader = Reader { rest: text, line: None, limits, nodes: 0 };
    reader.advance();
    if reader.line.is_some_and(|line| line.indent == 0 && line.text == "---") {
        reader.advance();
    }
    let value = match reader.line? {
        Line { indent: 0, .. } => reader.collection(0)?,
        _ => return None,
    };
    reader.line.is_none().then_some(value)
}

/// Whether a character is a control, a mark of byte order, or a break of lines to some and not to others.
fn is_special(c: char) -> bool {
    match c {
        '\n' | ' '..='~' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        _ => c.is_control(),
    }
}

/// A line that holds something, or what of it has not been read yet.
#[derive(Clone, Copy)]
struct Line<'t> {
    /// The column at which the text begins.
    indent: usize,
    /// Neither empty nor a comment.
    text: &'t str,
}

struct Reader<'t, 'l> {
    /// What stands below the line.
    rest: &'t str,
    line: Option<Line<'t>>,
    limits: &'l Limits,
    nodes: usize,
}

impl<'t> Reader<'t, '_> {
    /// Goes on to the next line that holds something.
    fn advance(&mut self) {
        self.line = loop {
            if self.rest.is_empty() {
                break None;
            }
            let line = self.raw_line();
            let Some(indent) = line.bytes().position(|byte| byte != b' ') else { continue };
            let text = &line[indent..];
            if !text.starts_with('#') {
                break Some(Line { indent, text: text.trim_end_matches(' ') });
            }
        };
    }

    /// Takes a line as it is.
    fn raw_line(&mut self) -> &'t str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        line
    }

    fn pay(&mut self) -> Option<()> {
        self.nodes += 1;
        (self.nodes <= self.limits.nodes).then_some(())
    }

    /// Reads the collection that begins at the line.
    fn collection(&mut self, depth: usize) -> Option<Value> {
        let line = self.line?;
        self.pay()?;
        if depth >= self.limits.depth {
            return None;
        }
        match after_dash(line.text) {
            Some(_) => self.sequence(line.indent, depth + 1),
            None => self.mapping(line.indent, depth + 1),
        }
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while let Some(line) = self.line.filter(|line| line.indent == indent)
            && let Some(rest) = after_dash(line.text)
        {
            let inline = Line { indent: indent + line.text.len() - rest.len(), text: rest };
            items.push(if is_blank(rest) {
                self.advance();
                match self.line {
                    Some(below) if below.indent > indent => self.collection(depth)?,
                    _ => self.null()?,
                }
            } else if after_dash(rest).is_some() || key(rest).is_some() {
                self.line = Some(inline);
                self.collection(depth)?
            } else {
                self.scalar(rest, indent, depth)?
            });
            self.expect_end(indent)?;
        }
        Some(Value::Array(items))
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        while let Some(line) = self.line.filter(|line| line.indent == indent) {
            let (key, rest) = key(line.text)?;
            let value = if is_blank(rest) {
                self.advance();
                match self.line {
                    Some(below) if below.indent > indent => self.collection(depth)?,
                    // A sequence may stand right below its key.
                    Some(below) if below.indent == indent && after_dash(below.text).is_some() => {
                        self.collection(depth)?
                    }
                    _ => self.null()?,
                }
            } else {
                self.scalar(rest, indent, depth)?
            };
            self.expect_end(indent)?;
            insert(&mut map, key, value)?;
        }
        Some(Value::Object(map))
    }

    fn null(&mut self) -> Option<Value> {
        self.pay()?;
        Some(Value::Null)
    }

    /// What is indented further than its parent goes on with what came before: that is for the other parser.
    fn expect_end(&self, indent: usize) -> Option<()> {
        self.line.is_none_or(|line| line.indent <= indent).then_some(())
    }

    /// Reads the value that begins within the line, behind a key or a dash that stands at an indentation.
    fn scalar(&mut self, text: &'t str, indent: usize, depth: usize) -> Option<Value> {
        let text = text.trim_start_matches(' ');
        let value = match text.as_bytes().first()? {
            b'|' | b'>' => {
                self.pay()?;
                let value = self.block(text, indent)?;
                self.advance();
                return Some(Value::String(value));
            }
            b'"' | b'\'' | b'[' | b'{' => {
                let mut flow = Flow { rest: text, reader: self };
                let value = flow.value(depth)?;
                let rest = flow.rest;
                (rest.is_empty() || rest.starts_with(' ') && is_blank(rest)).then_some(value)?
            }
            first if can_begin_plain(*first, text) => {
                self.pay()?;
                let text = position(text, b" #").map_or(text, |comment| text[..comment].trim_end_matches(' '));
                if text.ends_with(':') || position(text, b": ").is_some() {
                    return None;
                }
                resolve(text).ok()?
            }
            _ => return None,
        };
        self.advance();
        Some(value)
    }

    /// Reads the text below a `|` or `>`.
    fn block(&mut self, header: &str, parent: usize) -> Option<String> {
        let (folded, keep) = match header {
            "|" => (false, Some(1)),
            "|-" => (false, Some(0)),
            "|+" => (false, None),
            ">" => (true, Some(1)),
            ">-" => (true, Some(0)),
            ">+" => (true, None),
            _ => return None,
        };
        let mut text = String::new();
        let mut indent = None;
        // How many line breaks wait for a line to stand before.
        let mut breaks = 0;
        while !self.rest.is_empty() {
            let below = self.rest;
            let line = self.raw_line();
            // How many breaks there are at the end depends on the last line having one.
            let is_last_without_break = self.rest.is_empty() && !below.ends_with('\n');
            let content = line.trim_start_matches(' ');
            let width = line.len() - content.len();
            if content.is_empty() {
                if is_last_without_break || width > indent.unwrap_or(parent + 1) {
                    return None;
                }
                breaks += 1;
                continue;
            }
            let indent = match indent {
                None if width > parent => *indent.insert(width),
                None => return None,
                Some(indent) if width < indent => {
                    self.rest = below;
                    break;
                }
                Some(indent) => indent,
            };
            if is_last_without_break || folded && width > indent {
                return None;
            }
            match (folded, breaks) {
                (true, 1) if !text.is_empty() => text.push(' '),
                (true, breaks) if !text.is_empty() => text.extend(std::iter::repeat_n('\n', breaks - 1)),
                (_, breaks) => text.extend(std::iter::repeat_n('\n', breaks)),
            }
            text.push_str(&line[indent..]);
            breaks = 1;
        }
        indent?;
        text.extend(std::iter::repeat_n('\n', keep.map_or(breaks, |keep: usize| keep.min(breaks))));
        Some(text)
    }
}

/// A scalar in quotes or a flow collection, within its line.
struct Flow<'t, 'r, 'l> {
    rest: &'t str,
    reader: &'r mut Reader<'t, 'l>,
}

impl<'t> Flow<'t, '_, '_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.reader.pay()?;
        match self.rest.as_bytes().first()? {
            b'"' | b'\'' => Some(Value::String(self.quoted()?)),
            b'[' | b'{' if depth >= self.reader.limits.depth => None,
            b'[' => self.sequence(depth + 1),
            b'{' => self.mapping(depth + 1),
            _ => resolve(self.plain()?).ok(),
        }
    }

    fn sequence(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.open();
        if self.takes(']') {
            return Some(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_spaces();
            if self.takes(']') {
                return Some(Value::Array(items));
            }
            self.takes(',').then(|| self.skip_spaces())?;
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        self.open();
        if self.takes('}') {
            return Some(Value::Object(map));
        }
        loop {
            let is_quoted = self.rest.starts_with(['"', '\'']);
            let key = if is_quoted { self.quoted()? } else { self.plain()?.to_owned() };
            self.takes(':').then_some(())?;
            if !is_quoted && !self.rest.starts_with(' ') {
                return None;
            }
            self.skip_spaces();
            let value = self.value(depth)?;
            insert(&mut map, key, value)?;
            self.skip_spaces();
            if self.takes('}') {
                return Some(Value::Object(map));
            }
            self.takes(',').then(|| self.skip_spaces())?;
        }
    }

    fn open(&mut self) {
        self.rest = &self.rest[1..];
        self.skip_spaces();
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn takes(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes a scalar without quotes in which nothing can mean anything else.
    fn plain(&mut self) -> Option<&'t str> {
        let end = self.rest.bytes().position(|byte| !(is_word(byte) || byte == b' '))?;
        let text = self.rest[..end].trim_end_matches(' ');
        let first = text.bytes().next()?;
        if first == b'-' && !text[1..].starts_with(|c: char| c.is_ascii_digit()) || first == b'@' {
            return None;
        }
        self.rest = &self.rest[end..];
        Some(text)
    }

    /// Takes a scalar in quotes.
    fn quoted(&mut self) -> Option<String> {
        let (text, rest) = quoted(self.rest)?;
        self.rest = rest;
        Some(text)
    }
}

/// Splits a scalar in quotes from what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut result = String::new();
    if let Some(mut rest) = text.strip_prefix('\'') {
        loop {
            let end = rest.find('\'')?;
            result.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(after) => {
                    result.push('\'');
                    rest = after;
                }
                None => return Some((result, rest)),
            }
        }
    }
    let mut rest = text.strip_prefix('"')?;
    loop {
        let end = rest.find(['"', '\\'])?;
        result.push_str(&rest[..end]);
        if rest.as_bytes()[end] == b'"' {
            return Some((result, &rest[end + 1..]));
        }
        result.push(match rest.as_bytes().get(end + 1)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            _ => return None,
        });
        rest = &rest[end + 2..];
    }
}

/// Returns where two bytes stand next to each other; in texts as short as scalars quicker than a search for a text.
fn position(text: &str, pair: &[u8; 2]) -> Option<usize> {
    text.as_bytes().windows(2).position(|bytes| bytes == pair)
}

/// Splits a key and its colon from what follows them.
fn key(text: &str) -> Option<(String, &str)> {
    let (key, rest) = if text.starts_with(['"', '\'']) {
        quoted(text)?
    } else {
        let end = text.bytes().position(|byte| !is_word(byte))?;
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$').then_some(())?;
        (text[..end].to_owned(), &text[end..])
    };
    let rest = rest.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then_some((key, rest))
}

/// Returns what stands behind the dash of an item of a sequence.
fn after_dash(text: &str) -> Option<&str> {
    match text.strip_prefix('-')? {
        "" => Some(""),
        rest => rest.strip_prefix(' ').map(|rest| rest.trim_start_matches(' ')),
    }
}

/// Whether there is nothing but space and perhaps a comment; what comes before has ended with a space.
fn is_blank(text: &str) -> bool {
    let text = text.trim_start_matches(' ');
    text.is_empty() || text.starts_with('#')
}

/// Whether a byte means itself in a scalar without quotes, wherever it stands behind the first.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'$' | b'@' | b'+')
}

fn can_begin_plain(first: u8, text: &str) -> bool {
    match first {
        b'-' => text[1..].starts_with(|c: char| c.is_ascii_digit()),
        b'_' | b'.' | b'/' | b'$' | b'+' | b'(' | b'<' | b'=' | b'~' => true,
        _ => first.is_ascii_alphanumeric() || !first.is_ascii(),
    }
}

/// Puts a value at a key that is new.
fn insert(map: &mut Map<String, Value>, key: String, value: Value) -> Option<()> {
    map.insert(key, value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use serde_json::json;

    use super::{super::located, Limits};

    #[test]
    fn what_people_write_is_read() {
        let text = r#"---
# A workflow.
version: 1.0.0
metadata: { id: "w", name: 'It''s', tags: [a, b c, "d"], "x":1 }
steps:
- id: first   # the first
  agent:
    id: "@acme/agent"
  input:
    text: ${steps.a.output ?? 'x'}
    prompt: |

      Dear {{ name }},

        # no comment
    summary: >-
      one
      line

      another
    kept: |+
      end

    nothing:
    list:
      - - 1
        - -2.5
      -
        deep: true
      - ~
  condition: { if: "a && b" }
- id: second
"#;
        let expected = json!({
            "version": "1.0.0",
            "metadata": { "id": "w", "name": "It's", "tags": ["a", "b c", "d"], "x": 1 },
            "steps": [
                {
                    "id": "first",
                    "agent": { "id": "@acme/agent" },
                    "input": {
                        "text": "${steps.a.output ?? 'x'}",
                        "prompt": "\nDear {{ name }},\n\n  # no comment\n",
                        "summary": "one line\nanother",
                        "kept": "end\n\n",
                        "nothing": null,
                        "list": [[1, -2.5], { "deep": true }, null]
                    },
                    "condition": { "if": "a && b" }
                },
                { "id": "second" }
            ]
        });
        assert_eq!(super::parse(text, &Limits::default()), Some(expected));
    }

    #[test]
    fn limits_are_left_to_the_other_parser() {
        let limits = Limits { depth: 2, nodes: 4, ..Limits::default() };
        assert!(super::parse("a:\n  b: 1\n", &limits).is_some());
        assert!(super::parse("a:\n  b: {}\n", &limits).is_none());
        assert!(super::parse("a:\n  b:\n    c: 1\n", &limits).is_none());
        assert!(super::parse("a: 1\nb: 1\nc: 1\n", &limits).is_some());
        assert!(super::parse("a: 1\nb: 1\nc: 1\nd: 1\n", &limits).is_none());
    }

    /// A value as it may be written; a `^` stands for its indentation.
    #[derive(Clone, Debug)]
    enum Node {
        Inline(&'static str),
        Sequence(Vec<Self>, bool),
        Mapping(Vec<Self>),
    }

    const INLINE: [&str; 30] = [
        " 1",
        " text",
        " more text # c",
        " \"q\\n\" # c",
        " 'it''s'",
        " [a, b c, \"d\"]",
        " { h: 1, 'i':2 }",
        "",
        " # c",
        " ~",
        " -1",
        " 1e3",
        " http://x",
        " ${a ?? 'b'}",
        " a#b",
        " [[], {}, [{ a: [] }]]",
        " |\n^text\n\n^ more\n",
        " |-\n\n^text",
        " |+\n^text\n\n",
        " >\n^one\n^two\n\n\n^three",
        " >-\n^text\n^# no comment",
        " >+\n\n^one\n^two\n\n",
        " |\n^text\n# comment",
        " a: b",
        " &x 1",
        " *x",
        " - 1",
        " !t 1",
        " text\n^and more",
        " |2\n^text",
    ];

    fn any_node() -> impl Strategy<Value = Node> {
        let leaf = select(INLINE.as_slice()).prop_map(Node::Inline);
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                (proptest::collection::vec(inner.clone(), 1..4), any::<bool>())
                    .prop_map(|(items, compact)| Node::Sequence(items, compact)),
                proptest::collection::vec(inner, 1..4).prop_map(Node::Mapping),
            ]
        })
    }

    fn write(node: &Node, indent: usize, text: &mut String) {
        if !matches!(node, Node::Inline(_)) && !text.is_empty() {
            text.push('\n');
        }
        match node {
            Node::Inline(inline) => {
                text.push_str(&inline.replace('^', &" ".repeat(indent)));
                text.push('\n');
            }
            Node::Sequence(items, compact) => {
                for item in items {
                    text.push_str(&" ".repeat(indent));
                    text.push('-');
                    let from = text.len();
                    write(item, indent + 2, text);
                    if *compact && matches!(item, Node::Mapping(_) | Node::Sequence(..)) {
                        // The first line of the item moves up, behind the dash.
                        text.replace_range(from..from + 1 + indent + 2, " ");
                    }
                }
            }
            Node::Mapping(entries) => {
                for (entry, key) in entries.iter().zip(["a", "b-c", "\"d\""]) {
                    text.push_str(&" ".repeat(indent));
                    text.push_str(key);
                    text.push(':');
                    write(entry, indent + 2, text);
                }
            }
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let edit = select(" :-#'\"[]{}|>,\n&*!%@`?\\.ä~".chars().collect::<Vec<_>>());
        let edits = proptest::collection::vec((any::<proptest::sample::Index>(), edit, any::<bool>()), 0..3);
        (any_node(), edits, any::<bool>()).prop_map(|(node, edits, ends)| {
            let mut text = String::new();
            write(&node, 0, &mut text);
            let mut text: Vec<char> = text.chars().collect();
            for (at, c, inserts) in edits {
                let at = at.index(text.len());
                match inserts {
                    true => text.insert(at, c),
                    false => text[at] = c,
                }
            }
            if !ends {
                text.pop();
            }
            text.into_iter().collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Whatever this reader accepts, the parser that knows the whole language reads as the same.
        #[test]
        fn an_answer_is_that_of_the_whole_language(text in any_text()) {
            let limits = Limits::default();
            if let Some(value) = super::parse(&text, &limits) {
                let document = located::parse(&text, &limits);
                let document = document.map_err(|fault| TestCaseError::fail(format!("{} in {text:?}", fault.message)))?;
                prop_assert_eq!(&value, &document.value, "{:?}", text);
                prop_assert!(document.duplicates.is_empty(), "{:?}", text);
            }
        }
    }
}

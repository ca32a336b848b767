//! The text of `settings.json`: entries are put into it and taken out of it, and everything else keeps its spelling.

use std::{collections::HashSet, ops::Range};

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{Error, ErrorKind};

/// Where they are.
pub(super) const PATH: &str = ".claude/settings.json";
/// The key of the servers.
const SERVERS: &str = "mcpServers";

/// A settings file as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingsText(String);

/// An object's place in the text, and its members.
#[derive(Debug)]
struct Object {
    /// From `{` to behind `}`.
    place: Range<usize>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    key: String,
    start: usize,
    value: Range<usize>,
}

impl SettingsText {
    /// Reads the file. One that is missing or empty has no settings.
    ///
    /// # Errors
    ///
    /// With line and column when it is no JSON, an object has a key twice, or root or servers are no object.
    pub(super) fn read(bytes: Option<&[u8]>) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes.unwrap_or_default())
            .map_err(|error| malformed("is no UTF-8 text").with_source(error))?;
        if text.trim().is_empty() {
            return Ok(Self(String::new()));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| malformed("is no JSON").with_source(error))?;
        let settings = Self(text.to_owned());
        settings.check()?;
        Ok(settings)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the entry of a server.
    pub(super) fn server(&self, name: &str) -> Option<Value> {
        let servers = self.servers()?;
        let member = servers.members.iter().find(|member| member.key == name)?;
        serde_json::from_str(&self.0[member.value.clone()]).ok()
    }

    /// Whether there is a place for servers.
    pub(super) fn has_servers(&self) -> bool {
        self.servers().is_some()
    }

    /// Puts an entry in: in the place of one of this name, else behind all others.
    pub(super) fn with_server(&self, name: &str, entry: &Value) -> Self {
        let newline = if self.0.contains("\r\n") { "\r\n" } else { "\n" };
        let text = |depth: usize| {
            let pretty = serde_json::to_string_pretty(entry).unwrap_or_default();
            pretty.replace('\n', &format!("{newline}{}", "  ".repeat(depth)))
        };
        let key = Value::from(name).to_string();
        let line = format!("{newline}    {key}: {}", text(2));
        let servers = format!("{newline}  \"{SERVERS}\": {{{line}{newline}  }}");
        if self.0.is_empty() {
            return Self(format!("{{{servers}{newline}}}{newline}"));
        }
        let root = self.root();
        match self.servers() {
            None => match root.members.last() {
                None => self.replaced(root.place, &format!("{{{servers}{newline}}}")),
                Some(last) => self.replaced(last.value.end..last.value.end, &format!(",{servers}")),
            },
            Some(object) => match (object.members.iter().find(|member| member.key == name), object.members.last()) {
                (Some(member), _) => self.replaced(member.value.clone(), &text(2)),
                (None, Some(last)) => self.replaced(last.value.end..last.value.end, &format!(",{line}")),
                (None, None) => self.replaced(object.place, &format!("{{{line}{newline}  }}")),
            },
        }
    }

    /// Takes an entry out.
    pub(super) fn without_server(&self, name: &str) -> Self {
        self.servers().map_or_else(|| self.clone(), |servers| self.without_member(&servers, name))
    }

    /// Takes the place for servers out if nothing is left in it.
    pub(super) fn without_empty_servers(&self) -> Self {
        match self.servers() {
            Some(servers) if servers.members.is_empty() => self.without_member(&self.root(), SERVERS),
            _ => self.clone(),
        }
    }

    /// Whether there are no settings.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty() || self.root().members.is_empty()
    }

    fn without_member(&self, object: &Object, key: &str) -> Self {
        let Some(index) = object.members.iter().position(|member| member.key == key) else { return self.clone() };
        let member = &object.members[index];
        match (index.checked_sub(1), object.members.get(index + 1)) {
            (Some(before), _) => self.replaced(object.members[before].value.end..member.value.end, ""),
            (None, Some(next)) => self.replaced(member.start..next.start, ""),
            (None, None) => self.replaced(object.place.clone(), "{}"),
        }
    }

    fn replaced(&self, place: Range<usize>, by: &str) -> Self {
        let mut text = self.0.clone();
        text.replace_range(place, by);
        Self(text)
    }

    fn root(&self) -> Object {
        let mut scanner = Scanner { text: &self.0, at: 0 };
        scanner.skip_space();
        scanner.object(&mut |_, _| {})
    }

    fn servers(&self) -> Option<Object> {
        if self.0.is_empty() {
            return None;
        }
        let member = self.root().members.into_iter().find(|member| member.key == SERVERS)?;
        Some(Scanner { text: &self.0, at: member.value.start }.object(&mut |_, _| {}))
    }

    fn check(&self) -> Result<(), Error> {
        let mut scanner = Scanner { text: &self.0, at: 0 };
        scanner.skip_space();
        if !self.0[scanner.at..].starts_with('{') {
            return Err(malformed(&format!("is no object {}", position(&self.0, scanner.at))));
        }
        let mut twice = None;
        let root = scanner.object(&mut |key, at| {
            twice.get_or_insert_with(|| format!("has the key `{key}` twice {}", position(&self.0, at)));
        });
        if let Some(twice) = twice {
            return Err(malformed(&twice));
        }
        match root.members.iter().find(|member| member.key == SERVERS) {
            Some(servers) if !self.0[servers.value.clone()].starts_with('{') => {
                let place = position(&self.0, servers.value.start);
                Err(malformed(&format!("has no object under `{SERVERS}` {place}")))
            }
            _ => Ok(()),
        }
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!(".claude/settings.json {what}"))
        .with_hint("mend the file; nothing has been changed")
}

fn position(text: &str, at: usize) -> String {
    let before = &text[..at];
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("(line {}, column {column})", before.matches('\n').count() + 1)
}

/// Goes through text that is JSON, nested no deeper than the reader that found it to be JSON takes.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl Scanner<'_> {
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while self.byte().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn object(&mut self, twice: &mut dyn FnMut(&str, usize)) -> Object {
        let start = self.at;
        let (mut members, mut keys) = (Vec::new(), HashSet::new());
        self.at += 1;
        loop {
            self.skip_space();
            match self.byte() {
                b'"' => {}
                b',' => {
                    self.at += 1;
                    continue;
                }
                _ => break,
            }
            let from = self.at;
            self.string();
            let key: String = serde_json::from_str(&self.text[from..self.at]).unwrap_or_default();
            if !keys.insert(key.clone()) {
                twice(&key, from);
            }
            self.skip_space();
            // The colon.
            self.at += 1;
            self.skip_space();
            let value = self.at;
            self.value(twice);
            members.push(Member { key, start: from, value: value..self.at });
        }
        self.at += 1;
        Object { place: start..self.at, members }
    }

    fn value(&mut self, twice: &mut dyn FnMut(&str, usize)) {
        match self.byte() {
            b'{' => drop(self.object(twice)),
            b'"' => self.string(),
            b'[' => {
                self.at += 1;
                loop {
                    self.skip_space();
                    match self.byte() {
                        b']' | 0 => break,
                        b',' => self.at += 1,
                        _ => self.value(twice),
                    }
                }
                self.at += 1;
            }
            _ => {
                while !matches!(self.byte(), b',' | b'}' | b']' | 0) && !self.byte().is_ascii_whitespace() {
                    self.at += 1;
                }
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        loop {
            match self.byte() {
                b'\\' => self.at += 2,
                b'"' | 0 => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::SettingsText;

    fn read(text: &str) -> SettingsText {
        SettingsText::read(Some(text.as_bytes())).expect("well formed")
    }

    #[test]
    fn what_is_put_in_can_be_taken_out_and_the_rest_keeps_its_spelling() {
        let entry = json!({ "command": "npx", "args": ["-y", "x"] });
        for text in [
            "{}",
            "{}\n",
            "{\"a\":1}",
            "{\n  \"a\": 1.50e+2,\n  \"b\": \"\\u00e9\\/\"\n}\n",
            "{\r\n  \"mcpServers\": {\r\n    \"mine\": { \"url\": \"x\" }\r\n  },\r\n  \"z\": [1, 2]\r\n}",
            "\t{ \"mcpServers\" : { \"one\" : {} , \"two\" : {\"}\": \"{,\\\"\"} } , \"n\": -0.0 }  ",
        ] {
            let before = read(text);
            let after = before.with_server("context7", &entry).with_server("tavily", &entry);
            let value: Value = serde_json::from_str(after.as_str()).expect("it is JSON");
            assert_eq!(value["mcpServers"]["tavily"], entry, "{}", after.as_str());
            assert_eq!(after.as_str().contains("\r\n"), text.contains("\r\n"));
            let back = after.without_server("context7").without_server("tavily");
            let back = if before.has_servers() { back } else { back.without_empty_servers() };
            assert_eq!(back.as_str(), text, "after {}", after.as_str());
        }
        assert!(read("").with_server("x", &entry).without_server("x").without_empty_servers().is_empty());
    }

    #[test]
    fn what_is_no_settings_is_refused_with_its_place() {
        for (text, place) in [
            ("{\n  \"a\": 1,\n  \"b\": \n}", "line 4 column 1"),
            ("[1]", "(line 1, column 1)"),
            ("{ \"a\": { \"x\": 1,\n \"x\": 2 } }", "(line 2, column 2)"),
            ("{ \"mcpServers\": [] }", "(line 1, column 17)"),
            ("{} {}", "line 1 column 4"),
        ] {
            let error = SettingsText::read(Some(text.as_bytes())).expect_err(text);
            let whole =
                format!("{error} {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
            assert!(whole.contains(place), "{whole}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_object_keeps_its_members(keys in prop::collection::btree_map("[a-c\"\\\\{}é]{0,3}", any::<i32>(), 0..5)) {
            let value = json!({ "mcpServers": keys, "other": keys });
            let text = read(&value.to_string());
            let after = text.with_server("context7", &json!({ "url": "x" }));
            let after: Value = serde_json::from_str(after.as_str()).expect("it is JSON");
            prop_assert_eq!(&after["other"], &value["other"]);
            prop_assert_eq!(after["mcpServers"].as_object().map(|map| map.len()), Some(keys.len() + 1));
        }
    }
}

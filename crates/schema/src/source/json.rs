//! The fast path: JSON into a tree, without positions.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};

use super::{Document, Limits, MAX_DUPLICATES, position::LineIndex};
use crate::{Code, Diagnostic, problem::escape};

/// Parses JSON, counting depth and nodes on the way.
pub(super) fn parse<'t>(text: &'t str, limits: &Limits) -> Result<Document<'t>, Diagnostic> {
    let mut state =
        State { limits: *limits, depth: 0, nodes: 0, path: String::new(), duplicates: Vec::new(), fault: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let result = Node(&mut state).deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    match result {
        Ok(value) => Ok(Document { text, value, duplicates: state.duplicates, tree: None }),
        Err(error) => {
            let (code, message, help) = match state.fault {
                Some(Fault::Depth) => (
                    Code::TooDeep,
                    format!("the document is nested more than {} deep", limits.depth),
                    Some("flatten it"),
                ),
                Some(Fault::Nodes) => {
                    (Code::TooManyNodes, format!("the document has more than {} values", limits.nodes), None)
                }
                None => (Code::Syntax, syntax_message(&error), None),
            };
            let path = if state.fault.is_some() { state.path } else { String::new() };
            let mut diagnostic = Diagnostic::new(code, path, message);
            diagnostic.help = help.map(str::to_owned);
            let index = LineIndex::new(text);
            diagnostic.span = index.at_byte_column(error.line(), error.column());
            Err(diagnostic)
        }
    }
}

/// serde_json says the position, and two rather technical things.
fn syntax_message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    match message {
        "EOF while parsing an object"
        | "EOF while parsing an list"
        | "EOF while parsing a list"
        | "EOF while parsing a value" => "the text ends too early".to_owned(),
        "EOF while parsing a string" => "a string has no end".to_owned(),
        other => other.to_owned(),
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Depth,
    Nodes,
}

struct State {
    limits: Limits,
    depth: usize,
    nodes: usize,
    /// Where reading failed: built from the inside out, so that nothing is noted while all goes well.
    path: String,
    /// Built likewise.
    duplicates: Vec<String>,
    fault: Option<Fault>,
}

impl State {
    /// Puts a token in front of the pointers of what was found within a value: duplicates, and where reading failed.
    fn prefix(&mut self, known: usize, token: &str, failed: bool) {
        let path = failed.then_some(&mut self.path);
        for pointer in self.duplicates[known..].iter_mut().chain(path) {
            pointer.insert_str(0, token);
            pointer.insert(0, '/');
        }
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            self.fault = Some(Fault::Depth);
            return Err(E::custom("too deep"));
        }
        Ok(())
    }
}

struct Node<'s>(&'s mut State);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.nodes += 1;
        if self.0.nodes > self.0.limits.nodes {
            self.0.fault = Some(Fault::Nodes);
            return Err(D::Error::custom("too many"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        self.0.enter()?;
        let mut items = Vec::new();
        loop {
            let known = self.0.duplicates.len();
            let item = sequence.next_element_seed(Node(&mut *self.0));
            if item.is_err() || self.0.duplicates.len() > known {
                self.0.prefix(known, &items.len().to_string(), item.is_err());
            }
            match item? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        self.0.depth -= 1;
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.0.enter()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let known = self.0.duplicates.len();
            let value = access.next_value_seed(Node(&mut *self.0));
            if value.is_err() || self.0.duplicates.len() > known {
                self.0.prefix(known, &escape(&key), value.is_err());
            }
            match map.entry(key) {
                Entry::Vacant(vacant) => drop(vacant.insert(value?)),
                Entry::Occupied(mut occupied) => {
                    if self.0.duplicates.len() < MAX_DUPLICATES {
                        self.0.duplicates.push(format!("/{}", escape(occupied.key())));
                    }
                    occupied.insert(value?);
                }
            }
        }
        self.0.depth -= 1;
        Ok(Value::Object(map))
    }
}
